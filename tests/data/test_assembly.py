import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prusc.data import load_data
from prusc.data.images import ImageFiles, ImageSource, decode_image, decode_source
from prusc.errors import DataError
from tests.data.folders import write_class_folders, write_image, write_waterbirds


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_waterbirds(tmp_path / "birds", 32)


def image(birds: Path, number: int) -> Path:
    return birds / f"{number // 8:03d}.Species" / f"bird_{number}.png"


@pytest.mark.parametrize("memory_limit_bytes", [0, 10**9])
def test_every_split_has_its_own_images_in_the_order_of_the_table(birds: Path, memory_limit_bytes: int) -> None:
    data = load_data(str(birds), image_size=8, memory_limit_bytes=memory_limit_bytes)
    assert isinstance(data.train.inputs, torch.Tensor if memory_limit_bytes else ImageFiles)
    for number, split in enumerate(data.splits.values()):
        members = [n for n in range(32) if (0, 0, 1, 2)[n // 4 % 4] == number]
        assert split.sample_ids == tuple(f"{n // 8:03d}.Species/bird_{n}.png" for n in members)
        for position, n in enumerate(members):
            assert torch.equal(split.inputs[position], decode_image(image(birds, n), 8))


@pytest.mark.parametrize("memory_limit_bytes", [0, 10**9])
def test_bad_images_are_skipped_and_listed(birds: Path, memory_limit_bytes: int) -> None:
    whole = load_data(str(birds), image_size=8)
    image(birds, 5).write_text("hello")
    image(birds, 9).unlink()
    with pytest.raises(DataError, match=r"lacks 1 of the 32 listed images, the first is 'bird_9\.png' .*skip_bad"):
        load_data(str(birds), image_size=8)
    data = load_data(str(birds), image_size=8, skip_bad=True, memory_limit_bytes=memory_limit_bytes)
    assert [(s.split, s.sample_id) for s in data.skipped] == [
        ("train", "000.Species/bird_5.png"),
        ("val", "001.Species/bird_9.png"),
    ]
    assert "is not an image" in data.skipped[0].problem
    assert data.origin["num_skipped"] == 2
    kept = [i for i, name in enumerate(whole.train.sample_ids) if not name.endswith("bird_5.png")]
    assert torch.equal(torch.stack([data.train.inputs[i] for i in range(len(data.train))]), whole.train.inputs[kept])
    assert torch.equal(data.train.labels, whole.train.labels[kept])
    assert torch.equal(data.train.attributes, whole.train.attributes[kept])
    assert torch.equal(torch.stack([data.test.inputs[i] for i in range(len(data.test))]), whole.test.inputs)


@pytest.mark.parametrize(("memory_limit_bytes", "num_decoded"), [(10**9, 32), (0, 32)])
def test_to_find_the_bad_ones_images_are_decoded_once(
    birds: Path, monkeypatch: pytest.MonkeyPatch, memory_limit_bytes: int, num_decoded: int
) -> None:
    decoded = []

    def counting(source: ImageSource, size: int) -> NDArray[np.uint8]:
        decoded.append(source)
        return decode_source(source, size)

    for module in ("assembly", "images"):
        monkeypatch.setattr(f"prusc.data.{module}.decode_source", counting)
    image(birds, 5).write_text("hello")
    load_data(str(birds), image_size=8, skip_bad=True, memory_limit_bytes=memory_limit_bytes, num_threads=1)
    assert len(decoded) == num_decoded


def test_a_name_that_is_no_text_is_written_out(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        write_class_folders(tmp_path / "pets" / split, 2, first=10 * number)
    path = tmp_path / "pets" / "train" / "cat" / os.fsdecode(b"\xff.png")
    try:
        write_image(path, 5)
    except OSError:
        pytest.skip("this file system takes text only")
    data = load_data(str(tmp_path / "pets"), image_size=8)
    assert "train/cat/\\udcff.png" in data.train.sample_ids
    position = data.train.sample_ids.index("train/cat/\\udcff.png")
    assert torch.equal(data.train.inputs[position], decode_image(path, 8))
    path.write_text("hello")
    (skipped,) = load_data(str(tmp_path / "pets"), image_size=8, skip_bad=True).skipped
    assert skipped.sample_id == "train/cat/\\udcff.png"
    assert "cat/\\udcff.png is not an image" in skipped.problem


def test_what_is_left_must_be_enough(birds: Path) -> None:
    for number in range(32):
        if (0, 0, 1, 2)[number // 4 % 4] == 1:
            image(birds, number).write_bytes(b"")
    with pytest.raises(DataError, match=r"split 'val' has no samples.*metadata\.csv"):
        load_data(str(birds), image_size=8, skip_bad=True)
    for number in range(32):
        image(birds, number).write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 32 images .* can be read; the first: .* is empty"):
        load_data(str(birds), image_size=8, skip_bad=True)
