"""Candidates whose accuracy in every cell is known, for the judge."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.config import SelectionConfig
from prusc.stages.cells import Cells
from prusc.stages.selection.judge import Judge, make_judge
from tests.networks import generator


@dataclass(frozen=True, eq=False)
class Answers:
    """A candidate that is nothing but its logits."""

    val_logits: Tensor


def predicting(predictions: Tensor) -> Answers:
    """A candidate with these predictions."""
    return Answers(F.one_hot(predictions, max(2, int(predictions.max()) + 1)).float())


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


def judge_of(cells: Cells, config: SelectionConfig | None = None) -> Judge:
    """A judge of all samples."""
    return make_judge(cells, config or SelectionConfig())
