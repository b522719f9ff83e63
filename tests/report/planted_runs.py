"""Real runs of a second each, on planted pictures, that end in every verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import prusc
from prusc.config import AuditConfig, ClusteringConfig, FinetuneConfig, MaskConfig, RuntimeConfig, SelectionConfig
from prusc.data.table import Data, Split

_CONFIG = prusc.RunConfig(
    controls=False,
    runtime=RuntimeConfig(device="cpu", num_workers=0),
    clustering=ClusteringConfig(candidates=(2, 4), num_restarts=1, checkpoint=None),
    audit=AuditConfig(num_permutations=99),
    selection=SelectionConfig(num_permutations=199),
    masks=MaskConfig(steps=2, snapshots=1, batch_size=32),
    finetune=FinetuneConfig(steps=2, batch_size=32, head_l2=(0.1,), learning_rates=()),
)
_EARLY = {"clustering": replace(_CONFIG.clustering, checkpoint="early")}
_NO_HEAD = {"finetune": replace(_CONFIG.finetune, head_l2=(1e4,))}


class _Net(nn.Module):
    """Reads the red of the upper half and the blue of the lower half, each with a weight."""

    def __init__(self, red: float, blue: float) -> None:
        super().__init__()
        body = nn.Linear(12, 4)
        self.features = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), body, nn.ReLU())
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in (body.weight, body.bias, self.head.weight, self.head.bias):
                parameter.zero_()
            body.weight[0, 0:2], body.weight[1, 0:2] = 1, -1
            body.weight[2, 10:12], body.weight[3, 10:12] = 1, -1
            self.head.weight[1] = torch.tensor([red, -red, blue, -blue])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


@dataclass(frozen=True)
class Plan:
    """What is planted: what the network reads, and what the pictures say.

    Attributes:
        verdict: What the run ends in.
        red: Weight of the attribute in the network.
        blue: Weight of the class.
        agreement: How often the attribute agrees with the class in training and validation.
        signal: How far the blue of the two classes is apart.
        test_signal: The same in the test split.
        settings: Settings of the run.
    """

    verdict: str
    red: float
    blue: float
    agreement: float
    signal: int
    test_signal: int
    settings: Mapping[str, Any]


PLANS = {
    "improved, with suspects": Plan("improved", 3, 0, 0.85, 20, 20, _EARLY),
    "improved, without suspects": Plan("improved", 3, 0, 0.85, 20, 20, {}),
    "improved on validation only": Plan("improved", 3, 0, 0.85, 20, -20, {}),
    "unproven": Plan("unproven", 3, 0, 0.85, 0, 0, {**_EARLY, **_NO_HEAD}),
    "nothing better": Plan("nothing-better", 3, 3.4, 0.85, 40, 40, {**_EARLY, **_NO_HEAD}),
    "no evidence": Plan("no-evidence", 0, 3, 0.5, 40, 40, {}),
    "within the budget": Plan("within-budget", 0, 3, 0.5, 40, 40, {"masks": replace(_CONFIG.masks, budget_flops=0.7)}),
}


def run_plan(plan: Plan, out: Path, *, has_attribute: bool) -> None:
    """Audit and run a plan, in the folders ``audit`` and ``run``."""
    splits = {
        "train": _split(0, plan.agreement, plan.signal, has_attribute=has_attribute),
        "val": _split(1, plan.agreement, plan.signal, has_attribute=has_attribute),
        "test": _split(2, 0.5, plan.test_signal, has_attribute=has_attribute),
    }
    data = Data(
        "planted",
        ("low", "high"),
        **splits,
        attribute_names=("red",) if has_attribute else (),
        attribute_values=(("dim", "bright"),) if has_attribute else (),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    config = replace(_CONFIG, **plan.settings)
    prusc.audit(_Net(plan.red, plan.blue), data, config, out=out / "audit")
    prusc.debias(_Net(plan.red, plan.blue), data, config, out=out / "run")


def _split(seed: int, agreement: float, signal: int, *, has_attribute: bool) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(400) % 2
    attribute = torch.where(torch.rand(400, generator=generator) < agreement, labels, 1 - labels)
    pictures = torch.randint(100, 156, (400, 3, 8, 8), generator=generator)
    pictures[:, 0, :4] += (80 * attribute - 40)[:, None, None]
    pictures[:, 2, 4:] += (signal * (2 * labels - 1))[:, None, None]
    names = tuple(f"{seed}-{index}" for index in range(400))
    return Split(pictures.clamp(0, 255).to(torch.uint8), labels, attribute[:, None] if has_attribute else None, names)
