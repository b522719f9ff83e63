"""Slow, obvious twin of prusc.stages.selection.expected_accuracy."""

from torch import Tensor


def expected_accuracies(logits: Tensor, labels: Tensor, cluster_ids: Tensor) -> list[float]:
    rows, ys, cs = logits.tolist(), labels.tolist(), cluster_ids.tolist()
    classes = sorted(set(ys))

    def mean(members: list[int]) -> list[float]:
        return [sum(rows[i][k] for i in members) / len(members) for k in range(len(rows[0]))]

    def accuracy(logit_rows: list[list[float]], label: int) -> float:
        return sum(row.index(max(row)) == label for row in logit_rows) / len(logit_rows)

    found = []
    for y, c in zip(ys, cs, strict=True):
        shifts = []
        for other in classes:
            inside = [i for i in range(len(ys)) if ys[i] == other and cs[i] == c]
            outside = [i for i in range(len(ys)) if ys[i] == other and cs[i] != c]
            if other != y and inside and outside:
                shifts.append([a - b for a, b in zip(mean(inside), mean(outside), strict=True)])
        stand_ins = [rows[i] for i in range(len(ys)) if ys[i] == y and cs[i] != c]
        if shifts and stand_ins:
            shift = [sum(values) / len(shifts) for values in zip(*shifts, strict=True)]
            found.append(accuracy([[a + b for a, b in zip(row, shift, strict=True)] for row in stand_ins], y))
        else:
            found.append(accuracy([rows[i] for i in range(len(ys)) if ys[i] == y], y))
    return found
