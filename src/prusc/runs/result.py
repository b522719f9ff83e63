"""The result of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn

from prusc.config import RunConfig
from prusc.data.table import Data
from prusc.engine.display import describe_with_table
from prusc.masks import BinaryMask
from prusc.models.flops import NetworkFlops
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.candidates import Candidate
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups
from prusc.stages.mask_learning import MaskHistoryEntry
from prusc.stages.pseudo_attributes.attribute import Evidence
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.selection.scores import CellAccuracy, SelectionScore
from prusc.stages.selection.verdict import Verdict

# Titles of the networks in tables.
FAMILY_TITLES = {
    "erm": "ERM network",
    "last_layer": "control: last layer refitted",
    "finetune_all": "control: all weights fine-tuned",
    "subnetwork": "chosen network",
}


@dataclass(frozen=True)
class CandidateSummary:
    """One candidate network.

    Attributes:
        name: How it was made, such as ``mask@300/head(l2=0.01)``.
        family: ``erm``, ``last_layer``, ``finetune_all`` or ``subnetwork``.
        density: Share of the masked weights that it keeps.
        score: Score on the validation split; see `SelectionScore`.
        mean_accuracy: Mean accuracy over the pseudo-groups that judge.
        worst_accuracy: Accuracy of the worst of them.
        score_error: Standard error of the score.
        val_average_accuracy: Average accuracy on the validation split.
        flops: Share of the ERM network's floating-point operations that it needs without its pruned channels; ``None``
            if single weights are masked.
        test: Evaluation on the test split, if ``evaluate_candidates`` is set; it decides nothing.
        val: Evaluation on the validation split by its true groups, with `test`.
    """

    name: str
    family: str
    density: float
    score: float
    mean_accuracy: float
    worst_accuracy: float
    score_error: float
    val_average_accuracy: float
    flops: float | None = None
    test: GroupEvaluation | None = None
    val: GroupEvaluation | None = None


def summarise(
    candidates: Sequence[Candidate],
    scores: Mapping[str, SelectionScore],
    families: Mapping[str, str],
    data: Data,
    flops: NetworkFlops | None = None,
) -> tuple[CandidateSummary, ...]:
    """Summarise candidates for a table.

    Args:
        candidates: The candidates without a mask, or those with one.
        scores: Scores by name.
        families: Family of each kind; other kinds belong to the family ``subnetwork``.
        data: The data, with the true groups of candidates that are evaluated by them.
        flops: Operations of the ERM network, if channels are masked.

    Returns:
        One summary per candidate.
    """
    return tuple(
        CandidateSummary(
            name=candidate.name,
            family=families.get(candidate.kind, "subnetwork"),
            density=candidate.mask.density,
            score=scores[candidate.name].score,
            mean_accuracy=scores[candidate.name].mean,
            worst_accuracy=scores[candidate.name].worst,
            score_error=scores[candidate.name].error,
            val_average_accuracy=(candidate.val_predictions == data.val.labels).double().mean().item(),
            flops=None if flops is None else flops.share(candidate.mask),
            test=candidate.test,
            val=None if candidate.test is None else evaluate_groups(candidate.val_predictions, data.val, data),
        )
        for candidate in candidates
    )


def tabulate_networks(
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]], titles: Mapping[str, str], chosen: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row per network, with its accuracies on the test split.

    Args:
        evaluations: Evaluations by network and split.
        titles: Title of each network.
        chosen: Name of the chosen candidate or setting of each network.
    """
    rows = []
    for name, splits in evaluations.items():
        test = splits["test"]
        low, high = test.worst_group_ci95
        rows.append(
            {
                "network": titles.get(name, name),
                "average_accuracy": test.average_accuracy,
                "worst_group_accuracy": test.worst_group_accuracy,
                "ci95_low": low,
                "ci95_high": high,
                "candidate": chosen.get(name, ""),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False, repr=False)
class DebiasingResult:
    """Result of a run: the chosen network, its evaluations, and how it was chosen.

    Attributes:
        model: The chosen network, of the same class and with the same state-dict keys as the ERM network.
        erm: The ERM network: the trained network before anything.
        mask: The weights that the chosen network keeps; all of them if it is not a subnetwork.
        verdict: Whether the chosen network is better than the ERM network; if not, whether that one fails anywhere.
        p_value: Probability of such a gain on the validation split if no candidate differed from the ERM network.
        evidence: Evidence for each source of the pseudo-attribute that was compared, the one in use first.
        judged_by: Kind of the judge that decided: ``cells``, ``classes`` or ``groups`` of the validation split.
        chosen: Name of the chosen candidate of each family.
        candidates: All candidates.
        evaluations: Evaluations by family and split: ``erm``, ``subnetwork`` (the chosen network) and the controls.
        clustering: The clustering of the training split.
        class_names: Name of each class.
        cells: Accuracy per cell before and after, on the validation samples that judge.
        clusters: Audit of the clusters of the ERM network on the whole validation split, suspects first.
        history: History of mask learning.
        seconds: Wall time of each stage.
        config: All settings.
        flops: Share of the ERM network's floating-point operations that the chosen network needs without its pruned
            channels; ``None`` if single weights are masked.
    """

    model: nn.Module
    erm: nn.Module
    mask: BinaryMask
    verdict: Verdict
    p_value: float
    evidence: tuple[Evidence, ...]
    judged_by: str
    chosen: dict[str, str]
    candidates: tuple[CandidateSummary, ...]
    evaluations: dict[str, dict[str, GroupEvaluation]]
    clustering: Clustering
    class_names: tuple[str, ...]
    cells: tuple[CellAccuracy, ...]
    clusters: tuple[ClusterAudit, ...]
    history: tuple[MaskHistoryEntry, ...]
    seconds: dict[str, float]
    config: RunConfig
    flops: float | None = None

    def __repr__(self) -> str:
        before, after = (self.evaluations[name]["test"] for name in ("erm", "subnetwork"))
        return (
            f"DebiasingResult({self.verdict}: {self.chosen['subnetwork']}, worst group of the test split "
            f"{100 * before.worst_group_accuracy:.1f} -> {100 * after.worst_group_accuracy:.1f} %, average "
            f"{100 * before.average_accuracy:.1f} -> {100 * after.average_accuracy:.1f} %)"
        )

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """Return one row per network (ERM, controls, chosen), with its accuracies on the test split."""
        return tabulate_networks(self.evaluations, FAMILY_TITLES, self.chosen)
