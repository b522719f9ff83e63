import io
import pickle
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.data import images as images_module
from prusc.data.images import ImageFiles, decode_image, load_image_inputs, load_images
from prusc.data.png_notes import make_chunk
from prusc.errors import ConfigError, DataError


def smooth_image(width: int, height: int) -> Image.Image:
    """Different everywhere, and without steps that JPEG would smear."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((255 * np.stack([x, y, (1 - x) * y], axis=-1)).astype(np.uint8))


def noise_image(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def resize_then_crop(image: Image.Image, size: int) -> torch.Tensor:
    """The slow twin: the whole image is resized, then its centre is cut out."""
    scale = size / min(image.size)
    whole = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    return torch.from_numpy(np.array(whole.crop((left, top, left + size, top + size)))).permute(2, 0, 1)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """200 images of many sizes; all pixels of number i have the value i."""
    made = []
    for index in range(200):
        path = tmp_path / f"{index:03d}.png"
        Image.new("RGB", (5 + index % 7, 4 + index % 11), (index, index, index)).save(path)
        made.append(path)
    return made


@pytest.mark.parametrize(("width", "height"), [(40, 40), (80, 40), (40, 88), (20, 20), (10, 30)])
def test_the_shorter_side_is_resized_and_the_centre_cut_out(tmp_path: Path, width: int, height: int) -> None:
    image = noise_image(width, height)
    image.save(tmp_path / "image.png")
    decoded = decode_image(tmp_path / "image.png", 20)
    assert decoded.dtype == torch.uint8
    assert decoded.shape == (3, 20, 20)
    assert decoded.is_contiguous()
    assert (decoded.int() - resize_then_crop(image, 20).int()).abs().max() <= 1


def test_an_image_of_the_right_size_is_unchanged(tmp_path: Path) -> None:
    image = noise_image(16, 16)
    image.save(tmp_path / "image.png")
    assert (decode_image(tmp_path / "image.png", 16).permute(1, 2, 0).numpy() == np.asarray(image)).all()


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same(tmp_path: Path) -> None:
    image = smooth_image(900, 640)
    image.save(tmp_path / "image.jpg", quality=95)
    difference = decode_image(tmp_path / "image.jpg", 64).int() - resize_then_crop(image, 64).int()
    assert difference.abs().float().mean() < 2
    assert difference.abs().max() <= 8


def test_a_very_long_image_does_not_fill_the_memory(tmp_path: Path) -> None:
    Image.new("L", (1, 60_000), 7).save(tmp_path / "image.png")  # resized as a whole: 180 gigabytes
    assert (decode_image(tmp_path / "image.png", 1_000) == 7).all()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 100, 200, 51), (204, 224, 244)),
        ("I;16", 0, (0, 0, 0)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 65_535, (255, 255, 255)),
    ],
)
def test_other_modes_become_rgb(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (8, 8), colour).save(tmp_path / "image.png")
    decoded = decode_image(tmp_path / "image.png", 4)
    assert (decoded.int() - torch.tensor(expected)[:, None, None]).abs().max() <= 1


def test_sixteen_bits_of_tiff_and_pgm_are_scaled(tmp_path: Path) -> None:
    values = np.full((8, 8), 257 * 60, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "image.tif")
    (tmp_path / "image.pgm").write_bytes(b"P5 8 8 65535\n" + values.astype(">u2").tobytes())
    for name in ("image.tif", "image.pgm"):
        assert (decode_image(tmp_path / name, 4) == 60).all()


def test_palettes_become_rgb_and_their_transparency_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.save(tmp_path / "image.png")
    image.save(tmp_path / "transparent.gif", transparency=1)
    assert decode_image(tmp_path / "image.png", 4)[:, 0, 0].tolist() == [200, 100, 50]
    assert (decode_image(tmp_path / "transparent.gif", 4) == 255).all()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "image.jpg", quality=95)
    red, green, blue = decode_image(tmp_path / "image.jpg", 8)[:, 4, 4].tolist()
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_orientation_of_the_camera_is_applied(tmp_path: Path, suffix: str) -> None:
    upright = smooth_image(64, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter to the right"
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"image{suffix}", exif=exif)
    difference = decode_image(tmp_path / f"image{suffix}", 64).int() - resize_then_crop(upright, 64).int()
    assert difference.abs().float().mean() < 3


def truncated(make: Callable[[io.BytesIO], None], share: float) -> bytes:
    buffer = io.BytesIO()
    make(buffer)
    return buffer.getvalue()[: int(share * len(buffer.getvalue()))]


def broken_png() -> bytes:
    content = bytearray(truncated(lambda file: noise_image(32, 32).save(file, "PNG"), 1))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"This is no image.", "not an image that Pillow can read"),
        (b"\xff\xd8\xff\xe0", "not an image|damaged or truncated"),
        (truncated(lambda file: noise_image(64, 64).save(file, "JPEG"), 0.9), "damaged or truncated"),
        (truncated(lambda file: noise_image(64, 64).save(file, "JPEG"), 0.5), "damaged or truncated"),
        (truncated(lambda file: noise_image(640, 640).save(file, "JPEG"), 0.5), "damaged or truncated"),
        (truncated(lambda file: noise_image(64, 64).save(file, "PNG"), 0.5), "damaged or truncated"),
        (truncated(lambda file: noise_image(64, 64).save(file, "BMP"), 0.5), "damaged or truncated"),
        (broken_png(), "damaged or truncated"),
        (truncated(lambda file: Image.new("F", (8, 8), 0.5).save(file, "TIFF"), 1), "32 bits per pixel .*mode 'F'"),
        (truncated(lambda file: Image.new("I", (8, 8), 70_000).save(file, "TIFF"), 1), "32 bits per pixel"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        decode_image(path, 16)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jpg cannot be opened \(No such file"):
        decode_image(tmp_path / "missing.jpg", 16)
    with pytest.raises(DataError, match="is not a file"):
        decode_image(tmp_path, 16)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12, 20])  # Pillow itself warns of the smaller one only
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    Image.new("RGB", (side, side)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"bomb\.png is too large"):
        decode_image(tmp_path / "bomb.png", 4)


@pytest.mark.parametrize("num_threads", [1, 4, None])
def test_many_images_come_in_the_order_of_their_paths(paths: list[Path], num_threads: int | None) -> None:
    shuffled = [paths[i] for i in np.random.default_rng(0).permutation(200)]
    decoded = load_images(shuffled, 8, num_threads=num_threads)
    assert decoded.shape == (200, 3, 8, 8)
    assert decoded.dtype == torch.uint8
    expected = torch.tensor([int(path.stem) for path in shuffled])
    assert (decoded == expected[:, None, None, None]).all()


def test_progress_is_told_in_the_calling_thread(paths: list[Path]) -> None:
    calls: list[tuple[int, int, int]] = []
    load_images(paths, 8, num_threads=3, progress=lambda n, total: calls.append((n, total, threading.get_ident())))
    assert [n for n, _, _ in calls] == [64, 128, 192, 200]
    assert {(total, thread) for _, total, thread in calls} == {(200, threading.get_ident())}


def test_no_images_are_an_empty_tensor() -> None:
    assert load_images([], 8).shape == (0, 3, 8, 8)


def test_the_first_bad_file_is_reported_whichever_thread_meets_one_first(paths: list[Path]) -> None:
    for index in (190, 70, 130):
        paths[index].write_bytes(b"")
    for _ in range(3):
        with pytest.raises(DataError, match=r"070\.png"):
            load_images(paths, 8, num_threads=4)


def test_after_an_error_the_rest_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    num_calls = 0

    def fail(path: Path, size: int) -> None:
        nonlocal num_calls
        num_calls += 1
        time.sleep(0.01)
        raise DataError("bad")

    monkeypatch.setattr(images_module, "decode_file", fail)
    threads_before = threading.active_count()
    with pytest.raises(DataError):
        load_images([Path("x")] * 6_400, 1, num_threads=2)
    assert num_calls < 50  # of 100 chunks
    assert threading.active_count() == threads_before


def test_an_interrupt_ends_the_threads_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    num_calls = 0

    def decode(path: Path, size: int) -> np.ndarray:
        nonlocal num_calls
        num_calls += 1
        time.sleep(0.0001)
        return np.zeros((size, size, 3), dtype=np.uint8)

    def interrupt(num_done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images_module, "decode_file", decode)
    threads_before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        load_images([Path("x")] * 6_400, 1, num_threads=2, progress=interrupt)
    assert num_calls < 3_200
    assert threading.active_count() == threads_before


def test_sizes_and_threads_out_of_range_are_refused(paths: list[Path]) -> None:
    with pytest.raises(ConfigError, match="num_threads is 0"):
        load_images(paths, 8, num_threads=0)
    for call in (load_images, load_image_inputs, lambda paths, size: decode_image(paths[0], size)):
        with pytest.raises(ConfigError, match="image size is 0"):
            call(paths, 0)


def test_image_files_decode_by_index_and_can_be_pickled(paths: list[Path]) -> None:
    files = pickle.loads(pickle.dumps(ImageFiles(tuple(paths), 8)))
    assert len(files) == 200
    assert torch.equal(files[17], decode_image(paths[17], 8))
    with pytest.raises(IndexError):
        files[200]


def test_what_fits_into_memory_is_decoded_and_the_rest_left_in_files(paths: list[Path]) -> None:
    num_bytes = 200 * 3 * 8 * 8
    in_memory = load_image_inputs(paths, 8, memory_limit_bytes=num_bytes)
    in_files = load_image_inputs(paths, 8, memory_limit_bytes=num_bytes - 1)
    assert isinstance(in_memory, torch.Tensor)
    assert isinstance(in_files, ImageFiles)
    assert torch.equal(in_memory, torch.stack([in_files[index] for index in range(200)]))


def test_missing_files_are_noticed_before_anything_is_decoded(paths: list[Path]) -> None:
    paths[150].write_bytes(b"")
    with pytest.raises(DataError, match=r"150\.png is empty"):
        load_image_inputs(paths, 8, memory_limit_bytes=0)
    paths[100].unlink()
    with pytest.raises(DataError, match=r"100\.png cannot be opened"):
        load_image_inputs(paths, 8, memory_limit_bytes=0)


def notes(*chunks: tuple[bytes, bytes], after: bool = False) -> bytes:
    """A PNG of 4 x 6 pixels with further chunks before or behind its pixels."""
    content = io.BytesIO()
    smooth_image(4, 6).save(content, "PNG")
    place = content.getvalue().index(b"IEND" if after else b"IDAT") - 4
    added = b"".join(make_chunk(kind, data) for kind, data in chunks)
    return content.getvalue()[:place] + added + content.getvalue()[place:]


LONG = zlib.compress(b"x" * 3_000_000)
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("content", "is_turned"),
    [
        (notes((b"zTXt", b"k\0\0" + LONG)), False),
        (notes((b"zTXt", b"k\0\0" + LONG), after=True), False),
        (notes((b"iTXt", b"k\0\1\0\0\0" + LONG)), False),
        (notes((b"iCCP", b"k\0\0" + LONG)), False),
        (notes((b"zTXt", b"k\0\0" + LONG), (b"eXIf", TURNED.tobytes()[6:])), True),
        (notes((b"zTXt", b"XML:com.adobe.xmp\0\0" + LONG)), False),
        (notes((b"eXIf", b"no notes of a camera")), False),
        (notes((b"eXIf", b"MM\0*" + b"\xff" * 40)), False),
    ],
)
def test_notes_that_the_reader_stumbles_over_leave_the_pixels(tmp_path: Path, content: bytes, is_turned: bool) -> None:
    (tmp_path / "image.png").write_bytes(content)
    expected = smooth_image(4, 6)
    expected = expected.transpose(Image.Transpose.ROTATE_270) if is_turned else expected
    assert torch.equal(decode_image(tmp_path / "image.png", 4), resize_then_crop(expected, 4))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_notes_of_a_jpeg_leave_the_pixels(tmp_path: Path) -> None:
    for name, exif in (
        ("plain", b""),
        ("odd", b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\1" * 30),
        ("none", b"Exif\0\0junk"),
    ):
        smooth_image(8, 8).save(tmp_path / f"{name}.jpg", exif=exif)
    plain = decode_image(tmp_path / "plain.jpg", 8)
    for name in ("odd", "none"):
        assert torch.equal(decode_image(tmp_path / f"{name}.jpg", 8), plain)
