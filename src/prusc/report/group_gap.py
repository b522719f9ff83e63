"""What the groups of known attributes say beside a verdict that reads no group labels."""

from prusc.report.text import group_name, interval, percent
from prusc.stages.evaluation import GroupEvaluation


def describe_group_gap(evaluation: GroupEvaluation) -> str:
    """Say how far the worst and the best group are apart, if their 95 % intervals do not meet.

    Args:
        evaluation: Of the ERM network.

    Returns:
        A sentence; empty without known attributes, or if the difference may be chance.
    """
    groups = [group for group in evaluation.groups if group.accuracy is not None and group.ci95 is not None]
    if not groups or not groups[0].attributes:
        return ""
    ordered = sorted(groups, key=lambda group: group.accuracy or 0.0)
    worst, best = ordered[0], ordered[-1]
    assert worst.ci95 is not None
    assert best.ci95 is not None
    if worst.ci95[1] >= best.ci95[0]:
        return ""
    low, high = (
        f"{percent(group.accuracy)} [{interval(group.ci95)}] in the group {group_name(group)}"
        for group in (worst, best)
    )
    return f"The verdict reads no group labels. By the known attributes, accuracy is {low} and {high}."
