"""What a run gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Int
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.engine.display import describe_with_table
from prusc.masks import BinaryMask
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.candidates import Candidate
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.mask_learning import MaskHistoryEntry
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.selection.judges import Verdict
from prusc.stages.selection.scores import CellAccuracy, SelectionScore

# What tables call the networks of a run.
FAMILY_TITLES = {
    "erm": "ERM network",
    "last_layer": "control: last layer refitted",
    "finetune_all": "control: all weights fine-tuned",
    "subnetwork": "chosen network",
}

VERDICT_TEXTS: dict[Verdict, str] = {
    "improved": "the chosen network serves the worst cells (or classes) better; the result is that network",
    "no-shortcut": (
        "the original is better than guessing everywhere and nothing serves its worst cells better: it has no shortcut "
        "to lose, or one that these data never contradict; the result is the original network"
    ),
    "shortcut-only": (
        "the original does worse than guessing on some cells, and nothing serves them that does not cost as much "
        "elsewhere: it has learned little but the shortcut, or these data cannot show what helps; the result is the "
        "original network, and candidates.csv has what was tried"
    ),
}


@dataclass(frozen=True)
class CandidateSummary:
    """One network that was considered.

    Attributes:
        name: Where it comes from, such as ``mask@300/head(l2=0.01)``.
        family: ``erm``, ``last_layer``, ``finetune_all`` or ``subnetwork``.
        density: Share of the masked weights that it keeps.
        score: What the judge that decided thinks of it, on the validation split.
        score_error: Standard error of that.
        val_average_accuracy: On the validation split.
        test: Figures on the test split, if the run was asked to measure its own choice.
    """

    name: str
    family: str
    density: float
    score: float
    score_error: float
    val_average_accuracy: float
    test: GroupEvaluation | None = None


def summarise(
    candidates: Sequence[Candidate],
    scores: Mapping[str, SelectionScore],
    families: Mapping[str, str],
    val_labels: Int[Tensor, " val"],
) -> tuple[CandidateSummary, ...]:
    """Keep of each candidate what a table shows.

    Args:
        candidates: All those of a dense network, or of masked ones.
        scores: What the judge that decided thinks of each, by name.
        families: Family of each kind; kinds that are not in it are of the family ``subnetwork``.
        val_labels: Class of each validation sample.

    Returns:
        One summary a candidate.
    """
    return tuple(
        CandidateSummary(
            name=candidate.name,
            family=families.get(candidate.kind, "subnetwork"),
            density=candidate.mask.density,
            score=scores[candidate.name].score,
            score_error=scores[candidate.name].error,
            val_average_accuracy=(candidate.val_predictions == val_labels).double().mean().item(),
            test=candidate.test,
        )
        for candidate in candidates
    )


def tabulate_networks(
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]], titles: Mapping[str, str], chosen: Mapping[str, str]
) -> pd.DataFrame:
    """Return a row per network: its figures on the test split.

    Args:
        evaluations: Figures by network and split.
        titles: What to call each network.
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
    """A run from the given network to the chosen one.

    Attributes:
        model: The chosen network: an ordinary module of the given network's class, with its state-dict keys.
        erm: The given network.
        mask: Which weights the chosen network keeps; everything if it is not a subnetwork.
        verdict: Whether anything was gained.
        judged_by: Who decided: ``cells``, ``classes`` or ``groups`` of the validation split.
        chosen: Name of the chosen candidate of each family.
        candidates: Every network that was considered.
        evaluations: For ``erm``, ``subnetwork`` (the chosen network) and the controls, the figures by split.
        clustering: Clusters of the training split.
        class_names: Name of each label.
        cells: What the clusters show of the network before and after, on the validation samples that judged.
        clusters: Which of them are suspects of the original network, on the whole validation split; those first.
        history: How the mask came about.
        seconds: Wall time by stage, of the process that ran the stage.
        config: Every setting.
    """

    model: nn.Module
    erm: nn.Module
    mask: BinaryMask
    verdict: Verdict
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
        """Return a row per network (ERM, controls, chosen): its figures on the test split."""
        return tabulate_networks(self.evaluations, FAMILY_TITLES, self.chosen)
