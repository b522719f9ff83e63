"""Candidates whose accuracy in every cell is known, for judges."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.config import SelectionConfig
from prusc.stages.cells import Cells
from prusc.stages.pseudo_attributes.attribute import AttributeValues, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.selection.judges import ClassJudge, Judge
from prusc.stages.selection.scores import number_groups, pair_cells
from tests.networks import generator


@dataclass(frozen=True, eq=False)
class Answers:
    """A candidate that is nothing but its logits."""

    val_logits: Tensor
    base_name: str = "dense"


def predicting(predictions: Tensor, base_name: str = "dense") -> Answers:
    """A candidate with these predictions."""
    return Answers(F.one_hot(predictions, max(2, int(predictions.max()) + 1)).float(), base_name)


def cells_of(sizes: list[list[int]]) -> Cells:
    """Cells of these sizes [class][cluster], in mixed order."""
    labels = torch.cat([torch.full((sum(row),), label) for label, row in enumerate(sizes)])
    cluster_ids = torch.cat([torch.full((size,), cluster) for row in sizes for cluster, size in enumerate(row)])
    order = torch.randperm(len(labels), generator=generator(0))
    return Cells(labels[order], cluster_ids[order])


def answer(cells: Cells, accuracy: list[list[float]]) -> Answers:
    """A candidate that is right for just this share of each cell [class][cluster]."""
    predictions = cells.labels.clone()
    for label, row in enumerate(accuracy):
        for cluster, share in enumerate(row):
            inside = ((cells.labels == label) & (cells.attribute_ids == cluster)).nonzero()[:, 0]
            wrong = inside[round(share * len(inside)) :]
            predictions[wrong] = 1 if label == 0 else 0
    return predicting(predictions)


def judge_by(kind: type[Judge], cells: Cells, config: SelectionConfig | None = None) -> Judge:
    """Return a judge of all samples."""
    groups = number_groups(cells.labels) if kind is ClassJudge else pair_cells(cells)
    return kind(torch.arange(len(cells)), cells, groups, config or SelectionConfig())


def attribute_of(cells: Cells, structure: str) -> PseudoAttribute:
    """A pseudo-attribute with these values in both splits."""
    ids, zeros = cells.attribute_ids, torch.zeros(len(cells))
    clustering = Clustering(ids, torch.eye(cells.num_values), (), structure, zeros)  # type: ignore[arg-type]
    values = AttributeValues(ids, zeros, zeros)
    return PseudoAttribute(clustering, {"train": values, "val": values})
