import threading
import time
from collections.abc import Iterator

import pytest
import torch

from prusc.engine.prefetch import move_ahead, run_ahead
from tests.networks import random_images

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_batches", [0, 1, 2, 5])
def test_batches_arrive_unchanged_and_in_order(num_batches: int, device: str) -> None:
    batches = [random_images(3, 8, seed=seed) for seed in range(num_batches)]
    found = list(move_ahead(iter(batches), torch.device(device), channels_last=True))
    assert len(found) == num_batches
    for moved, expected in zip(found, batches, strict=True):
        assert moved.device.type == device
        assert moved.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(moved.cpu(), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_mappings_arrive_with_their_names(device: str) -> None:
    batches = [{"tokens": torch.arange(4) + step, "length": torch.tensor(step)} for step in range(3)]
    found = list(move_ahead(batches, torch.device(device)))
    assert [one["length"].item() for one in found] == [0, 1, 2]
    assert [one["tokens"].tolist() for one in found] == [one["tokens"].tolist() for one in batches]


@pytest.mark.parametrize("device", DEVICES)
def test_at_most_one_batch_is_taken_early_and_an_error_comes_through(device: str) -> None:
    taken = 0

    def source() -> object:
        nonlocal taken
        for step in range(3):
            taken += 1
            yield torch.full((2,), step)
        raise ValueError("no more")

    batches = move_ahead(source(), torch.device(device))  # type: ignore[arg-type]
    assert next(batches).tolist() == [0, 0]
    assert taken <= 2
    with pytest.raises(ValueError, match="no more"):
        list(batches)


def count_up(made: list[int], num: int, *, fail: bool = False) -> Iterator[int]:
    for step in range(num):
        made.append(step)
        yield step
    if fail:
        raise ValueError("no more")


CPU = torch.device("cpu")


def test_items_are_made_ahead_in_a_thread_and_keep_their_order() -> None:
    made: list[int] = []
    threads = threading.active_count()
    with run_ahead(count_up(made, 20), CPU, num_ahead=3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 30
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        # One is used, three wait, and one waits for a place.
        assert made == [0, 1, 2, 3, 4]
        assert list(items) == list(range(1, 20))
    assert threading.active_count() == threads


def test_an_error_comes_after_the_items_before_it() -> None:
    taken = []

    def take_all() -> None:
        with run_ahead(count_up([], 3, fail=True), CPU) as items:
            while True:
                taken.append(next(items))

    with pytest.raises(ValueError, match="no more"):
        take_all()
    assert taken == [0, 1, 2]


def test_leaving_early_ends_the_thread() -> None:
    made: list[int] = []
    threads = threading.active_count()
    with run_ahead(count_up(made, 1000), CPU) as items:
        next(items)
    assert threading.active_count() == threads
    assert len(made) < 10
