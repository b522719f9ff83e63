"""The verdict of a run: whether a better network was found; if not, whether the ERM network fails anywhere."""

from collections.abc import Sequence
from typing import Literal

from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.selection.choice import Choice
from prusc.stages.selection.judge import Judge

Verdict = Literal["improved", "nothing-better", "no-evidence"]

VERDICT_TEXTS: dict[Verdict, str] = {
    "improved": (
        "on held-out predictions for the validation split the chosen network is better than the ERM network; the "
        "result is the chosen network"
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
}


def name_verdict(choice: Choice, attribute: PseudoAttribute, suspects: Sequence[ClusterAudit], judge: Judge) -> Verdict:
    """Name the verdict.

    The ERM network fails on a part of the validation split if its mistakes follow the pseudo-attribute, if the audit
    has a suspect, or if its accuracies in two pseudo-groups differ by more than chance.

    Args:
        choice: What the judge chose.
        attribute: The pseudo-attribute with the evidence for it.
        suspects: The audit of its values.
        judge: Tells the pseudo-groups.
    """
    if choice.is_better:
        return "improved"
    level = judge.config.significance
    follows = any(one.p_value <= level / len(attribute.evidence) for one in attribute.evidence)
    has_suspect = any(cluster.is_suspect for cluster in suspects)
    differs = judge.groups_differ(choice.candidates["erm"])
    return "nothing-better" if follows or has_suspect or differs else "no-evidence"
