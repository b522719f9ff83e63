"""Evaluations with the accuracies that a test gives them."""

from collections.abc import Mapping

from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation, wilson_interval


def evaluation(groups: Mapping[tuple[str, str], tuple[int, float | None]]) -> GroupEvaluation:
    """Make an evaluation from the number of samples and the accuracy of each group (class, place)."""
    found = tuple(
        GroupAccuracy(
            label,
            {"place": place},
            num_samples,
            accuracy,
            None if accuracy is None else wilson_interval(round(num_samples * accuracy), num_samples),
        )
        for (label, place), (num_samples, accuracy) in groups.items()
    )
    filled = [group for group in found if group.accuracy is not None]
    worst = min(filled, key=lambda group: group.accuracy or 0.0)
    num_samples = sum(group.num_samples for group in filled)
    assert worst.accuracy is not None
    assert worst.ci95 is not None
    return GroupEvaluation(
        num_samples=num_samples,
        average_accuracy=sum(group.num_samples * (group.accuracy or 0.0) for group in filled) / num_samples,
        balanced_accuracy=sum(group.accuracy or 0.0 for group in filled) / len(filled),
        reweighted_accuracy=0.5,
        worst_group_accuracy=worst.accuracy,
        worst_group_ci95=worst.ci95,
        groups=found,
    )
