"""What a run gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from prusc.config import RunConfig
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


@dataclass(frozen=True, eq=False)
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
