"""What is said of each validation sample: how sure the networks are, and which kind of error they make."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prusc.runs.samples.exhibit import FAMILY_OF, Exhibit
from prusc.stages.audit.label_issues import LabelCheck, check_labels
from prusc.stages.cells import Cells
from prusc.stages.representations import Representations


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What is said of each validation sample.

    Attributes:
        confidence: Probability of the predicted class by family of networks, [samples].
        checked: Kinds of the errors of the ERM network; ``None`` if there are too few samples to tell.
        errors: Indices of the samples that a network gets wrong, the most confident errors first.
    """

    confidence: Mapping[str, Tensor]
    checked: LabelCheck | None
    errors: tuple[int, ...]


def judge_samples(
    exhibit: Exhibit, values: Tensor, seen: Mapping[str, Representations], *, generator: torch.Generator
) -> Verdicts:
    """Return how sure the networks are of each validation sample, and which kind of error they make.

    Args:
        exhibit: The predictions, and the suspects.
        values: Cluster of each validation sample, or another value of the pseudo-attribute.
        seen: Representations and logits of the whole split by network, ``before`` and perhaps ``after``.
        generator: Decides the folds of the balanced heads.
    """
    labels = exhibit.data.val.labels
    logits = {FAMILY_OF[name]: found.logits for name, found in seen.items()} | dict(exhibit.logits)
    probabilities = {family: found.double().softmax(dim=1) for family, found in logits.items()}
    confidence, worst = {}, torch.full((len(labels),), -1.0, dtype=torch.float64)
    for family, found in probabilities.items():
        predicted = exhibit.predictions[family]["val"]
        confidence[family] = found.gather(1, predicted[:, None])[:, 0]
        worst = torch.where(predicted != labels, torch.maximum(worst, confidence[family]), worst)
    checked = check_labels(
        seen["before"].values,
        probabilities[FAMILY_OF["before"]],
        Cells(labels, values, num_classes=exhibit.data.num_classes),
        [(cluster.cluster, cluster.main_label) for cluster in exhibit.clusters if cluster.is_suspect],
        generator=generator,
    )
    order = worst.argsort(descending=True, stable=True)
    return Verdicts(confidence, checked, tuple(order[worst[order] >= 0].tolist()))
