"""Stage 9: choose among the candidates, and decide whether the choice is better than the ERM network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from prusc.stages.candidates import DENSE_FAMILIES, Candidate, CandidateContext
from prusc.stages.selection.judge import Judge
from prusc.stages.selection.scores import CellAccuracy, SelectionScore, measure_cells


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen candidate of each family: ``erm``, the controls, and ``subnetwork``, the chosen network.

    Attributes:
        candidates: By family; ``subnetwork`` holds the ERM network if no candidate replaces it.
        networks: Their networks, by family.
        predictions: Their predictions on the validation and test splits; see `Candidate.val_logits`.
        best: Of the candidates that are better than the ERM network, the one with the highest score; if there is none,
            of all.
        p_value: Its p-value; see `Judge.p_values`.
        is_better: Whether it is significantly better.
        judged_by: Kind of the judge: ``cells``, ``classes`` or ``groups``.
        scores: Scores of all candidates, by name.
        cells: Accuracy of the ERM network and of the chosen network per cell, on the validation samples that judge.
    """

    candidates: Mapping[str, Candidate]
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    best: Candidate
    p_value: float
    is_better: bool
    judged_by: str
    scores: Mapping[str, SelectionScore]
    cells: tuple[CellAccuracy, ...]


def choose_networks(
    context: CandidateContext, judge: Judge, dense: Sequence[Candidate], masked: Sequence[Candidate]
) -> Choice:
    """Choose a candidate, and decide whether it replaces the ERM network; see `Judge.decide`.

    With a budget of operations, only candidates with a mask are considered, which are within it, and the best of them
    is chosen in any case.

    Args:
        context: What the candidates were made from; it makes the networks of the chosen ones.
        judge: Scores the candidates.
        dense: Candidates without a mask, the ERM network first.
        masked: Candidates with a mask.

    Returns:
        The choice; without controls only the families ``erm`` and ``subnetwork``.
    """
    erm = dense[0]
    families: dict[str, Sequence[Candidate]] = {
        name: [c for c in dense if c.kind == kind] for kind, name in DENSE_FAMILIES.items()
    }
    has_budget = context.config.masks.budget_flops is not None
    tried = list(masked) if has_budget else [*dense[1:], *masked]
    decision = judge.decide(erm, tried)
    is_taken = decision.replaces or has_budget or not context.config.may_keep_erm
    families["subnetwork"] = [decision.best if is_taken else erm]
    if not context.config.controls:
        families = {name: families[name] for name in ("erm", "subnetwork")}
    chosen = {name: judge.choose(own) for name, own in families.items() if own}
    networks = {name: context.make_again(candidate) for name, candidate in chosen.items()}
    predictions = {
        name: {
            "val": chosen[name].val_predictions,
            "test": context.represent_candidate(chosen[name], network, "test").predictions,
        }
        for name, network in networks.items()
    }
    return Choice(
        candidates=chosen,
        networks=networks,
        predictions=predictions,
        best=decision.best,
        p_value=decision.p_value,
        is_better=decision.is_better,
        judged_by=judge.kind,
        scores={c.name: judge.score(c) for c in (*dense, *masked)},
        cells=measure_cells(
            predictions["erm"]["val"][judge.indices], predictions["subnetwork"]["val"][judge.indices], judge.cells
        ),
    )
