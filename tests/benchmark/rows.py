"""Rows of a benchmark that never ran."""

import numpy as np
import pandas as pd

from prusc.benchmark.rows import COLUMNS

NEEDS = {"erm": "none", "prusc": "none", "group-dro": "training", "dfr": "validation"}


def make_rows(seeds: int = 3, *, data: tuple[str, ...] = ("birds", "faces_100%")) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "method": method,
            "title": method.upper(),
            "needs": needs,
            "trains_on_validation": method == "dfr",
            "data": name,
            "network": "net",
            "seed": seed,
            "rule": "pseudo-groups",
            "average_accuracy": rng.random(),
            "worst_group_accuracy": rng.random(),
            "cost": 1.0 if method == "erm" else 1 + rng.random(),
        }
        for name in data
        for method, needs in NEEDS.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
