"""What networks return, and what becomes of it. Each right value is computed with plain PyTorch."""

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.models.outputs import give_logits, logits_of
from prusc.models.prepare import prepare_network
from tests.networks import generator, random_images

RIGHT = torch.arange(6.0).view(2, 3)
FEATURES, CONFIDENCE = torch.zeros(2, 64), torch.zeros(2, 1)
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])


@pytest.mark.parametrize(
    "output",
    [
        RIGHT,
        (RIGHT, RIGHT + 1),
        [RIGHT, RIGHT + 1, RIGHT + 2],
        (RIGHT, None),
        (FEATURES, RIGHT),
        (RIGHT, FEATURES),
        (torch.zeros(2, 8, 4, 4), RIGHT),
        (CONFIDENCE, RIGHT),
        (torch.tensor(1.0), RIGHT),
        {"out": RIGHT, "aux": RIGHT + 1},
        {"features": FEATURES, "logits": RIGHT},
        {"loss": torch.tensor(0.0), "y": RIGHT},
        Outputs(RIGHT, RIGHT + 1),
        SimpleNamespace(logits=RIGHT, hidden_states=None),
    ],
)
def test_logits_are_found_beside_other_outputs(output: Any) -> None:
    assert logits_of(output) is RIGHT


@pytest.mark.parametrize("output", [None, "text", {"loss": torch.tensor(1.0)}, (), [None]])
def test_where_there_are_none_the_output_stays(output: Any) -> None:
    assert logits_of(output) is output


class Net(nn.Module):
    """A head with some outputs, and what may come behind it."""

    def __init__(self, num_outputs: int, last: nn.Module | None = None, *, squeeze: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, num_outputs)
        self.last = last or nn.Identity()
        self.squeeze = squeeze
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator(len(parameter.shape)))

    def forward(self, images: Tensor) -> Tensor:
        output = self.last(self.head(self.body(images)))
        return output.squeeze(1) if self.squeeze else output


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("last", [None, nn.Sigmoid()])
def test_one_logit_becomes_two_with_the_same_probabilities(last: nn.Module | None, squeeze: bool) -> None:
    model, images = Net(1, last, squeeze=squeeze), random_images(5, 8)
    logit = model.head(model.body(images)).flatten()
    network, changes = prepare_network(model, images, 2, title="net", source="data")
    found = network(images)
    assert torch.allclose(found.softmax(dim=1)[:, 1], logit.sigmoid(), atol=1e-6)
    assert torch.equal(found.argmax(dim=1) == 1, logit > 0)
    assert len(changes) == 1 + (last is not None)
    assert "one logit, of head" in changes[-1]
    assert model.head.out_features == 1


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.Sigmoid()])
def test_a_last_activation_is_taken_off(last: nn.Module) -> None:
    model, images = Net(3, last), random_images(5, 8)
    network, changes = prepare_network(model, images, 3, title="net", source="data")
    assert torch.allclose(network(images), model.head(model.body(images)))
    assert torch.equal(network(images).argmax(dim=1), model(images).argmax(dim=1))
    assert changes == [f"its last {type(last).__name__} is taken off, because prusc works with logits"]


def test_activations_inside_stay() -> None:
    model, images = Net(3), random_images(5, 8)
    model.body.append(nn.Softmax(dim=1))
    expected = model(images)
    assert give_logits(model, images, 3) == []
    assert torch.equal(model(images), expected)


def test_a_sigmoid_in_the_code_is_refused() -> None:
    class Hidden(Net):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).sigmoid()

    with pytest.raises(ModelError, match="which is not the output of a linear layer; let it return"):
        prepare_network(Hidden(1), random_images(2, 8), 2, title="net", source="data")


def test_one_output_is_refused_for_more_classes() -> None:
    with pytest.raises(ModelError, match="has 1 outputs, but the data have 3 classes"):
        prepare_network(Net(1), random_images(2, 8), 3, title="net", source="data")


def test_other_precisions_and_frozen_weights() -> None:
    images = random_images(2, 8)
    for kind in (torch.float64, torch.bfloat16):
        network, changes = prepare_network(Net(3).to(kind), images, 3, title="net", source="data")
        assert network(images).dtype == torch.float32
        assert changes == [f"weights of {kind} are computed with as torch.float32"]
    network, _ = prepare_network(Net(3).requires_grad_(False), images, 3, title="net", source="data")
    assert all(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(ModelError, match=r"net does not take the images of 'data'.*image_size"):
        prepare_network(Net(3), torch.zeros(2, 5, 8, 8), 3, title="net", source="data")
