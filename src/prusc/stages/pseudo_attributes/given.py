"""A given pseudo-attribute: cluster ids from a CSV file."""

from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.data.rows import StoredRows, iterate_blocks
from prusc.errors import DataError
from prusc.losses.unit_rows import unit_rows
from prusc.stages.pseudo_attributes.clustering import Clustering, measure_margins


def given_clustering(
    representations: Float[Tensor, "samples dim"] | StoredRows, cluster_ids: Int[Tensor, " samples"]
) -> Clustering:
    """Make a clustering from given cluster ids; the centre of a cluster is its mean direction.

    Args:
        representations: One per sample, on any scale.
        cluster_ids: Cluster of each sample, at least 0; unused ids are removed by renumbering.

    Returns:
        The clustering, with the renumbered ids and the structure ``strong``.
    """
    distinct, closed = cluster_ids.unique(return_inverse=True)
    centres = torch.zeros(len(distinct), representations.shape[1])
    for here, block in iterate_blocks(representations):
        centres.index_add_(0, closed[here], unit_rows(block))
    centres = F.normalize(centres, dim=1)
    return Clustering(closed, centres, (), "strong", measure_margins(representations, closed, centres))


def read_cluster_csv(path: Path, labels: Tensor) -> Tensor:
    """Read the clusters of the training split from a CSV file with columns ``index``, ``label``, ``cluster_assign``.

    Args:
        path: One row per sample, in any order; rows whose column ``split`` is not ``train`` are ignored.
        labels: Class of each training sample, compared with the column ``label``.

    Returns:
        Cluster of each training sample.

    Raises:
        DataError: If the file cannot be read, or a column or row is missing, repeated or wrong.
    """
    try:
        # As text, so that an error message quotes a cell exactly.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cluster file {path} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    wanted = ["index", "label", "cluster_assign"]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise DataError(f"cluster file {path} lacks the columns {missing}; it has {list(table.columns)}")
    if "split" in table.columns:
        table = table[table["split"] == "train"]
    rows = table.index.to_numpy() + 2
    columns: dict[str, Tensor] = {}
    for name in wanted:
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = numbers.isna() | (numbers % 1 != 0) | (numbers < 0)
        if bad.any():
            first = int(bad.to_numpy().argmax())
            raise DataError(
                f"cluster file {path}, row {rows[first]}, column {name!r}: {table[name].iloc[first]!r} is not a "
                "whole number of at least 0"
            )
        columns[name] = torch.tensor(numbers.to_numpy(dtype="int64"))
    index, given = columns["index"], columns["label"]
    if not torch.equal(index.sort().values, torch.arange(len(labels))):
        raise DataError(
            f"cluster file {path} must name each of the {len(labels)} training samples once, as index 0 to "
            f"{len(labels) - 1}; it has {len(index)} rows, {len(index.unique())} different indices"
        )
    differing = given != labels[index]
    if bool(differing.any()):
        first = int(differing.nonzero()[0, 0])
        raise DataError(
            f"cluster file {path}, row {rows[first]}: label {int(given[first])} for sample {int(index[first])}, whose "
            f"class is {int(labels[index[first]])}; use a file made for these data"
        )
    cluster_ids = torch.empty(len(labels), dtype=torch.long)
    cluster_ids[index] = columns["cluster_assign"]
    return cluster_ids
