import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from prusc.data.batches import _check_indices, iterate_batches, take_inputs
from prusc.data.images import ImageFiles
from prusc.errors import ConfigError, DataError

WORKERS = pytest.mark.parametrize("num_workers", [0, 2])


class Numbers(Dataset[Any]):
    """Item i holds the number i; ``special`` items are something else, or raise it."""

    def __init__(self, num_items: int = 20, special: dict[int, Any] | None = None) -> None:
        self.num_items = num_items
        self.special = special or {}

    def __len__(self) -> int:
        return self.num_items

    def __getitem__(self, index: int) -> Any:
        item = self.special.get(index, torch.full((2, 3), float(index)))
        if isinstance(item, Exception):
            raise item
        return item


class SlowAtFirst(Numbers):
    """Early items take longest, so that the second worker is done before the first."""

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.1 if index < 4 else 0)
        return super().__getitem__(index)


class Interrupted(Numbers):
    """Sends its loader process what Ctrl-C sends to every process of a terminal."""

    def __getitem__(self, index: int) -> Any:
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(index)


class Texts(Dataset[Any]):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"tokens": torch.tensor([index, index + 1]), "mask": torch.ones(2)}


def tensor_inputs(num_samples: int = 20) -> Tensor:
    return torch.arange(num_samples, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()


def numbers(batches: Any) -> list[list[int]]:
    return [batch.flatten(1)[:, 0].long().tolist() for batch in batches]


@pytest.mark.parametrize(
    "indices", [[3, 1, 19, 0, 4, 4, 7], [5, 6, 7, 8, 9, 10, 11], [11, 10, 9, 8], [0, 2, 4, 6], [7], list(range(20))]
)
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batches_are_consecutive_slices_of_the_indices(indices: list[int], batch_size: int) -> None:
    expected = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    for inputs in (tensor_inputs(), Numbers()):
        assert numbers(iterate_batches(inputs, torch.tensor(indices), batch_size=batch_size)) == expected


def test_workers_keep_the_order() -> None:
    indices = torch.tensor([0, 1, 2, 3, 19, 18, 5, 5, 6])
    batches = iterate_batches(SlowAtFirst(), indices, batch_size=2, num_workers=2)
    assert numbers(batches) == [[0, 1], [2, 3], [19, 18], [5, 5], [6]]


def test_tensors_keep_their_type_and_content() -> None:
    inputs = torch.randint(0, 256, (20, 3, 4, 4), dtype=torch.uint8)
    for indices in (torch.arange(20), torch.randperm(20)):
        batches = list(iterate_batches(inputs, indices, batch_size=6))
        assert all(batch.dtype == torch.uint8 for batch in batches)
        assert torch.equal(torch.cat(batches), inputs[indices])


def test_a_contiguous_range_is_not_copied() -> None:
    inputs = tensor_inputs()
    batches = list(iterate_batches(inputs, torch.arange(4, 16), batch_size=5))
    assert [batch.data_ptr() - inputs.data_ptr() for batch in batches] == [4 * 48, 9 * 48, 14 * 48]


@pytest.mark.parametrize("inputs", [tensor_inputs(), Numbers()], ids=["tensor", "data set"])
def test_no_indices_give_no_batches(inputs: Any) -> None:
    assert list(iterate_batches(inputs, torch.tensor([], dtype=torch.long), batch_size=4)) == []


@WORKERS
def test_mappings_are_stacked_by_name(num_workers: int) -> None:
    batches = list(iterate_batches(Texts(), torch.tensor([5, 0, 3]), batch_size=2, num_workers=num_workers))
    assert [batch["tokens"].tolist() for batch in batches] == [[[5, 6], [0, 1]], [[3, 4]]]
    assert batches[0]["mask"].shape == (2, 2)


def test_one_batch_can_be_taken() -> None:
    indices = torch.tensor([9, 2, 2])
    for inputs in (tensor_inputs(), Numbers()):
        assert numbers([take_inputs(inputs, indices)]) == [[9, 2, 2]]
    assert take_inputs(Texts(), indices[1:])["tokens"].tolist() == [[2, 3], [2, 3]]


def test_a_taken_batch_is_a_copy() -> None:
    inputs = tensor_inputs()
    take_inputs(inputs, torch.arange(20)).zero_()
    assert torch.equal(inputs, tensor_inputs())


@WORKERS
def test_the_global_random_states_stay(num_workers: int) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(iterate_batches(Numbers(), torch.arange(6), batch_size=2, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@WORKERS
def test_an_error_of_an_item_keeps_its_type_and_its_message(num_workers: int) -> None:
    dataset = Numbers(special={7: DataError("item 7 is bad; mend it")})
    batches = iterate_batches(dataset, torch.arange(20), batch_size=4, num_workers=num_workers)
    assert numbers([next(batches)]) == [[0, 1, 2, 3]]
    with pytest.raises(DataError) as caught:
        list(batches)
    assert str(caught.value) == "item 7 is bad; mend it"


def test_ctrl_c_is_left_to_the_process_that_began_the_loaders() -> None:
    batches = iterate_batches(Interrupted(), torch.arange(6), batch_size=3, num_workers=2)
    assert numbers(batches) == [[0, 1, 2], [3, 4, 5]]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@WORKERS
def test_a_truncated_image_is_named(tmp_path: Path, num_workers: int) -> None:
    paths = [tmp_path / f"{index}.jpg" for index in range(6)]
    for path in paths:
        Image.effect_noise((64, 64), 50).save(path)
    paths[4].write_bytes(paths[4].read_bytes()[:-500])
    batches = iterate_batches(ImageFiles(tuple(paths), 16), torch.arange(6), batch_size=2, num_workers=num_workers)
    with pytest.raises(DataError, match=r"^image .*4\.jpg is damaged or truncated"):
        list(batches)


def test_an_error_of_an_item_comes_out_of_take_inputs_too() -> None:
    with pytest.raises(DataError, match=r"^bad$"):
        take_inputs(Numbers(special={7: DataError("bad")}), torch.tensor([1, 7]))


@WORKERS
@pytest.mark.parametrize(
    ("special", "message"),
    [
        (torch.zeros(3, 3), r"do not go together .*found \(2, 3\), \(3, 3\)"),
        ({"tokens": torch.zeros(2)}, "do not go together"),
        (Image.new("L", (2, 2)), "do not go together"),
    ],
)
def test_items_that_do_not_go_together_are_refused(special: Any, message: str, num_workers: int) -> None:
    batches = iterate_batches(Numbers(special={1: special}), torch.arange(4), batch_size=2, num_workers=num_workers)
    with pytest.raises(DataError, match=message):
        list(batches)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.zeros(2), 1), "is a tuple of 2; .*without the label"),
        ("text", "is a str; expected a tensor"),
        (Image.new("L", (2, 2)), "found Image"),
    ],
)
def test_items_that_are_no_inputs_are_refused(item: Any, message: str) -> None:
    dataset = Numbers(special={0: item, 1: item})
    with pytest.raises(DataError, match=message):
        take_inputs(dataset, torch.tensor([0, 1]))
    with pytest.raises(DataError, match=message):
        next(iterate_batches(dataset, torch.tensor([0, 1]), batch_size=2))


