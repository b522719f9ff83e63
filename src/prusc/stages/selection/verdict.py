"""The verdict of a run: whether a better network was found; if not, whether the ERM network fails anywhere."""

from collections.abc import Sequence
from typing import Literal

from prusc.stages.evidence import clear_evidence
from prusc.stages.pseudo_attributes.attribute import Evidence

Verdict = Literal["improved", "unproven", "nothing-better", "no-evidence", "within-budget"]

VERDICT_TEXTS: dict[Verdict, str] = {
    "improved": (
        "on held-out predictions for the validation split the chosen network is better than the ERM network; the "
        "result is the chosen network"
    ),
    "unproven": (
        "held-out predictions for the validation split do not prove that the chosen network is better than the ERM "
        "network; the result is the chosen network all the same, and erm.safetensors holds the ERM network"
    ),
    "nothing-better": (
        "the ERM network fails on a part of the validation split, but no candidate is better beyond chance; the result "
        "is the ERM network, and candidates.csv lists what was tried"
    ),
    "no-evidence": (
        "nothing in the validation split shows that the ERM network relies on a shortcut: its mistakes follow neither "
        "the pseudo-attribute nor the classes; a shortcut that these data do not contradict may remain; the result is "
        "the ERM network"
    ),
    "within-budget": (
        "no network within masks.budget_flops is better than the ERM network on held-out predictions for the "
        "validation split; the result is the best network within the budget"
    ),
}


def describe_doubt(verdict: str, before: float, after: float) -> str:
    """Say that the test split does not confirm a verdict, which rests on the validation split.

    Args:
        verdict: Of the run.
        before: Worst-group accuracy of the ERM network on the test split.
        after: That of the chosen network.

    Returns:
        A sentence; empty if the test split says nothing against the verdict.
    """
    if verdict != "improved" or after > before:
        return ""
    return "The test split does not confirm it: the worst group did not improve there."


def name_verdict(
    *,
    is_better: bool,
    is_replaced: bool,
    evidence: Sequence[Evidence],
    has_suspect: bool,
    groups_differ: bool,
    significance: float = 0.05,
    has_budget: bool = False,
) -> Verdict:
    """Name the verdict.

    Args:
        is_better: Whether a candidate is significantly better than the ERM network.
        is_replaced: Whether a candidate is the result.
        evidence: Evidence for each source of the pseudo-attribute; they share the significance level.
        has_suspect: Whether the audit marks a value of the pseudo-attribute as suspect.
        groups_differ: Whether the accuracies of the ERM network in the pseudo-groups differ by more than chance.
        significance: Level of the tests.
        has_budget: Whether the best network within a budget is the result in any case.
    """
    if is_better:
        return "improved"
    if has_budget:
        return "within-budget"
    if is_replaced:
        return "unproven"
    follows = clear_evidence(evidence, significance)
    return "nothing-better" if follows or has_suspect or groups_differ else "no-evidence"
