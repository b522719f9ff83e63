"""Other framings of images: against timm's own evaluation transform, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from prusc.data import load_data
from prusc.data.framing import FramedImage, Framing
from prusc.data.images import MadeImage, decode_source
from prusc.data.regions import ImageRegions, has_regions
from prusc.errors import ConfigError


class Halves(MadeImage):
    """Black at the left, white at the right, which is a region too."""

    def decode(self, size: int) -> np.ndarray:
        return np.repeat(self.find_regions(size)["right"][:, :, None] * np.uint8(255), 3, axis=2)

    def find_regions(self, size: int) -> dict[str, np.ndarray]:
        return {"right": np.arange(size)[None].repeat(size, 0) >= size // 2}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 0.7])
def test_it_is_the_evaluation_transform_of_timm(picture: Path, interpolation: str, crop_pct: float) -> None:
    size = 28
    transform = create_transform(
        (3, size, size), interpolation=interpolation, crop_pct=crop_pct, mean=(0, 0, 0), std=(1, 1, 1)
    )
    expected = (transform(Image.open(picture)) * 255).round().numpy().transpose(1, 2, 0)  # type: ignore[operator]
    found = decode_source(Framing(interpolation, crop_pct).frame(picture), size)  # type: ignore[arg-type]
    assert np.abs(found.astype(float) - expected).max() <= 1


def test_the_usual_framing_changes_nothing(picture: Path) -> None:
    assert Framing().frame(picture) is picture


def test_regions_and_masks_are_cropped_with_the_image(tmp_path: Path, picture: Path) -> None:
    image = Framing(crop_pct=0.5).frame(Halves())
    assert isinstance(image, FramedImage)
    assert np.array_equal(image.decode(8)[:, :, 0] == 255, image.find_regions(8)["right"])
    assert image.find_regions(8)["right"].sum() == 32
    mask = np.zeros((70, 70), dtype=np.uint8)
    mask[:, 35:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    framed = Framing(crop_pct=0.5).frame(picture)
    found = ImageRegions((framed,), (tmp_path / "mask.png",), 10)(0)
    assert torch.equal(found["object"], torch.arange(10)[None].repeat(10, 1) >= 5)
    assert has_regions(image)
    assert not has_regions(framed)
    with pytest.raises(ConfigError, match="interpolation bicubic applies to images from files"):
        Framing("bicubic").frame(Halves())


def test_options_of_a_folder_reach_its_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    plain = load_data(str(tmp_path), image_size=10)
    framed = load_data(str(tmp_path), image_size=10, crop_pct=0.5, interpolation="nearest")
    assert isinstance(framed.train.inputs, torch.Tensor)
    pixels = np.asarray(Image.open(tmp_path / framed.train.sample_ids[0]))
    assert np.array_equal(framed.train.inputs[0].numpy().transpose(1, 2, 0), pixels[5:15, 5:15])
    assert plain.train.sample_ids == framed.train.sample_ids
    assert framed.origin["crop_pct"] == 0.5
    with pytest.raises(ConfigError, match="does not take crop_pct"):
        load_data("fashion-stickers", crop_pct=0.5)
