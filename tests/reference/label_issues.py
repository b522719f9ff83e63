"""Confident learning the long way: thresholds and the confident joint, sample by sample."""

from collections.abc import Sequence


def confident_joint(
    labels: Sequence[int], probabilities: Sequence[Sequence[float]]
) -> tuple[list[list[list[int]]], list[float]]:
    """Return the samples in each cell [given class][likely class], and the threshold of each class."""
    num_classes = len(probabilities[0])
    thresholds = []
    for label in range(num_classes):
        own = [row[label] for row, y in zip(probabilities, labels, strict=True) if y == label]
        thresholds.append(sum(own) / len(own) if own else float("inf"))
    joint: list[list[list[int]]] = [[[] for _ in range(num_classes)] for _ in range(num_classes)]
    for index, (label, row) in enumerate(zip(labels, probabilities, strict=True)):
        counting = [(p, -j) for j, p in enumerate(row) if p >= thresholds[j] - 1e-6]
        if counting:
            joint[label][-max(counting)[1]].append(index)
    return joint, thresholds


def off_diagonal(labels: Sequence[int], probabilities: Sequence[Sequence[float]]) -> set[int]:
    """Return the samples whose likely class is not the given one."""
    joint, _ = confident_joint(labels, probabilities)
    return {index for i, row in enumerate(joint) for j, cell in enumerate(row) if i != j for index in cell}
