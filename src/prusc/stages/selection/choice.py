"""Stage 9: choose among the candidates, and decide whether the choice is better than the ERM network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from prusc.stages.candidates import DENSE_FAMILIES, Candidate, CandidateContext
from prusc.stages.selection.judges import Judge, Judged, Verdict
from prusc.stages.selection.scores import CellAccuracy, SelectionScore, measure_cells

JudgedT = TypeVar("JudgedT", bound=Judged)


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen candidate of each family: ``erm``, the controls, and ``subnetwork``, the chosen network.

    Attributes:
        candidates: By family; ``subnetwork`` holds the ERM network if no candidate is better and there is no budget.
        networks: Their networks, by family.
        predictions: Their predictions on the validation and test splits; see `Candidate.val_logits`.
        verdict: Whether a candidate is better than the ERM network; if not, why.
        judged_by: Kind of the judge that decided: ``cells``, ``classes`` or ``groups``.
        scores: Scores of all candidates by that judge, by name.
        cells: Accuracy of the ERM network and of the chosen network per cell, on the validation samples that judge.
    """

    candidates: Mapping[str, Candidate]
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    verdict: Verdict
    judged_by: str
    scores: Mapping[str, SelectionScore]
    cells: tuple[CellAccuracy, ...]


def order_judges(judges: Sequence[Judge], dense: Sequence[Candidate]) -> tuple[Judge, ...]:
    """Let the classes judge first if a new head of the whole network is better for them than the ERM network.

    Then the decision boundary of the ERM network is wrong for the classes, for example because they are imbalanced. Its
    representations hold more than it uses. Otherwise a candidate that equals the ERM network on the classes uses
    the same shortcut, so the cells must judge.

    Args:
        judges: The cells first, if they judge.
        dense: Candidates without a mask, the ERM network first.

    Returns:
        The judges in the order in which they are asked.
    """
    heads = [candidate for candidate in dense if candidate.kind == "head"]
    first, *others = judges
    if heads and others and not first.is_always_first:
        classes = others[0]
        if classes.is_better(dense[0], classes.choose(heads), heads):
            return (*others, first)
    return tuple(judges)


def choose_networks(
    context: CandidateContext, judges: Sequence[Judge], dense: Sequence[Candidate], masked: Sequence[Candidate]
) -> Choice:
    """Choose by the first judge that finds a candidate better than the ERM network; if none does, by the first judge.

    Each judge considers all candidates, then only the heads of the whole network. With a budget of operations only
    candidates with a mask are considered, which are within it, and the best of them is chosen in any case.

    Args:
        context: What the candidates were made from; it makes the networks of the chosen ones.
        judges: In the order in which they are asked.
        dense: Candidates without a mask, the ERM network first.
        masked: Candidates with a mask.

    Returns:
        The choice; without controls only the families ``erm`` and ``subnetwork``.
    """
    erm = dense[0]
    families: dict[str, Sequence[Candidate]] = {
        name: [c for c in dense if c.kind == kind] for kind, name in DENSE_FAMILIES.items()
    }
    # The plainest first: candidates without training before those with training.
    heads = families["last_layer"]
    tried = [*heads, *sorted(masked, key=lambda candidate: candidate.kind == "weights")]
    has_budget = context.config.masks.budget_flops is not None
    if has_budget:
        heads, tried = (), tried[len(heads) :]
    families["subnetwork"] = tried
    if not context.config.controls:
        families = {name: families[name] for name in ("erm", "subnetwork")}
    judge, members, verdict = _find_better(erm, tried, heads, judges)
    families["subnetwork"] = members
    best = {name: judge.choose(own) for name, own in families.items() if own}
    if verdict != "improved" and has_budget:
        verdict = "within-budget"
    elif verdict != "improved":
        best["subnetwork"] = erm
    networks = {name: context.make_again(candidate) for name, candidate in best.items()}
    predictions = {
        name: {
            "val": best[name].val_predictions,
            "test": context.represent(network, context.test).predictions,
        }
        for name, network in networks.items()
    }
    judged = judge.indices
    return Choice(
        candidates=best,
        networks=networks,
        predictions=predictions,
        verdict=verdict,
        judged_by=judge.kind,
        scores={c.name: judge.score(c) for c in (*dense, *masked)},
        cells=measure_cells(predictions["erm"]["val"][judged], predictions["subnetwork"]["val"][judged], judge.cells),
    )


def _find_better(
    erm: Candidate, tried: Sequence[Candidate], heads: Sequence[Candidate], judges: Sequence[Judge]
) -> tuple[Judge, Sequence[Candidate], Verdict]:
    """Return the judge that decides, the candidates it decides among, and the verdict."""
    for judge in judges:
        # Cells may prefer a mask that ties with a new head but is no better than ERM; then try the heads alone.
        for members in (tried, heads):
            if members and judge.is_better(erm, judge.choose(members), tried):
                return judge, members, "improved"
    return judges[0], tried, judges[0].explain_no_gain(erm)


def choose_setting(judges: Sequence[Judge], before: Judged, tried: Sequence[JudgedT]) -> tuple[Judge, JudgedT]:
    """Choose among the settings of a remedy, by the first judge whose choice is better than the ERM network.

    If there is none, the classes choose. A gain in the cells that may be chance must not cost average accuracy.

    Args:
        judges: The cells before the classes.
        before: The ERM network.
        tried: The settings of the remedy, in no order of plainness. Of equal ones the first is chosen, which is the
            published one.

    Returns:
        The judge that chose, and the chosen setting.
    """
    ordered = judges if judges[0].is_always_first else judges[::-1]
    for judge in ordered:
        chosen = judge.choose(tried, by_plainness=False)
        if judge.is_better(before, chosen, tried):
            return judge, chosen
    judge = next((judge for judge in ordered if judge.kind == "classes"), ordered[0])
    return judge, judge.choose(tried, by_plainness=False)
