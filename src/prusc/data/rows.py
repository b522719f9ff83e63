"""Rows of numbers, such as representations, in memory or on disk, and the way through them block by block."""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from prusc.errors import DataError

# 16 MiB in 32 bits: larger blocks leave the cache, and the memory of each is asked for anew.
BLOCK_VALUES = 2**22
# Up to so many numbers (256 MiB) are computed with as a whole where that is faster, more of them block by block. The
# same in memory and on disk, so that results do not depend on where rows lie.
HELD_VALUES = 2**26

Bits: TypeAlias = Literal[16, 32]
# Linux brings 64 KiB around each row into memory.
_ROWS_AT_ONCE = 1024
_TYPES: dict[int, np.dtype[Any]] = {16: np.dtype(np.float16), 32: np.dtype(np.float32)}


@dataclass(frozen=True, eq=False, repr=False)
class StoredRows(Dataset[Tensor]):
    """Rows of numbers in a memory-mapped file, or some of them. Only what is read is in memory, in 32 bits.

    Attributes:
        table: The mapped numbers of all rows of the file, [rows of the file, dim], of 16, 32 or 64 bits.
        mapping: Their file.
        indices: The rows of the file in the order of these rows; all in the order of the file if ``None``.
    """

    table: NDArray[Any]
    mapping: mmap.mmap
    indices: Int[Tensor, " rows"] | None = None

    def __repr__(self) -> str:
        return f"StoredRows({len(self)} x {self.shape[1]} in {8 * self.table.dtype.itemsize} bits)"

    def __len__(self) -> int:
        return len(self.table) if self.indices is None else len(self.indices)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of numbers per row."""
        return len(self), self.table.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers on disk."""
        return len(self) * self.shape[1] * int(self.table.dtype.itemsize)

    def __getitem__(self, rows: int | slice | Tensor) -> Tensor:
        """Read a row [dim] or several [rows, dim]: positions, a slice, or a flag for each row."""
        if isinstance(rows, int):
            return self[torch.tensor([rows])][0]
        if isinstance(rows, slice) and self.indices is None:
            start, stop, step = rows.indices(len(self))
            return self._release(torch.from_numpy(np.array(self.table[start:stop:step])).float())
        positions = self._find(rows).numpy()
        found = torch.empty(len(positions), self.shape[1])
        # Each row brings its neighbours in the file into memory too, until they are released.
        size = min(block_length(self), _ROWS_AT_ONCE)
        for start in range(0, len(positions), size):
            part = np.take(self.table, positions[start : start + size], axis=0)
            found[start : start + size] = torch.from_numpy(part)
            self._release(found)
        return found

    def choose(self, rows: slice | Tensor) -> "StoredRows":
        """Return some of the rows, without reading them."""
        return StoredRows(self.table, self.mapping, self._find(rows))

    def _find(self, rows: slice | Tensor) -> Int[Tensor, " chosen"]:
        """Return the places in the file."""
        if self.indices is not None:
            return self.indices[rows]
        if isinstance(rows, slice):
            return torch.arange(*rows.indices(len(self)))
        return rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows % max(len(self), 1)

    def _release(self, found: Tensor) -> Tensor:
        """Give the pages that were read back to the system, which may keep them in its cache."""
        if hasattr(self.mapping, "madvise"):  # Windows decides by itself.
            self.mapping.madvise(mmap.MADV_DONTNEED)
        return found


Rows: TypeAlias = Tensor | StoredRows
"""Rows in memory, a tensor [rows, dim] of 32 bits, or on disk."""


