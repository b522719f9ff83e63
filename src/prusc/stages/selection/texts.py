"""The rule of the choice in words, for metrics.json and reports."""

from prusc.stages.pseudo_attributes.clustering import Clustering

_CELLS = (
    "cells: highest of the lowest smoothed accuracies over the cells (class x cluster) of the validation split, the "
    "cells of a class put together in two by whether they conflict with their cluster; a subnetwork before the whole "
    "network within the tolerance"
)
_CLASSES = "classes: the plainest network within the tolerance of the highest mean accuracy over its classes"
_SELECTION_RULES = {
    "pseudo-groups": (
        f"{_CLASSES}; {_CELLS}; the classes judge first where a new head serves them better, else the cells, if the "
        "clusters stand apart; the other is asked if nothing better than the original is found"
    ),
    "class-accuracy": _CLASSES,
    "validation-groups": "groups: highest of the lowest smoothed accuracies over the groups of the validation split",
}

# The other remedies hand back one of their settings, whatever comes of it; settings are in no order of plainness.
_BEST_OF_CLASSES = "classes: the setting of the highest mean accuracy over the classes of the validation split"
_SETTING_RULES = {
    "pseudo-groups": (
        f"{_BEST_OF_CLASSES}, if that is better than the original; else cells, if theirs is better: highest of the "
        "lowest smoothed accuracies over the cells (class x cluster), put together in two for each class; else classes"
    ),
    "class-accuracy": _BEST_OF_CLASSES,
    "validation-groups": _SELECTION_RULES["validation-groups"],
}
_UNTRAINED = (
    "; the clusters are those of the untrained network, so the cells are asked first: a cell's accuracy is smoothed "
    "towards what its cluster's effect on the other classes lets expect, and counts less the tolerance"
)
_WHOLE_FIRST = "; within the tolerance of each other the whole network then comes before a subnetwork"
_HELD_OUT = "; heads are fitted on validation samples, each of which judges by what heads fitted without it say"


def describe_selection(
    rule: str, clustering: Clustering, *, of_settings: bool = False, held_out_heads: bool = False
) -> str:
    """Say what chooses among the candidates of PruSC, or among the settings of another remedy.

    Args:
        rule: `SelectionConfig.rule`.
        clustering: Clusters of the untrained network judge in another way.
        of_settings: Which of the two.
        held_out_heads: Whether heads are fitted on the validation split.
    """
    text = (_SETTING_RULES if of_settings else _SELECTION_RULES)[rule]
    if rule == "pseudo-groups" and clustering.untrained:
        text += _UNTRAINED + ("" if of_settings else _WHOLE_FIRST)
    return text + (_HELD_OUT if held_out_heads else "")
