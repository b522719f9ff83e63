"""Representations and predictions that a user has computed, in place of inputs and a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from prusc.config import RuntimeConfig
from prusc.data.arrays import NumberedIds
from prusc.data.batches import choose_inputs
from prusc.data.feature_files import read_columns
from prusc.data.parts import Part, read_values
from prusc.data.rows import StoredRows, find_not_finite, map_array
from prusc.data.splits import SPLIT_WORDS
from prusc.data.table import SPLIT_NAMES, Data
from prusc.errors import DataError, nearest_names

ATTRIBUTE_PREFIX = "attribute/"
DEFAULT_LIMIT_GIB = RuntimeConfig().representation_gib
_NAMES = {
    "representations": ("representations", "embeddings", "features"),
    "labels": ("labels", "label", "y"),
    "logits": ("logits",),
    "predictions": ("predictions", "prediction"),
    "split": ("split", "splits"),
    "ids": ("ids", "id", "sample_ids", "sample_id"),
    "class_names": ("class_names", "classes"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """Representations, labels and predictions of a classifier of anything: images, text, sound, tables.

    Attributes:
        data: The samples; their inputs are the representations.
        logits: Logits by split. If predictions were given, the logit of the predicted class is 1, the others 0.
        has_logits: Whether logits were given.
    """

    data: Data
    logits: dict[str, Float[Tensor, "samples classes"]]
    has_logits: bool

    def __repr__(self) -> str:
        right = (self.logits["val"].argmax(dim=1) == self.data.val.labels).double().mean().item()
        return f"Features({self.data!r}, accuracy {100 * right:.1f} % on validation)"

    @classmethod
    def from_arrays(
        cls,
        representations: Any,
        labels: Any,
        *,
        logits: Any = None,
        predictions: Any = None,
        split: Any = None,
        attributes: Mapping[str, Any] | None = None,
        ids: Any = None,
        class_names: Sequence[str] | None = None,
        name: str = "features",
        seed: int = 0,
        memory_limit_gib: float = DEFAULT_LIMIT_GIB,
    ) -> "Features":
        """Check arrays with one entry per sample.

        Args:
            representations: What enters the last layer, [N, D]. An array that NumPy has mapped from a file (``.npy``,
                16 to 64 bits) stays there if it exceeds the limit.
            labels: Class of each sample, as a number from 0 or a name.
            logits: Outputs of the classifier, [N, classes]; log-probabilities do too.
            predictions: Predicted class of each sample, in place of logits.
            split: ``train``, ``val`` or ``test`` for each sample, or another usual name. ``None`` takes a fifth of each
                class for validation, and a fifth for the test.
            attributes: Known attributes by name, for evaluation only.
            ids: A unique name for each sample; ``None`` numbers them.
            class_names: One per class, in the order of the logits.
            name: Name of the data in reports.
            seed: Seed of the splits that are made.
            memory_limit_gib: Size in GiB, in 32 bits, up to which mapped representations are read into memory.

        Raises:
            DataError: If shapes, classes or splits do not fit, or a number is not finite.

        Example:
            >>> import torch, prusc
            >>> values, labels = torch.randn(50, 8), torch.arange(50) % 2
            >>> prusc.Features.from_arrays(values, labels, predictions=labels)
            Features(Data('features': 30 train, 10 val, 10 test samples of 2 classes), accuracy 100.0 % on validation)
        """
        if (logits is None) == (predictions is None):
            found = "neither" if logits is None else "both"
            raise DataError(f"found {found} of logits and predictions; expected one of them, from your classifier")
        values = _read_rows(representations, memory_limit_gib)
        own = read_values(labels, "labels")
        scores = None if logits is None else _read_matrix(logits, "logits")
        chosen = None if predictions is None else read_values(predictions, "predictions")
        names: Sequence[str] = NumberedIds(torch.arange(len(own)))
        if ids is not None:
            names = tuple(str(item) for item in np.asarray(ids))
        columns = {
            key: read_values(column, f"the values of attribute {key!r}") for key, column in (attributes or {}).items()
        }
        counts = {"representations": len(values), "labels": len(own), "ids": len(names)}
        counts |= {"logits": len(own) if scores is None else len(scores)}
        counts |= {"predictions": len(own) if chosen is None else len(chosen)}
        counts |= {key: len(column) for key, column in columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"features need one entry per sample everywhere; found {counts}")
        if ids is not None and len(set(names)) < len(names):
            twice = next(item for item in names if names.count(item) > 1)
            raise DataError(f"the id {twice!r} occurs more than once; expected a unique id for each sample")
        if class_names is None and scores is not None and own.dtype != object:
            class_names = tuple(map(str, range(scores.shape[1])))
        if scores is not None and own.dtype != object and int(own.max()) >= scores.shape[1]:
            raise DataError(
                f"the logits have {scores.shape[1]} columns, and a label is {int(own.max())}; expected one per class"
            )
        # Rows stand in for the inputs until the splits are made.
        whole = Part(torch.arange(len(own))[:, None], own, names, columns)
        data = Data.from_parts(_divide(whole, split), name, class_names, seed=seed, origin={"layout": "features"})
        if scores is None:
            assert chosen is not None
            scores = _one_hot(chosen, data.class_names)
        if scores.shape[1] != data.num_classes:
            raise DataError(
                f"the logits have {scores.shape[1]} columns, the labels {data.num_classes} classes "
                f"({', '.join(data.class_names[:10])}); expected one column per class: give class_names of all columns"
            )
        rows = {key: part.inputs[:, 0] for key, part in data.splits.items()}
        splits = {key: replace(part, inputs=choose_inputs(values, rows[key])) for key, part in data.splits.items()}
        data = replace(data, train=splits["train"], val=splits["val"], test=splits["test"])
        return cls(data, {key: scores[row] for key, row in rows.items()}, logits is not None)


def read_features(path: Path, *, memory_limit_gib: float = DEFAULT_LIMIT_GIB) -> Features:
    """Read features from an NPZ or Parquet file, or from a folder of ``.npy`` files.

    Args:
        path: File with ``representations``, ``labels``, and ``logits`` or ``predictions``; and, if known, ``split``,
            ``ids``, ``class_names`` (not Parquet) and attributes, called ``attribute/NAME``. A folder has one
            ``.npy`` file for each, and its representations need not fit into memory.
        memory_limit_gib: See `Features.from_arrays`.

    Raises:
        ConfigError: If the file does not exist or is of another kind.
        DataError: If it cannot be read, or its content does not fit.
    """
    columns = read_columns(path)
    known = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
    marked = [key for key in columns if key.startswith(ATTRIBUTE_PREFIX)]
    attributes = {key.removeprefix(ATTRIBUTE_PREFIX): columns[key] for key in marked}
    unknown = [key for key in columns if key not in known and key not in marked]
    if unknown:
        raise DataError(
            f"feature file {path} has {unknown[0]!r}{nearest_names(unknown[0], known)}; expected "
            f"{', '.join(_NAMES)}; call an attribute {ATTRIBUTE_PREFIX}{unknown[0]}"
        )
    found: dict[str, Any] = {}
    for key, column in columns.items():
        if key in known and known[key] in found:
            raise DataError(f"feature file {path} has {known[key]} under two names; expected it once")
        if key in known:
            found[known[key]] = column
    missing = [name for name in ("representations", "labels") if name not in found]
    if missing:
        raise DataError(f"feature file {path} has no {missing[0]}; it has {', '.join(columns) or 'nothing'}")
    if "class_names" in found:
        found["class_names"] = tuple(map(str, found["class_names"]))
    try:
        return Features.from_arrays(**found, attributes=attributes, name=path.stem, memory_limit_gib=memory_limit_gib)
    except DataError as error:
        raise DataError(f"feature file {path}: {error}") from error


def _read_rows(values: Any, memory_limit_gib: float) -> Float[Tensor, "samples dim"] | StoredRows:
    stored = map_array(values) if isinstance(values, np.ndarray) else None
    if stored is None or 4 * stored.table.size <= memory_limit_gib * 2**30:
        return _read_matrix(values, "representations")
    _refuse_not_finite(stored, "representations")
    return stored


def _read_matrix(values: Any, what: str) -> Float[Tensor, "samples dim"]:
    try:
        given = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=np.float32)
        matrix = torch.from_numpy(np.ascontiguousarray(given, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DataError(f"the {what} are no numbers ({error}); expected one row of equal length per sample") from error
    if matrix.ndim != 2 or not matrix.numel():
        raise DataError(f"the {what} have the shape {list(matrix.shape)}; expected [samples, numbers]")
    _refuse_not_finite(matrix, what)
    return matrix


def _refuse_not_finite(rows: Float[Tensor, "samples dim"] | StoredRows, what: str) -> None:
    bad = find_not_finite(rows)
    if bool(bad.any()):
        raise DataError(
            f"the {what} of {int(bad.sum())} samples are not finite, the first is row {int(bad.nonzero()[0, 0])}; "
            "expected finite numbers"
        )


def _one_hot(predictions: NDArray[Any], class_names: Sequence[str]) -> Float[Tensor, "samples classes"]:
    if predictions.dtype == object:
        numbers = {name: number for number, name in enumerate(class_names)}
        unknown = next((value for value in predictions.tolist() if value not in numbers), None)
        ids = torch.tensor([numbers.get(value, 0) for value in predictions.tolist()])
    else:
        ids = torch.from_numpy(predictions)
        bad = ids[(ids < 0) | (ids >= len(class_names))]
        unknown = int(bad[0]) if len(bad) else None
    if unknown is not None:
        raise DataError(f"the prediction {unknown!r} is no class of the labels; they have {', '.join(class_names)}")
    return torch.zeros(len(ids), len(class_names)).scatter_(1, ids[:, None], 1.0)


def _divide(whole: Part, split: Any) -> dict[str, Part | None]:
    """Return the part of each split."""
    if split is None:
        return {"train": whole, "val": None, "test": None}
    distinct, places = np.unique(np.asarray(split), return_inverse=True)
    words = [str(word).lower() for word in distinct.astype(str)]
    if len(places) != len(whole):
        raise DataError(f"split has {len(places)} entries for {len(whole)} samples; expected one per sample")
    unknown = next((word for word in words if word not in SPLIT_WORDS), None)
    if unknown is not None:
        raise DataError(f"split {unknown!r} is unknown; expected one of {', '.join(SPLIT_WORDS)}")
    numbers = np.array([SPLIT_WORDS[word] for word in words], dtype=np.int8)[places]
    found = {name: np.flatnonzero(numbers == number) for number, name in enumerate(SPLIT_NAMES)}
    if not len(found["train"]):
        raise DataError("split names no training samples; expected some")
    return {name: whole.take(rows) if len(rows) else None for name, rows in found.items()}
