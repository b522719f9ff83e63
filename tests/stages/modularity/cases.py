"""A network whose two functions use weights of their own, by construction, and masks to compare."""

import torch
from torch import Tensor, nn

from prusc.masks import BinaryMask
from prusc.stages.modularity import Examples
from tests.networks import generator


class TwoBlocks(nn.Module):
    """Two questions at once: is input 0 positive, and is input 1? Each has hidden units and an output of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 4, bias=False)
        self.last = nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
            self.last.weight.copy_(
                torch.tensor([[0.0, 4.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 4.0, 0.0]])
            )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(inputs))).unflatten(-1, (2, 2))


def questions(num_samples: int = 64, seed: int = 0) -> Examples:
    inputs = torch.randn(num_samples, 2, generator=generator(seed))
    return Examples(inputs, (inputs > 0).long())


def two_functions(num_samples: int = 64, seed: int = 0) -> dict[str, Examples]:
    """Each function answers one of the questions."""
    both = questions(num_samples, seed)
    return {"first": both.only_outputs(slice(0, 1)), "second": both.only_outputs(slice(1, 2))}


def block_masks() -> dict[str, BinaryMask]:
    """What each function needs, to the weight."""
    first = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]]).bool()
    last = torch.zeros(4, 4, dtype=torch.bool)
    last[:2, :2] = torch.eye(2).flip(0).bool()
    return {
        "first": BinaryMask({"first.weight": first, "last.weight": last}),
        "second": BinaryMask({"first.weight": first.flip(0, 1), "last.weight": last.flip(0, 1)}),
    }


def random_masks(names: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> dict[str, BinaryMask]:
    source = generator(seed)
    shapes = {"one": (5, 3), "two": (4, 2, 3, 3)}
    return {
        name: BinaryMask({layer: torch.rand(shape, generator=source) < 0.5 for layer, shape in shapes.items()})
        for name in names
    }
