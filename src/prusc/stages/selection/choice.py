"""Stage 9: choose among what was tried, and say whether the choice is better than the ERM network."""

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
    """The best of each family: ``erm``, the controls, and ``subnetwork``, which is what is handed back.

    Attributes:
        candidates: The chosen one of each family; of ``subnetwork`` the ERM network if nothing was gained.
        networks: The same as networks.
        predictions: Theirs for the validation and the test split; see `Candidate.val_logits`.
        verdict: Whether anything was gained.
        judged_by: Who decided: ``cells``, ``classes`` or ``groups``.
        scores: What that judge thinks of every candidate, by name.
        cells: Accuracy of the ERM network and of what is handed back, on the validation samples that judge.
    """

    candidates: Mapping[str, Candidate]
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    verdict: Verdict
    judged_by: str
    scores: Mapping[str, SelectionScore]
    cells: tuple[CellAccuracy, ...]


def order_judges(judges: Sequence[Judge], dense: Sequence[Candidate]) -> tuple[Judge, ...]:
    """Let the classes judge first where a new head of the whole network serves them better than the ERM network.

    Then the threshold of the ERM network is wrong for the classes, as an imbalance makes it, and the network knows more
    than it uses. Otherwise whatever serves the classes as well as the ERM network does so by the same shortcut, and the
    cells must judge.

    Args:
        judges: The cells first, if there are any.
        dense: Candidates without a mask, the ERM network first.
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
    """Choose by the first judge that finds something better than the ERM network; if none does, by the first one.

    A judge looks at everything first, then at the heads of the whole network alone.

    Args:
        context: What the candidates were made with; makes the chosen ones again.
        judges: In their order.
        dense: Candidates without a mask, the ERM network first.
        masked: Those with one.

    Returns:
        The choice; without controls only that of ``erm`` and ``subnetwork``.
    """
    erm = dense[0]
    families: dict[str, Sequence[Candidate]] = {
        name: [c for c in dense if c.kind == kind] for kind, name in DENSE_FAMILIES.items()
    }
    # The plainest first: what needed no training before what did.
    heads = families["last_layer"]
    tried = [*heads, *sorted(masked, key=lambda candidate: candidate.kind == "weights")]
    families["subnetwork"] = tried
    if not context.config.controls:
        families = {name: families[name] for name in ("erm", "subnetwork")}
    judge, members, verdict = _find_better(erm, tried, heads, judges)
    families["subnetwork"] = members
    best = {name: judge.choose(own) for name, own in families.items() if own}
    if verdict != "improved":
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
    """Return who decides, among which candidates, and the verdict."""
    for judge in judges:
        # Cells may prefer a mask that is as good as a new head and no better than ERM: then the heads are left.
        for members in (tried, heads):
            if members and judge.is_better(erm, judge.choose(members), tried):
                return judge, members, "improved"
    return judges[0], tried, judges[0].explain_no_gain(erm)


def choose_setting(judges: Sequence[Judge], before: Judged, tried: Sequence[JudgedT]) -> tuple[Judge, JudgedT]:
    """Choose among the settings of a remedy: by the first judge whose choice is better than the ERM network.

    If there is none, the classes choose: a gain in the cells that nobody can tell from chance must not be paid for with
    the accuracy of everybody.

    Args:
        judges: The cells before the classes.
        before: The ERM network.
        tried: The settings of the remedy. They are in no order of plainness; of equals the first, the published one, is
            chosen.

    Returns:
        Who chose, and what.
    """
    ordered = judges if judges[0].is_always_first else judges[::-1]
    for judge in ordered:
        chosen = judge.choose(tried, by_plainness=False)
        if judge.is_better(before, chosen, tried):
            return judge, chosen
    judge = next((judge for judge in ordered if judge.kind == "classes"), ordered[0])
    return judge, judge.choose(tried, by_plainness=False)
