"""Data from arrays, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from prusc.data import as_data
from prusc.data.table import Data
from prusc.errors import DataError, PruscError

LABELS = [0, 1] * 15
RNG = np.random.default_rng(0)


def images(*shape: int, dtype: type = np.uint8) -> Any:
    return RNG.integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, list], ids=["numpy", "torch", "list"])
def test_images_of_any_kind_of_array_become_the_same_data(kind: Any) -> None:
    pixels = images(30, 8, 9, 3)
    data = Data.from_arrays((kind(pixels), kind(LABELS)), (kind(pixels[:6]), LABELS[:6]), (kind(pixels), LABELS))
    assert isinstance(data.train.inputs, Tensor)
    assert data.train.inputs.dtype == torch.uint8
    assert torch.equal(data.train.inputs, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert data.train.labels.tolist() == LABELS
    assert (data.class_names, data.mean[0]) == (("0", "1"), 0.485)
    assert [len(split) for split in data.splits.values()] == [30, 6, 30]
    assert len(set(data.val.sample_ids)) == 6
    assert data.origin == {"layout": "arrays"}


def test_floating_point_inputs_go_to_the_network_as_they_are() -> None:
    values = RNG.normal(size=(30, 3, 8, 8))
    data = Data.from_arrays((values, LABELS))
    assert isinstance(data.val.inputs, Tensor)
    assert data.val.transform is not None
    assert data.val.inputs.dtype == torch.float32
    assert data.val.transform(data.val.inputs) is data.val.inputs
    flat = Data.from_arrays((torch.randn(30, 5), LABELS))
    assert isinstance(flat.train.inputs, Tensor)
    assert flat.train.inputs.shape[1:] == (5,)


def test_missing_splits_are_made_with_the_same_share_of_each_class_and_said() -> None:
    inputs = torch.arange(100.0)[:, None]
    labels = [0] * 80 + [1] * 20
    data = Data.from_arrays((inputs, labels))
    counts = {name: torch.bincount(split.labels).tolist() for name, split in data.splits.items()}
    assert counts == {"train": [48, 12], "val": [16, 4], "test": [16, 4]}
    assert data.origin == {"layout": "arrays", "made_splits": ["val", "test"], "data_seed": 0}
    seen = [value for split in data.splits.values() for value in split.inputs[:, 0].tolist()]  # type: ignore[index]
    assert sorted(seen) == list(range(100))
    for split in data.splits.values():
        assert [int(name.removeprefix("train-")) for name in split.sample_ids] == split.inputs[:, 0].tolist()  # type: ignore[index]
    again, other = Data.from_arrays((inputs, labels)), Data.from_arrays((inputs, labels), seed=1)
    assert again.val.sample_ids == data.val.sample_ids != other.val.sample_ids
    half = Data.from_arrays((inputs, labels), (inputs[:30], [0, 1] * 15))
    assert [len(split) for split in half.splits.values()] == [100, 20, 10]
    assert half.origin["made_splits"] == ["test"]


def test_names_of_classes_and_attributes_are_numbered_over_all_splits() -> None:
    inputs = torch.randn(4, 2)
    train = (inputs, ["dog", "cat", "dog", "cat"], {"colour": ["red", "blue", "red", "red"], "night": [0, 1, 1, 0]})
    val = (inputs[:2], np.array(["cat", "dog"]), {"night": [True, False], "colour": ["green", "red"]})
    data = Data.from_arrays(train, val, val)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0, 1, 0]
    assert data.attribute_names == ("colour", "night")
    assert data.attribute_values == (("blue", "green", "red"), ("0", "1"))
    assert data.val.attributes is not None
    assert data.val.attributes.tolist() == [[1, 1], [2, 0]]
    ordered = Data.from_arrays(train, val, val, class_names=("dog", "cat"))
    assert ordered.train.labels.tolist() == [0, 1, 0, 1]
    # With the names of all classes, some of them need no sample.
    gap = (inputs, [0, 2, 0, 2])
    assert Data.from_arrays(gap, gap, class_names=("a", "b", "c")).num_classes == 3


def test_paths_are_decoded_and_name_the_samples(tmp_path: Path) -> None:
    paths = []
    for number, pixels in enumerate(images(4, 10, 10, 3)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    split = (list(map(str, paths)), [0, 1, 0, 1])
    data = Data.from_arrays(split, split, split, image_size=10)
    assert isinstance(data.train.inputs, Tensor)
    assert np.array_equal(data.train.inputs[2].permute(1, 2, 0).numpy(), np.asarray(Image.open(paths[2])))
    assert data.val.sample_ids[1].endswith("1.png")


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ((images(30, 3, 8, 3), LABELS), {}, r"\[30, 3, 8, 3\], and both of .* channels='first' or channels='last'"),
        ((images(30, 8, 8, 5), LABELS), {}, "and neither of"),
        ((images(30, 8, 8), LABELS), {}, r"give grayscale images a channel \(images\[:, None\]\)"),
        ((images(30, 8), LABELS), {}, "uint8 of shape"),
        ((torch.randn(30, 2), LABELS[:29]), {}, r"found \{'inputs': 30, 'labels': 29\}"),
        ((torch.randn(30, 2), torch.eye(30)), {}, "expected one value per sample.*argmax"),
        ((torch.randn(30, 2), [0.5] * 30), {}, "labels of train: value 0.5 at index 0 is no class"),
        ((torch.randn(30, 2), [0, float("nan")] * 15), {}, "value nan at index 1"),
        ((torch.randn(30, 2), [1, 2] * 15), {}, "the labels are 1, 2; expected 0 to the number of classes - 1"),
        ((torch.randn(30, 2), [0, 2] * 15), {}, "the labels are 0, 2; expected 0"),
        ((torch.randn(30, 2), [0, -1] * 15), {}, "the labels are -1, 0"),
        ((torch.randn(30, 2), ["a", None] * 15), {}, "value None at index 1 is of type NoneType"),
        ((torch.randn(30, 2), ["cat", "dog"] * 15), {"class_names": ("cat", "dogs")}, "'dog' is unknown; did you mean"),
        ((torch.randn(30, 2), LABELS, [0] * 30), {}, "the attributes of train are of type list; expected them by name"),
        ((torch.randn(30, 2), LABELS, {"a": [0] * 3}), {}, "'a': 3"),
        (torch.randn(30, 2), {}, r"train is of type Tensor; expected \(inputs, labels\)"),
        ((["a", 1.0], [0, 1]), {}, "no array of numbers"),
        ((torch.randn(30, 2), LABELS), {"mean": (0.5,), "std": (0.5,)}, "only uint8 images are normalised"),
        ((torch.ones(30, 2, dtype=torch.bool), LABELS), {}, "are torch.bool"),
        (([torch.ones(2), torch.ones(3)], [0, 1]), {}, "no array of numbers"),
    ],
)
def test_what_cannot_be_told_is_refused(train: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PruscError, match=message):
        Data.from_arrays(train, **options)


def test_splits_that_do_not_go_together_are_refused() -> None:
    inputs = torch.randn(4, 2)
    with pytest.raises(DataError, match="names in some splits and numbers in others"):
        Data.from_arrays((inputs, [0, 1, 0, 1]), (inputs, ["a", "b", "a", "b"]))
    with pytest.raises(DataError, match="val: class 'c' is unknown"):
        Data.from_arrays((inputs, ["a", "b", "a", "b"]), (inputs, ["a", "c", "a", "b"]))
    with pytest.raises(DataError, match="val has the attributes none, train has place"):
        Data.from_arrays((inputs, [0, 1, 0, 1], {"place": [0, 0, 1, 1]}), (inputs, [0, 1, 0, 1]))


def test_a_pair_of_arrays_is_data() -> None:
    assert len(as_data((torch.randn(30, 2), LABELS)).train) == 18
    data = Data.from_arrays((torch.randn(30, 2), LABELS))
    assert as_data(data) is data
