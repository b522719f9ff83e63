"""Where things are in images: masks from files, stickers, birds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.config import StickerConfig
from prusc.data import Data, check_data, load_data, load_fashion_stickers
from prusc.data.regions import ImageRegions
from prusc.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight images of 40 x 30 pixels in a table, and a mask, white on the left half, for every other one."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rows = ["isic_id,benign_malignant"]
    for number in range(24):
        Image.new("RGB", (40, 30), (number, 90, 90)).save(tmp_path / "images" / f"mole{number}.png")
        rows.append(f"mole{number},{('benign', 'malignant')[number % 2]}")
        if number % 2:
            write_mask(tmp_path / "masks" / f"mole{number}.jpg")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    return tmp_path


def write_mask(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    pixels = np.zeros(size[::-1], dtype=np.uint8)
    pixels[:, : size[0] // 2] = 255
    Image.fromarray(pixels).save(path)


def all_regions(data: Data) -> dict[str, dict[str, torch.Tensor]]:
    found = {}
    for split in data.splits.values():
        lookup = split.regions or (lambda index: {})
        found |= {name: dict(lookup(index)) for index, name in enumerate(split.sample_ids)}
    return found


def test_masks_beside_the_images_are_found_and_cut_like_them(root: Path) -> None:
    found = all_regions(load_data(str(root), image_size=12))
    assert len(found) == 24
    for name, regions in found.items():
        assert list(regions) == (["object"] if int(name[4:]) % 2 else [])
    # Of 40 pixels the middle 30 are seen, and the mask ends in their middle.
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[:, :6] = True
    assert torch.equal(found["mole3"]["object"], expected)


def test_another_folder_and_one_that_is_not_there_or_of_other_images(root: Path) -> None:
    (root / "masks").rename(root / "lesions")
    assert not any(all_regions(load_data(str(root), image_size=8)).values())
    assert any(all_regions(load_data(str(root), image_size=8, mask_folder="lesions")).values())
    with pytest.raises(ConfigError, match=r"data_options.mask_folder .*nowhere is not a folder"):
        load_data(str(root), image_size=8, mask_folder="nowhere")
    (root / "others").mkdir()
    write_mask(root / "others" / "cat.png")
    with pytest.raises(ConfigError, match=r"holds no mask of the 24 images; expected .* such as mole0.png"):
        load_data(str(root), image_size=8, mask_folder="others")
    with pytest.raises(ConfigError, match="does not take mask_folder"):
        load_data("fashion-stickers", mask_folder="lesions")


def test_a_mask_that_does_not_lie_on_its_image_or_cannot_be_read_is_refused(root: Path) -> None:
    write_mask(root / "masks" / "mole1.jpg", (40, 40))
    (root / "masks" / "mole3.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"mole1.jpg has 40 x 40 pixels, .*mole3.jpg cannot be read"):
        load_data(str(root), image_size=8)
    assert [problem.kind for problem in check_data(str(root), image_size=8).problems] == ["mask", "mask"]
    data = load_data(str(root), image_size=8, skip_bad=True)
    split = next(split for split in data.splits.values() if "mole1" in split.sample_ids)
    with pytest.raises(DataError, match=r"mole1.jpg has 40 x 40 pixels, its image .* 40 x 30"):
        split.regions(split.sample_ids.index("mole1"))  # type: ignore[misc]
    split = next(split for split in data.splits.values() if "mole3" in split.sample_ids)
    with pytest.raises(DataError, match=r"mole3.jpg"):
        split.regions(split.sample_ids.index("mole3"))  # type: ignore[misc]


def test_a_camera_that_was_turned_is_no_other_aspect_ratio(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(tmp_path / "image.jpg", exif=exif)
    write_mask(tmp_path / "mask.png")
    regions = ImageRegions((tmp_path / "image.jpg",), (tmp_path / "mask.png",), 4)
    assert regions(0)["object"].sum() == 8


def test_of_two_images_of_one_name_none_gets_a_mask_by_its_name_alone(tmp_path: Path) -> None:
    for folder in ("cat", "dog"):
        (tmp_path / "pets" / folder).mkdir(parents=True)
        for number in range(9):
            Image.new("RGB", (4, 4), (number, number, ord(folder[0]))).save(
                tmp_path / "pets" / folder / f"{folder}{number}.png"
            )
        Image.new("RGB", (4, 4), "red" if folder == "cat" else "blue").save(tmp_path / "pets" / folder / "same.png")
    (tmp_path / "places" / "dog").mkdir(parents=True)
    for name in ("same.png", "cat3.png", "dog/same.png"):
        write_mask(tmp_path / "places" / name, (4, 4))
    found = all_regions(load_data(str(tmp_path / "pets"), image_size=4, mask_folder="../places"))
    assert sorted(name for name, regions in found.items() if regions) == ["cat/cat3.png", "dog/same.png"]


def test_images_in_a_folder_called_masks_are_no_masks(tmp_path: Path) -> None:
    for folder in ("masks", "hats"):
        (tmp_path / folder).mkdir()
        for number in range(10):
            Image.new("RGB", (4, 4), (number, 8, len(folder))).save(tmp_path / folder / f"{folder}{number}.png")
    assert not any(all_regions(load_data(str(tmp_path), image_size=4)).values())
    assert check_data(str(tmp_path)).is_good


def test_a_sticker_is_a_region_beside_the_mask(root: Path) -> None:
    stickers = StickerConfig((1.0, 1.0), test_shares=(1.0, 1.0))
    data = load_data(str(root), image_size=24, stickers=stickers)
    plain = load_data(str(root), image_size=24)
    with_mask = 0
    for name, split in data.splits.items():
        for index in range(len(split)):
            regions = split.regions(index)  # type: ignore[misc]
            changed = (split.inputs[index] != plain.splits[name].inputs[index]).any(dim=0)  # type: ignore[index]
            assert regions["sticker"].any()
            assert not (regions["sticker"] & ~changed).any()
            # What is left over is the sticker's soft edge.
            assert (changed & ~regions["sticker"]).sum() < 0.5 * regions["sticker"].sum() + 8
            with_mask += "object" in regions
    assert with_mask == 12


def test_the_stickers_of_the_packaged_data_are_known() -> None:
    data = load_fashion_stickers(num_train_per_class=5, num_val_per_class=10, num_test_per_class=4)
    some = data.val.subset(torch.tensor([7, 3, 11]))
    assert some.regions is not None
    for position, index in enumerate((7, 3, 11)):
        inside = some.regions(position)["sticker"]
        assert inside.sum() == 64
        pixels = data.val.inputs[index]  # type: ignore[index]
        assert len(pixels[:, inside].unique(dim=1)[0]) == 1, "one colour"
        assert pixels[:, inside].sum(dim=0).float().mean() in (255.0, 510.0)
