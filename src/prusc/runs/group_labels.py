"""What read group labels, that is, known attributes: a list for the run folder, and the same in words."""

from collections.abc import Sequence

from prusc.config import RunConfig

_WHAT = {
    "training": "the remedy, on the training and the validation split",
    "validation": "the remedy, on the validation split",
    "selection": "the selection",
    "functions": "the functions",
    "agreements": "the agreement of the pseudo-attribute with each of them",
    "evaluation": "the evaluation",
    "names": "the names of suspects",
}
# These come after every choice.
_AFTERWARDS = ("agreements", "evaluation", "names")


def list_group_uses(config: RunConfig, *, has_attributes: bool, names_suspects: bool = False) -> list[str]:
    """Return what reads group labels in a run, besides the uses that a remedy declares.

    Args:
        config: Settings of the run.
        has_attributes: Whether the data have known attributes; without any there are no group labels.
        names_suspects: Whether suspects are named, by known attributes among other things.
    """
    if not has_attributes:
        return []
    selection = ["selection"] if config.selection.rule == "validation-groups" else []
    return [*selection, "evaluation", *(["names"] if names_suspects else [])]


def describe_group_uses(uses: Sequence[str]) -> str:
    """Return in a sentence what read group labels."""
    if not uses:
        return "The data have no known attributes, so no group labels were used."
    told = [_WHAT.get(use, use) for use in uses]
    comma = "," if any("," in one for one in told) else ""
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])}{comma} and {told[-1]}"
    no_choice = "; no choice depends on them" if set(uses) <= set(_AFTERWARDS) else ""
    return f"Group labels (the known attributes) were read by {listed} only{no_choice}."