@pytest.mark.parametrize("inputs", [tensor_inputs(), Numbers()], ids=["tensor", "data set"])
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([-2, -1], r"index -2 is out of range; .* 0\.\.19"),
        ([18, 19, 20], r"index 20 is out of range; with 20 samples"),
    ],
)
def test_wrong_indices_are_refused_at_the_call(inputs: Any, indices: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        iterate_batches(inputs, torch.tensor(indices), batch_size=2)
    with pytest.raises(DataError, match=message):
        take_inputs(inputs, torch.tensor(indices))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0.5], r"indices are torch\.float32"),
        ([True, False], r"indices are torch\.bool"),
        ([[0, 1]], r"of shape \(1, 2\)"),
    ],
)
def test_indices_that_are_none_are_refused(indices: list[Any], message: str) -> None:
    # The shape checker of the tests refuses these before prusc does, so the check is called by itself.
    with pytest.raises(DataError, match=message):
        _check_indices(Numbers(), torch.tensor(indices))


def test_settings_out_of_range_are_refused_at_the_call() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        iterate_batches(tensor_inputs(), torch.arange(4), batch_size=0)
    with pytest.raises(ConfigError, match="num_workers is -1"):
        iterate_batches(tensor_inputs(), torch.arange(4), batch_size=2, num_workers=-1)


def test_no_indices_are_no_batch_of_a_data_set() -> None:
    with pytest.raises(DataError, match="at least one index"):
        take_inputs(Numbers(), torch.tensor([], dtype=torch.long))
