"""Files of features: NPZ, Parquet, or a folder of arrays that are mapped into memory and never read as a whole."""

from pathlib import Path
from typing import Any

import numpy as np

from prusc.errors import ConfigError, DataError


def read_columns(path: Path) -> dict[str, Any]:
    """Read the columns of a feature file by name; those of a folder are mapped.

    Args:
        path: A ``.npz`` or ``.parquet`` file, a folder with one ``.npy`` file per column, or one of these files. In a
            folder, the column ``attribute/NAME`` is the file ``attribute/NAME.npy``.

    Raises:
        ConfigError: If it does not exist or is of another kind.
        DataError: If it cannot be read.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise ConfigError(f"feature file {path} does not exist or is not a file")
    kind = path.suffix.lower()
    if kind == ".npy":
        return _read_folder(path.parent)
    if kind not in (".npz", ".parquet"):
        raise ConfigError(
            f"feature file {path} ends in {path.suffix!r}; expected .npz or .parquet, or a folder of .npy files"
        )
    return _read_npz(path) if kind == ".npz" else _read_parquet(path)


def _read_folder(folder: Path) -> dict[str, Any]:
    files = [*sorted(folder.glob("*.npy")), *sorted(folder.glob("attribute/*.npy"))]
    if not files:
        raise DataError(f"folder {folder} holds no .npy file; expected representations.npy, labels.npy and so on")
    columns = {}
    for file in files:
        try:
            columns[file.relative_to(folder).with_suffix("").as_posix()] = np.load(
                file, mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"feature file {file} cannot be read ({_first_line(error)}); expected what numpy.save writes, without "
                "Python objects"
            ) from error
    return columns


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # zipfile and NumPy raise many kinds of errors for a damaged file.
        raise DataError(
            f"feature file {path} cannot be read ({_first_line(error)}); expected what numpy.savez writes, without "
            "Python objects"
        ) from error


def _read_parquet(path: Path) -> dict[str, Any]:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise ConfigError(
            f"{path} is a Parquet file, but the package pyarrow is not installed: pip install prusc[parquet]"
        ) from error
    except Exception as error:  # pyarrow raises many kinds of errors for a damaged file.
        raise DataError(
            f"feature file {path} cannot be read ({_first_line(error)}); expected a Parquet file"
        ) from error
    # A cell of a column of vectors is an array.
    return {str(name): table[name].tolist() for name in table.columns}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
