"""Descriptions of the selection rules, for metrics.json and reports."""

from prusc.stages.pseudo_attributes.clustering import Clustering

_CELLS = (
    "cells: the highest worst-case smoothed accuracy over the cells (class x cluster) of the validation split, where "
    "the cells of each class are merged to two, those that conflict with their cluster and the others; within the "
    "tolerance a subnetwork is preferred to the whole network"
)
_CLASSES = "classes: the plainest network within the tolerance of the highest mean accuracy over the classes"
_SELECTION_RULES = {
    "pseudo-groups": (
        f"{_CLASSES}; {_CELLS}; the classes judge first if a new head is better for them than the ERM network, "
        "otherwise the cells judge first, unless their structure is weak; the second judge decides if the first finds "
        "nothing better than the ERM network"
    ),
    "class-accuracy": _CLASSES,
    "validation-groups": "groups: the highest worst-case smoothed accuracy over the groups of the validation split",
}

# Other remedies always return one of their settings, and settings have no order of plainness.
_BEST_OF_CLASSES = "classes: the setting of the highest mean accuracy over the classes of the validation split"
_SETTING_RULES = {
    "pseudo-groups": (
        f"{_BEST_OF_CLASSES}, if that is better than the ERM network; otherwise cells, if their choice is better: the "
        "highest worst-case smoothed accuracy over the cells (class x cluster), merged to two per class; otherwise "
        "classes"
    ),
    "class-accuracy": _BEST_OF_CLASSES,
    "validation-groups": _SELECTION_RULES["validation-groups"],
}
_UNTRAINED = (
    "; the clusters come from the untrained network, so the cells judge first: a cell's accuracy is smoothed towards "
    "the accuracy expected from how its cluster shifts the logits of other classes, and the tolerance is subtracted"
)
_WHOLE_FIRST = "; within the tolerance the whole network is then preferred to a subnetwork"
_HELD_OUT = "; heads are fitted on validation samples and scored by k-fold cross-validation"


def describe_selection(
    rule: str, clustering: Clustering, *, of_settings: bool = False, held_out_heads: bool = False
) -> str:
    """Describe how a candidate of PruSC, or a setting of another remedy, is chosen.

    Args:
        rule: `SelectionConfig.rule`.
        clustering: The clustering; cells of the untrained network have their own judge.
        of_settings: Whether settings of another remedy are chosen among.
        held_out_heads: Whether heads are fitted on the validation split.
    """
    text = (_SETTING_RULES if of_settings else _SELECTION_RULES)[rule]
    if rule == "pseudo-groups" and clustering.untrained:
        text += _UNTRAINED + ("" if of_settings else _WHOLE_FIRST)
    return text + (_HELD_OUT if held_out_heads else "")
