"""The first line about a given network: what it is worth on these data, and whether its classes look shuffled."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prusc.config import ClusteringConfig
from prusc.data import Data
from prusc.runs.session import open_session
from prusc.runs.start import start_run
from tests.networks import Listener, striped_data
from tests.run_folders import TINY


class Stripes(nn.Module):
    """Sees which row is bright; its outputs stand for the classes in an order of its own."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3)[order])
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images[:, :, 2:5].mean((1, 3)))


def told(data: Data, order: list[int]) -> list[str]:
    listener = Listener()
    config = replace(TINY, clustering=ClusteringConfig(num_clusters=2, checkpoint=None))
    start_run(open_session(Stripes(order), data, config, out=None, force=False, progress=listener))
    return [line for line in listener.lines if "your network" in line]


def test_its_accuracy_and_normalisation_are_told() -> None:
    (line,) = told(striped_data(60), [0, 1, 2])
    expected = "your network: 100.0 % on validation, images normalised with mean 0.5, 0.5, 0.5 and std 0.5, 0.5, 0.5; "
    assert line == expected + "is that what you know?"


def test_another_order_of_classes_is_warned_of(tmp_path: Path) -> None:
    first, warning = told(striped_data(60), [0, 2, 1])
    assert first.startswith("your network: 33.3 % on validation")
    assert warning.startswith(
        "warning: your network would be right on 100.0 % instead of 33.3 % if its outputs stood for"
    )
    assert "in the order a, c, b; " in warning
    assert warning.endswith("--data-options.classes a c b")


@pytest.mark.parametrize("order", [[0, 0, 0]])
def test_a_poor_network_is_no_other_order(order: list[int]) -> None:
    assert len(told(striped_data(60), order)) == 1
