"""Descriptions of the selection rule, for metrics.json and reports."""

_GROUPS = {
    "pseudo-groups": "the sides of each class (samples that conflict with the pseudo-attribute, and the others)",
    "class-accuracy": "the classes",
    "validation-groups": "the true groups",
}


def describe_selection(rule: str, *, held_out_heads: bool = False) -> str:
    """Describe how a candidate of PruSC, or a setting of another remedy, is chosen.

    Args:
        rule: `SelectionConfig.rule`.
        held_out_heads: Whether heads are fitted on the validation split.
    """
    text = (
        "of all that a permutation test finds better than the ERM network, that with the highest mean of two "
        "accuracies on the validation split: that over the pseudo-groups, and that of the worst one; the pseudo-groups "
        f"are {_GROUPS[rule]}"
    )
    if rule == "pseudo-groups":
        text += (
            "; if none is better, and the ERM network follows the pseudo-attribute where that conflicts with the "
            "class, that of all with the highest such mean, which is then unproven"
        )
    return text + ("; heads are fitted on validation samples and scored by k-fold cross-validation" * held_out_heads)
