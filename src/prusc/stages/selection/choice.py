"""Choose among what was tried, and say whether the choice is better than the original."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from prusc.stages.candidates import DENSE_FAMILIES, Candidate, Setting
from prusc.stages.selection.judges import (
    CellAccuracy,
    PseudoGroups,
    SelectionScore,
    Verdict,
    explain_no_gain,
    is_better,
    measure_cells,
)


@dataclass(frozen=True, eq=False)
class Choice:
    """The best of each family: ``erm``, the controls, and ``subnetwork``, which is what is handed back.

    Attributes:
        candidates: The chosen one of each family; of ``subnetwork`` the original if nothing was gained.
        networks: The same as networks.
        predictions: Theirs for the validation and the test split; see `Candidate.val_predictions`.
        verdict: Whether anything was gained.
        judged_by: Who decided: ``cells``, ``classes`` or ``groups``.
        scores: What that judge thinks of every candidate, by name.
        cells: Accuracy of the original and of what is handed back, on the validation samples that judge.
    """

    candidates: Mapping[str, Candidate]
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    verdict: Verdict
    judged_by: str
    scores: Mapping[str, SelectionScore]
    cells: tuple[CellAccuracy, ...]


def choose_networks(
    model: nn.Module, setting: Setting, dense: Sequence[Candidate], masked: Sequence[Candidate]
) -> Choice:
    """Choose by the first judge that finds something better than the original; if none does, by the first one.

    A judge looks at everything first, then at the heads of the whole network alone.

    Args:
        model: The original network.
        setting: What every candidate was judged on.
        dense: Candidates without a mask, the original first.
        masked: Those with one.

    Returns:
        The choice; without controls only that of ``erm`` and ``subnetwork``.
    """
    erm = dense[0]
    families = {name: [c for c in dense if c.kind == kind] for kind, name in DENSE_FAMILIES.items()}
    # The plainest first: what needed no training before what did.
    heads = families["last_layer"]
    tried = [*heads, *sorted(masked, key=lambda candidate: candidate.kind == "weights")]
    families["subnetwork"] = tried
    if not setting.config.controls:
        families = {name: families[name] for name in ("erm", "subnetwork")}
    # Cells may prefer a mask that is as good as a new head and no better than the original: then the heads are left.
    attempts = [(judge, members) for judge in setting.judges for members in (tried, heads) if members]
    found = next((attempt for attempt in attempts if _is_better(erm, tried, setting, *attempt)), None)
    judge = setting.judges[0]
    verdict: Verdict = "improved"
    if found is not None:
        judge, families["subnetwork"] = found
    else:
        verdict = explain_no_gain(erm.val_predictions[setting.judged], setting.judged_labels, pseudo_groups=judge)
    best = {name: setting.choose(members, judge) for name, members in families.items() if members}
    if verdict != "improved":
        best["subnetwork"] = erm
    networks = {name: candidate.restore(model) for name, candidate in best.items()}
    predictions = {
        name: {
            "val": best[name].val_predictions,
            "test": setting.represent(network, setting.data.test).predictions,
        }
        for name, network in networks.items()
    }
    cells = measure_cells(
        before=predictions["erm"]["val"][setting.judged],
        after=predictions["subnetwork"]["val"][setting.judged],
        labels=setting.judged_labels,
        cluster_ids=setting.judged_cluster_ids,
    )
    return Choice(
        candidates=best,
        networks=networks,
        predictions=predictions,
        verdict=verdict,
        judged_by=judge.kind,
        scores={c.name: setting.score(c, judge) for c in (*dense, *masked)},
        cells=cells,
    )


def order_judges(setting: Setting, dense: Sequence[Candidate]) -> Setting:
    """Let the classes judge first where a new head of the whole network serves them better than the original.

    Then the original's threshold is wrong for the classes, as an imbalance makes it, and the network knows more than it
    uses. Else whatever serves the classes as well as the original does so by the same shortcut: the cells must judge.
    And so they must where the clusters are of a network that had yet to learn the classes, and no mirror of what it
    learned.

    Args:
        setting: Its cells judge first, if there are any.
        dense: Candidates without a mask, the original first.
    """
    heads = [candidate for candidate in dense if candidate.kind == "head"]
    cells, *classes = setting.judges
    if heads and classes and not setting.untrained_clusters and _is_better(dense[0], heads, setting, classes[0]):
        return replace(setting, judges=(*classes, cells))
    return setting


def _is_better(
    erm: Candidate,
    tried: Sequence[Candidate],
    setting: Setting,
    judge: PseudoGroups,
    members: Sequence[Candidate] | None = None,
) -> bool:
    """Whether what a judge chooses, among some members of what was tried or among all, is better than the original."""
    return is_better(
        before=setting.answers(erm),
        tried=[setting.answers(candidate) for candidate in tried],
        chosen=tried.index(setting.choose(tried if members is None else members, judge)),
        labels=setting.judged_labels,
        judge=judge,
        config=setting.config.selection,
    )
