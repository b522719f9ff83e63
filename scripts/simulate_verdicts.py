"""How often is a network called better that is not? A simulation without any true difference.

    python scripts/simulate_verdicts.py

All networks are right with the same probability, each for its own samples in part: half of the samples are decided by
luck that all share. So every verdict ``improved`` is false. The table gives their share for several sizes of the
pseudo-groups, numbers of candidates and levels of the test, with a 95 % interval.
"""

import argparse

import torch
from experiments import table

from prusc.stages.cells import Cells
from prusc.stages.evaluation import wilson_interval
from prusc.stages.selection.judge import gain_p_values
from prusc.stages.selection.scores import pair_sides

# Samples of each class in each value of the pseudo-attribute: tiny, small and large sides that conflict, and some that
# are judged as one.
SIZES = {
    "four classes, 5 conflict in each": tuple(
        tuple(120 if i == k else 5 * (i == (k + 1) % 4) for i in range(4)) for k in range(4)
    ),
    "6 and 12 conflict": ((120, 12), (6, 100)),
    "40 and 40": ((120, 40), (40, 100)),
    "120 and 60": ((1200, 120), (60, 1000)),
}
NUM_CANDIDATES = (1, 4, 16)
LEVELS = (0.05, 0.02)


def smallest_p_values(
    sizes: tuple[tuple[int, ...], ...], num_candidates: int, *, num_trials: int, num_permutations: int
) -> torch.Tensor:
    """Return the smallest p-value of each trial."""
    labels = torch.cat([torch.full((sum(row),), label) for label, row in enumerate(sizes)])
    values = torch.cat([torch.full((size,), value) for row in sizes for value, size in enumerate(row)])
    groups = pair_sides(Cells(labels, values))
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(num_trials):
        shared, own = (torch.rand(n, len(labels), generator=generator) for n in (1, num_candidates + 1))
        is_own = torch.rand(own.shape, generator=generator) < 0.5
        right = torch.where(is_own, own, shared) < 0.7
        p_values = gain_p_values(right[0], right[1:], groups, num_permutations=num_permutations)
        found.append(p_values.min())
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--permutations", type=int, default=199)
    arguments = parser.parse_args()
    lines = []
    for title, sizes in SIZES.items():
        for number in NUM_CANDIDATES:
            smallest = smallest_p_values(
                sizes, number, num_trials=arguments.trials, num_permutations=arguments.permutations
            )
            cells = []
            for level in LEVELS:
                wrong = int((smallest <= level).sum())
                low, high = wilson_interval(wrong, len(smallest))
                cells.append(f"{100 * wrong / len(smallest):.1f} % ({100 * low:.1f} to {100 * high:.1f})")
            lines.append([title, str(number), *cells])
            print(*lines[-1], sep="   ", flush=True)
    print(table(["samples that conflict", "candidates", *(f"level {level:g}" for level in LEVELS)], lines))


if __name__ == "__main__":
    main()
