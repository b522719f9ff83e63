"""What the public API takes: each kind of array gives the same split, and what cannot be right is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from prusc.data.table import Data, Split
from prusc.errors import DataError

IMAGES = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)


def data_of(**changes: Any) -> Data:
    parts = {name: Split(IMAGES, [0, 1, 0, 1]) for name in ("train", "val", "test")}
    return Data("d", **({"class_names": ("a", "b")} | parts | changes))


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 1, 0],
        (0, 1, 1, 0),
        [False, True, True, False],
        [np.int8(0), np.int8(1), np.int8(1), np.int8(0)],
        *(np.array([0, 1, 1, 0], dtype=kind) for kind in ("uint8", "int16", "uint32", "uint64", "float32", "bool")),
        *(torch.tensor([0, 1, 1, 0], dtype=kind) for kind in (torch.uint8, torch.int32, torch.float64, torch.bool)),
    ],
)
def test_labels_of_any_kind_of_whole_number_are_the_same(labels: Any) -> None:
    split = Split(IMAGES, labels)
    assert split.labels.dtype == torch.int64
    assert split.labels.tolist() == [0, 1, 1, 0]


def test_inputs_of_any_kind_are_the_same_and_names_are_optional() -> None:
    for inputs in (IMAGES, IMAGES.numpy()):
        split = Split(inputs, [0, 1, 0, 1], [2, 1, 0, 2])
        assert torch.equal(split.inputs, IMAGES)
        assert split.sample_ids == ("0", "1", "2", "3")
        assert split.attributes.tolist() == [[2], [1], [0], [2]]
    numbers = Split([[0.5, 1.0], [2.0, 3.0]], [0, 1], sample_ids=np.array([7, 9]))
    assert numbers.inputs.dtype == torch.float32
    assert numbers.sample_ids == ("7", "9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES, [0, 1, 0]), "one entry per sample everywhere"),
        ((IMAGES, [0.5, 1, 0, 1]), "labels hold numbers that are not whole"),
        ((IMAGES, [float("nan"), 1, 0, 1]), "labels hold numbers that are not whole"),
        ((IMAGES, ["cat", "dog", "cat", "dog"]), "labels cannot be read as numbers"),
        ((IMAGES, torch.eye(4)), r"labels have the shape \[4, 4\]; expected one class number .*argmax"),
        ((IMAGES, [0, 1, 0, 1], [[[0]]] * 4), r"attributes have the shape \[4, 1, 1\]"),
        ((IMAGES, [0, 1, 0, 1], None, ["x", "y", "x", "z"]), "sample 'x' is in sample_ids more than once"),
        ((IMAGES, [0, 1, 0, 1], None, "abcd"), "sample_ids are the text 'abcd'"),
        ((IMAGES[:, 0], [0, 1, 0, 1]), r"shape \[4, 2, 2\]; expected \[N, C, H, W\]: add the channels"),
        ((torch.zeros(4, 9, 9, 3, dtype=torch.uint8), [0, 1, 0, 1]), "channels last.*permute"),
        ((torch.tensor([[1.0], [float("nan")]]), [0, 1]), "inputs of sample 1 hold a number that is not finite"),
        ((torch.tensor([1.0, float("inf")]), [0, 1]), "inputs of sample 1 hold a number that is not finite"),
        ((torch.tensor(1.0), [0]), "inputs are a single number"),
        ((iter([1]), [0]), "map-style data set"),
    ],
)
def test_what_cannot_be_a_split_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(*arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "a")}, "class_names name 'a' more than once"),
        ({"val": Split(IMAGES, [0, 1, 2, 1])}, "sample '2': label 2 is out of range"),
        ({"val": Split(IMAGES, [0, -1, 0, 1])}, "sample '1': label -1 is out of range"),
        ({"test": Split(IMAGES, [0, 1, 0, 1], [0, 0, 0, 0])}, "has 1 attributes, yet 0 attribute_names"),
        ({"attribute_names": ("p",)}, "1 attribute_names and values of 0 attributes"),
        (
            {
                "attribute_names": ("p",),
                "attribute_values": (("x", "y"),),
                "val": Split(IMAGES, [0, 1, 0, 1], [0, 1, 5, 0]),
            },
            "split 'val', sample '2': attribute 'p' is 5; with the values x, y it must be in 0..1",
        ),
        ({"val": Split(IMAGES.float(), [0, 1, 0, 1])}, "expected the same in all splits"),
        ({"val": Split(IMAGES[:, :, :1, :1], [0, 1, 0, 1])}, "expected the same in all splits"),
        ({"mean": (0.5,), "std": (0.5,)}, "images have 3 channels, mean and std have 1"),
    ],
)
def test_what_cannot_be_data_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        data_of(**changes)


def test_flags_and_negative_indices_choose_samples() -> None:
    split = Split(IMAGES, [0, 1, 0, 1])
    for indices in (torch.tensor([True, False, False, True]), [True, False, False, True], [0, 3], [-4, -1]):
        chosen = split.subset(indices)
        assert chosen.sample_ids == ("0", "3")
        assert torch.equal(chosen.inputs, IMAGES[[0, 3]])  # type: ignore[arg-type]
    for index in (4, -5):
        with pytest.raises(DataError, match=rf"index {index} is out of range; with 4 samples it must be in 0\.\.3"):
            split.subset([0, index])
