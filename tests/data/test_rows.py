"""Rows on disk are what rows in memory are, and only what is read is in memory."""

import mmap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import prusc.data.rows
from prusc.data.batches import choose_inputs, iterate_batches, take_inputs
from prusc.data.rows import (
    RowWriter,
    StoredRows,
    block_length,
    find_not_finite,
    iterate_blocks,
    map_array,
    map_blocks,
    measure_columns,
)
from prusc.errors import DataError
from tests.networks import generator


def stored(values: Tensor, **options: object) -> StoredRows:
    writer = RowWriter(*values.shape, **options)  # type: ignore[arg-type]
    for start in range(0, len(values), 7):
        writer.write(start, values[start : start + 7])
    return writer.finish()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prusc.data.rows, "BLOCK_VALUES", 30)


VALUES = torch.randn(40, 5, generator=generator())


@pytest.mark.usefixtures("small_blocks")
def test_every_way_to_read_gives_the_rows() -> None:
    rows = stored(VALUES)
    assert (len(rows), rows.shape, rows.nbytes) == (40, (40, 5), 800)
    some, flags = torch.tensor([7, 7, 39, 0, -1]), torch.arange(40) % 3 == 0
    for asked in (slice(None), slice(3, 33), slice(5, 30, 4), slice(38, 99), some, flags, 12):
        assert torch.equal(rows[asked], VALUES[asked])
    chosen = rows.choose(torch.tensor([30, 2, 2, 17]))
    assert torch.equal(chosen[:], VALUES[[30, 2, 2, 17]])
    assert torch.equal(chosen[torch.tensor([True, False, False, True])], VALUES[[30, 17]])
    assert torch.equal(rows.choose(flags).choose(slice(1, 5))[:], VALUES[flags][1:5])
    assert "40 x 5 in 32 bits" in repr(rows)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_the_same_in_memory_and_on_disk() -> None:
    rows = stored(VALUES)
    assert block_length(rows) == block_length(VALUES) == 6
    pairs = list(zip(iterate_blocks(rows), iterate_blocks(VALUES), strict=True))
    assert len(pairs) == 7
    for (here, block), (there, expected) in pairs:
        assert here == there
        assert torch.equal(block, expected)
    assert torch.equal(map_blocks(lambda block: block.sum(dim=1), rows), VALUES.sum(dim=1))
    assert len(map_blocks(lambda block: block.sum(dim=1), rows.choose(slice(0, 0)))) == 0


def test_as_inputs_of_a_split_they_are_read_batch_by_batch() -> None:
    rows, order = stored(VALUES), torch.tensor([5, 1, 1, 20])
    assert torch.equal(torch.cat(list(iterate_batches(rows, order, batch_size=3))), VALUES[order])
    assert torch.equal(take_inputs(rows, order), VALUES[order])  # type: ignore[arg-type]
    chosen = choose_inputs(rows, order)
    assert isinstance(chosen, StoredRows)
    assert torch.equal(chosen[:], VALUES[order])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_array_that_numpy_has_mapped_stays_in_its_file(tmp_path: Path, dtype: type[np.floating]) -> None:
    values = VALUES.numpy().astype(dtype)
    np.save(tmp_path / "v.npy", values)
    whole = np.load(tmp_path / "v.npy", mmap_mode="r")
    for array, expected in ((whole, values), (whole[3:20], values[3:20]), (whole[10:][5:], values[15:])):
        rows = map_array(array)
        assert rows is not None
        assert torch.equal(rows[:], torch.from_numpy(expected).float())
    for other in (values, whole[:, :3], whole[::2], whole[0], np.asfortranarray(values)):
        assert map_array(other) is None


def test_a_temporary_file_leaves_nothing(tmp_path: Path) -> None:
    rows = stored(VALUES, folder=tmp_path / "new")
    assert torch.equal(rows[:], VALUES)
    assert not list((tmp_path / "new").iterdir())


def test_what_was_read_is_no_longer_in_memory() -> None:
    if not hasattr(mmap.mmap, "madvise"):
        pytest.skip("this system decides by itself")
    rows = stored(torch.randn(60_000, 256))  # 59 MiB

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[2])
        return pages * mmap.PAGESIZE / 2**20

    before = resident()
    total = sum(float(block.sum()) for _, block in iterate_blocks(rows))
    rows[torch.arange(0, 60_000, 7)]
    assert np.isfinite(total)
    # Pages of files alone; what tests next to this one map is little.
    assert resident() - before < 20


def test_16_bits_round_and_refuse_what_they_cannot_hold() -> None:
    rows = stored(VALUES, bits=16)
    assert torch.equal(rows[:], VALUES.half().float())
    assert not torch.equal(rows[:], VALUES)
    with pytest.raises(DataError, match="holds the number 1e\\+06, and 16 bits reach 65504"):
        stored(torch.tensor([[1.0, 1e6]]), bits=16)
    # What is no number already is for others to refuse.
    assert stored(torch.tensor([[float("inf"), 1.0]]), bits=16)[0][0].isinf()


def test_a_full_disk_is_an_error_and_nothing_dies() -> None:
    with pytest.raises(DataError, match=r"cannot be stored in .*runtime\.scratch"):
        RowWriter(2**40, 2**10)


@pytest.mark.usefixtures("small_blocks")
def test_rows_that_are_not_finite_are_found() -> None:
    values = VALUES.clone()
    values[3, 2], values[17, 0] = float("nan"), float("-inf")
    values[20] = torch.finfo(torch.float32).max  # the sum leaves the range, the numbers do not
    expected = torch.zeros(40, dtype=torch.bool)
    expected[[3, 17]] = True
    assert torch.equal(find_not_finite(values), expected)
    assert torch.equal(find_not_finite(stored(values)), expected)


@pytest.mark.usefixtures("small_blocks")
def test_mean_and_deviation_of_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    values = VALUES * 3 + 100
    expected = values.double().mean(dim=0), values.double().std(dim=0, unbiased=False)
    for held in (2**26, 10):
        monkeypatch.setattr(prusc.data.rows, "HELD_VALUES", held)
        for rows in (values, stored(values)):
            for found, wanted in zip(measure_columns(rows), expected, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
