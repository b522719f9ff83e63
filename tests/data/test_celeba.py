import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from prusc.data.celeba import load_celeba
from prusc.data.images import ImageFiles
from prusc.errors import ConfigError, DataError
from tests.shape_checker import unchecked

NAMES = ("Blond_Hair", "Male", "Young", "Smiling")
PARTITIONS = (2, 0, 0, 1, 0, 1, 2, 0, 1, 2, 2, 0)
NUM_IMAGES = len(PARTITIONS)


def attribute(image: int, column: int) -> int:
    """Every combination of the four attributes occurs."""
    return (image >> column) & 1


def attribute_rows(low: str = "-1", separator: str = " ") -> list[str]:
    return [
        separator.join(
            [f"{image:06d}.jpg", *("1" if attribute(image, column) else low for column in range(len(NAMES)))]
        )
        for image in range(NUM_IMAGES)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CelebA in small, in the official format; image i is a plain gray of value 20 * i."""
    (tmp_path / "img_align_celeba").mkdir()
    for image in range(NUM_IMAGES):
        gray = Image.new("RGB", (18, 22), (20 * image,) * 3)
        gray.save(tmp_path / "img_align_celeba" / f"{image:06d}.jpg", quality=95)
    lines = [str(NUM_IMAGES), " ".join(NAMES) + " ", *attribute_rows()]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{image:06d}.jpg {partition}" for image, partition in enumerate(PARTITIONS)]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert text.count(old) == 1
        (root / name).write_text(text.replace(old, new))

    return change


def test_the_official_files_are_read(root: Path) -> None:
    data = load_celeba(root, image_size=12)
    assert data.class_names == ("not Blond_Hair", "Blond_Hair")
    assert data.attribute_names == ("Male",)
    assert data.attribute_values == (("not Male", "Male"),)
    assert data.mean == (0.485, 0.456, 0.406)
    for number, split in enumerate(data.splits.values()):
        images = [image for image, partition in enumerate(PARTITIONS) if partition == number]
        assert split.sample_ids == tuple(f"{image:06d}.jpg" for image in images)
        assert split.labels.tolist() == [attribute(image, 0) for image in images]
        assert split.attributes.tolist() == [[attribute(image, 1)] for image in images]
        assert split.inputs.dtype == torch.uint8
        assert split.inputs.shape == (len(images), 3, 12, 12)
        expected = torch.tensor([20 * image for image in images])[:, None, None, None]
        assert (split.inputs.int() - expected).abs().max() <= 2


def test_target_and_attributes_can_be_chosen(root: Path) -> None:
    data = load_celeba(root, target="Smiling", attributes=["Young", "Blond_Hair"], image_size=8)
    assert data.class_names == ("not Smiling", "Smiling")
    assert data.attribute_values == (("not Young", "Young"), ("not Blond_Hair", "Blond_Hair"))
    images = [int(sample_id[:6]) for sample_id in data.train.sample_ids]
    assert data.train.labels.tolist() == [attribute(image, 3) for image in images]
    assert data.train.attributes.tolist() == [[attribute(image, 2), attribute(image, 0)] for image in images]
    assert data.origin["attributes"] == ["Young", "Blond_Hair"]


def test_without_attributes_none_are_known(root: Path) -> None:
    data = load_celeba(root, attributes=(), image_size=8)
    assert data.train.attributes is None
    assert data.attribute_names == ()


def test_kaggles_files_give_the_same(root: Path) -> None:
    official = load_celeba(root, image_size=8)
    rows = [",".join(["image_id", *NAMES]), *attribute_rows(separator=",")]
    (root / "list_attr_celeba.csv").write_text("\r\n".join(rows))
    rows = ["image_id,partition", *(f"{image:06d}.jpg,{partition}" for image, partition in enumerate(PARTITIONS))]
    (root / "list_eval_partition.csv").write_text("\r\n".join(rows))
    (root / "list_attr_celeba.txt").unlink()
    (root / "list_eval_partition.txt").unlink()
    (root / "img_align_celeba").rename(root / "images")
    (root / "img_align_celeba").mkdir()
    (root / "images").rename(root / "img_align_celeba" / "img_align_celeba")
    kaggle = load_celeba(root, image_size=8)
    for name, split in official.splits.items():
        assert torch.equal(split.inputs, kaggle.splits[name].inputs)
        assert torch.equal(split.labels, kaggle.splits[name].labels)
        assert torch.equal(split.attributes, kaggle.splits[name].attributes)


@pytest.mark.parametrize("low", ["-1", "0"])
@pytest.mark.parametrize("count", [[], [str(NUM_IMAGES)]])
def test_zeros_for_minus_one_and_a_missing_count_are_understood(root: Path, low: str, count: list[str]) -> None:
    rows = [*count, "image_id " + " ".join(NAMES), *attribute_rows(low)]
    (root / "list_attr_celeba.txt").write_text("\n".join(rows))
    data = load_celeba(root, image_size=8)
    assert data.test.labels.tolist() == [attribute(image, 0) for image in (0, 6, 9, 10)]


def test_the_lists_may_have_different_orders(root: Path) -> None:
    expected = load_celeba(root, image_size=8)
    path = root / "list_eval_partition.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert load_celeba(root, image_size=8).train.sample_ids == expected.train.sample_ids


def test_beyond_the_memory_limit_images_stay_in_files(root: Path) -> None:
    in_memory = load_celeba(root, image_size=8)
    in_files = load_celeba(root, image_size=8, memory_limit_bytes=100)
    for name, split in in_files.splits.items():
        assert isinstance(split.inputs, ImageFiles)
        assert torch.equal(torch.stack([split.inputs[i] for i in range(len(split))]), in_memory.splits[name].inputs)


def test_progress_counts_the_images_of_all_splits(root: Path) -> None:
    calls: list[tuple[int, int]] = []
    load_celeba(root, image_size=8, num_threads=1, progress=lambda *call: calls.append(call))
    assert calls == [(12, 12)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("list_attr_celeba.txt", "12\n", "13\n"), "declares 13 rows, found 12"),
        (edit("list_attr_celeba.txt", "000003.jpg 1 1 -1 -1", "000003.jpg 1 1 -1"), "line 6: found 4 cells"),
        (edit("list_attr_celeba.txt", "000003.jpg 1 1 -1 -1", "000003.jpg 1 1 -1 -1 1"), "line 6: found 6 cells"),
        (edit("list_attr_celeba.txt", "000003.jpg 1 1", "000003.jpg 1 2"), "line 6: the value of Male is '2'"),
        (edit("list_attr_celeba.txt", "000003.jpg 1 1", "000003.jpg x 1"), "line 6: the value of Blond_Hair is 'x'"),
        (edit("list_attr_celeba.txt", "000004.jpg -1", "000004.jpg 0"), "line 7: the value of Blond_Hair is 0"),
        (edit("list_attr_celeba.txt", "000003.jpg", "000002.jpg"), "line 6: image '000002.jpg' .*line 5"),
        (edit("list_attr_celeba.txt", "000003.jpg", "../000003.jpg"), "line 6: '../000003.jpg' is not a plain"),
        (edit("list_attr_celeba.txt", "000003.jpg", "/etc/passwd"), "line 6: '/etc/passwd' is not a plain"),
        (edit("list_attr_celeba.txt", "000003.jpg", ".."), "line 6: '..' is not a plain"),
        (edit("list_attr_celeba.txt", "000003.jpg", "..\\3.jpg"), r"line 6: .* is not a plain"),
        (edit("list_attr_celeba.txt", "000003.jpg", "000093.jpg"), "list_eval_partition.txt lacks 1 .*'000093.jpg'"),
        (edit("list_attr_celeba.txt", "Young", "Male"), "2 columns called 'Male'"),
        (edit("list_attr_celeba.txt", "Male", "Mael"), "no attribute 'Male'; did you mean Mael"),
        (edit("list_eval_partition.txt", "000003.jpg 1", "000003.jpg 3"), "line 4: the value of partition is '3'"),
        (edit("list_eval_partition.txt", "000003.jpg 1", "000003.jpg"), "line 4: found 1 cells"),
        (edit("list_eval_partition.txt", "000003.jpg 1\n", ""), "list_eval_partition.txt lacks 1 of the 12"),
        (edit("list_eval_partition.txt", "000011.jpg 0\n", "000011.jpg 0\n99.jpg 0\n"), "list_attr_celeba.txt lacks 1"),
        (lambda root: (root / "list_eval_partition.txt").unlink(), "has no list_eval_partition.txt or"),
        (lambda root: (root / "list_attr_celeba.txt").unlink(), "has no list_attr_celeba.txt or"),
        (lambda root: (root / "list_attr_celeba.txt").write_text("12\n"), "no attribute 'Blond_Hair'; it has none"),
        (lambda root: (root / "list_attr_celeba.txt").write_text(" ".join(NAMES)), "lists no images"),
        (lambda root: (root / "list_eval_partition.txt").write_text(""), "lists no images"),
        (lambda root: (root / "list_attr_celeba.txt").write_bytes(b"\xff\xfe\x00"), "cannot be read as text"),
        (lambda root: (root / "img_align_celeba" / "000005.jpg").unlink(), "lacks 1 of the 12 .*'000005.jpg' .*line 8"),
        (lambda root: (root / "img_align_celeba" / "000005.jpg").write_bytes(b"no"), r"000005\.jpg is not an image"),
        (lambda root: (root / "img_align_celeba").rename(root / "x"), "has no folder img_align_celeba"),
    ],
)
def test_what_is_wrong_is_named(root: Path, change: Callable[[Path], None], message: str) -> None:
    change(root)
    with pytest.raises(DataError, match=message):
        load_celeba(root, image_size=8)


def test_an_unknown_attribute_is_answered_with_the_nearest(root: Path) -> None:
    with pytest.raises(DataError, match="no attribute 'Blonde_Hair'; did you mean Blond_Hair"):
        load_celeba(root, target="Blonde_Hair")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ("Male", "Male")}, "Male is requested more than once"),
        ({"target": "Male"}, "Male is requested more than once"),
        ({"image_size": 0}, "image size is 0"),
        ({"num_threads": 0}, "num_threads is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_celeba(root, **options)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load_celeba(tmp_path / "nowhere")


def test_an_empty_split_comes_to_light_before_anything_is_decoded(root: Path) -> None:
    path = root / "list_eval_partition.txt"
    path.write_text(path.read_text().replace(".jpg 1", ".jpg 0"))
    (root / "img_align_celeba" / "000000.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="split 'val' has no samples"):
        load_celeba(root)


@pytest.mark.skipif("PRUSC_DATA" not in os.environ, reason="PRUSC_DATA does not name the folder of the real data")
def test_the_real_faces_have_their_known_groups() -> None:
    with unchecked():
        data = load_celeba(Path(os.environ["PRUSC_DATA"]) / "celeba", memory_limit_bytes=0)
    labels = torch.cat([split.labels for split in data.splits.values()])
    attributes = torch.cat([split.attributes[:, 0] for split in data.splits.values()])
    assert torch.bincount(2 * labels + attributes).tolist() == [4412, 4136, 1371, 81]  # shared/data/README.md
    assert torch.bincount(2 * data.test.labels + data.test.attributes[:, 0]).min() == 29
    face = data.test.inputs[0].float()
    assert face.shape == (3, 96, 96)
    assert face.std() > 20
