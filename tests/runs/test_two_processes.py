from pathlib import Path

import pytest
import torch
from torch import Tensor

from prusc.config import RuntimeConfig
from prusc.engine.runtime import Runtime
from tests.two_processes import SOURCES, compute, launch

# How far float sums in another order may be apart, by the start of the name.
TOLERANCES = {"weights/": 1e-4, "history/": 1e-4, "batch norm/": 1e-4, "representations/": 1e-4, "collectives/": 0.0}


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    found = []
    for name, expected in one.items():
        value = other[name]
        if name.startswith("mask/"):
            # A weight whose gradient is all rounding may fall on either side.
            apart = (value != expected).double().mean().item()
            wrong = apart > 0.005 or not 0.2 < expected.double().mean() < 0.9
        elif expected.dtype == torch.bool or expected.dtype == torch.int64:
            apart, wrong = (value != expected).sum().item(), not torch.equal(value, expected)
        else:
            tolerance = next(value for start, value in TOLERANCES.items() if name.startswith(start))
            apart = (value - expected).abs().max().item() if value.shape == expected.shape else torch.inf
            wrong = not torch.allclose(value, expected, rtol=tolerance, atol=tolerance)
        if wrong:
            found.append(f"{name} is off by {apart}: {value.flatten()[:4]}, expected {expected.flatten()[:4]}")
    return found


def test_two_processes_compute_what_one_process_computes(tmp_path: Path) -> None:
    first, second = launch(tmp_path)
    assert torch.equal(first["sources"], SOURCES), "the sources were edited while the tests ran; run this test again"
    # Exactly the same in both: else they would drift apart.
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert first.pop("weights/generator after augmentation").numel() > 0
    one = compute(Runtime(RuntimeConfig(device="cpu", eval_batch_size=16, num_workers=0)))
    del one["weights/generator after augmentation"]
    assert one["stopped"].all()
    assert sum(name.startswith("mask/") for name in one) == 7
    assert not differences(one, first)


@pytest.mark.parametrize("name", ["mask/a", "weights/a", "history/a", "stopped"])
def test_a_difference_would_be_seen(name: str) -> None:
    value = torch.arange(100) % 2 == 0 if name.startswith(("mask", "stopped")) else torch.rand(100)
    other = value.clone()
    other[7] = ~other[7] if value.dtype == torch.bool else other[7] + 0.01
    assert not differences({name: value}, {name: value.clone()})
    assert len(differences({name: value}, {name: other})) == 1