class RowWriter:
    """Writes rows into a temporary file, which is gone as soon as nobody has its rows any more.

    Args:
        num_rows: Number of rows.
        dim: Numbers per row.
        bits: Bits of a number in the file.
        folder: Folder of the file; the system's folder for temporary files if ``None``.

    Raises:
        DataError: If the file cannot be made as large as this.
    """

    def __init__(self, num_rows: int, dim: int, *, bits: Bits = 32, folder: Path | None = None) -> None:
        self._where = Path(tempfile.gettempdir() if folder is None else folder)
        size = max(num_rows * dim * _TYPES[bits].itemsize, 1)
        try:
            self._where.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._where) as file:
                _reserve(file.fileno(), size)
                self._mapping = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise DataError(
                f"representations of {size / 2**30:.1f} GiB cannot be stored in {self._where} "
                f"({error.strerror or error}); free some space, name another folder with runtime.scratch, or store "
                "them in 16 bits with runtime.representation_bits"
            ) from error
        self._table = np.frombuffer(self._mapping, _TYPES[bits], num_rows * dim).reshape(num_rows, dim)

    def write(self, start: int, rows: Float[Tensor, "rows dim"]) -> None:
        """Write consecutive rows.

        Args:
            start: Position of the first one.
            rows: On the CPU.

        Raises:
            DataError: If a finite number is too large for 16 bits.
        """
        with np.errstate(over="ignore"):
            found = rows.numpy().astype(self._table.dtype, copy=False)
        if found.dtype == np.float16 and bool((np.isinf(found) & np.isfinite(rows.numpy())).any()):
            raise DataError(
                f"a representation holds the number {rows.abs().max().item():g}, and 16 bits reach 65504; store "
                "representations in 32 bits (runtime.representation_bits)"
            )
        self._table[start : start + len(rows)] = found
        if hasattr(self._mapping, "madvise"):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def finish(self) -> StoredRows:
        """Return the rows; nothing may be written any more."""
        self._table.flags.writeable = False
        return StoredRows(self._table, self._mapping)


def _reserve(file: int, size: int) -> None:
    """Make a file this large. Without its space, a full disk would kill the process while it writes to the mapping."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def map_array(array: NDArray[Any]) -> StoredRows | None:
    """Return the rows of an array that NumPy has mapped, [rows, dim]; ``None`` for any other array.

    Args:
        array: Of floating-point numbers in the order of rows, as ``numpy.load(path, mmap_mode="r")`` returns it.
    """
    name = getattr(array, "filename", None)
    native = array.dtype.kind == "f" and array.dtype.isnative and array.dtype.itemsize in (2, 4, 8)
    if not isinstance(array, np.memmap) or name is None or not (native and array.ndim == 2 and array.size):
        return None
    if not array.flags.c_contiguous:
        return None
    whole: np.memmap[Any, Any] = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    offset = whole.offset + array.ctypes.data - whole.ctypes.data
    # A mapping of its own, whose pages can be given back without a loss of what somebody has changed.
    with Path(name).open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    table = np.frombuffer(mapping, array.dtype, array.size, offset).reshape(array.shape)
    return StoredRows(table, mapping)


def block_length(rows: Rows) -> int:
    """Return the number of rows in a block; the same in memory and on disk, so that sums are the same too."""
    return max(1, BLOCK_VALUES // max(rows.shape[1], 1))


def iterate_blocks(rows: Rows) -> Iterator[tuple[slice, Float[Tensor, "block dim"]]]:
    """Yield the rows block by block: the positions of a block, and its rows in memory."""
    size = block_length(rows)
    for start in range(0, len(rows), size):
        here = slice(start, min(start + size, len(rows)))
        yield here, rows[here]


def map_blocks(function: Callable[[Tensor], Tensor], rows: Rows) -> Tensor:
    """Return the results of a function of rows for all blocks, one after the other."""
    if len(rows) <= block_length(rows):
        return function(rows[:])
    found: Tensor | None = None
    for here, block in iterate_blocks(rows):
        result = function(block)
        # One tensor for all: many small ones between large blocks would keep the memory of these from being used again.
        found = result.new_empty(len(rows), *result.shape[1:]) if found is None else found
        found[here] = result
    assert found is not None, "more rows than a block"
    return found


def measure_columns(rows: Rows) -> tuple[Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Return the mean and the standard deviation of each column, in 64 bits."""
    if len(rows) * rows.shape[1] <= HELD_VALUES:
        values = rows[:].double()
        return values.mean(dim=0), values.std(dim=0, unbiased=False)
    mean = torch.stack([block.double().sum(dim=0) for _, block in iterate_blocks(rows)]).sum(dim=0) / len(rows)
    squares = torch.zeros_like(mean)
    for _, block in iterate_blocks(rows):
        squares += (block.double() - mean).square().sum(dim=0)
    return mean, (squares / len(rows)).sqrt()


def find_not_finite(rows: Rows) -> Bool[Tensor, " rows"]:
    """Return which rows hold a number that is not finite."""
    return map_blocks(_is_not_finite, rows)


def _is_not_finite(block: Tensor) -> Tensor:
    # A sum is finite only if all its terms are, and it is ten times as fast as a look at each of them.
    suspects = ~block.sum(dim=1).isfinite()
    if bool(suspects.any()):
        suspects[suspects.clone()] = (~block[suspects].isfinite()).any(dim=1)
    return suspects
