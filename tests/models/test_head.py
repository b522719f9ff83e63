from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap, find_head, get_head
from tests.networks import (
    NUM_CLASSES,
    Attentive,
    Recurrent,
    Tied,
    mobilenet_v2,
    random_images,
    random_sequences,
    randomise,
    resnet18,
    small_cnn,
    vit_tiny,
)
from tests.traces import no_trace

HEADS: dict[str, tuple[Any, Any, str]] = {
    "small-cnn": (small_cnn, random_images(2), "head"),
    "timm resnet18": (resnet18, random_images(2, 32), "fc"),
    "torchvision mobilenet_v2": (mobilenet_v2, random_images(2, 32), "classifier.1"),
    "timm vit": (vit_tiny, random_images(2, 32), "head"),
    "lstm": (Recurrent, random_sequences(2), "head"),
    "tied": (Tied, torch.zeros(2, 3, dtype=torch.long), "head"),
    "attention": (Attentive, torch.ones(2, 5, 4), "head"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_head_is_found_without_a_trace(kind: str) -> None:
    build, inputs, expected = HEADS[kind]
    model = randomise(build()).train()
    next(model.children()).eval()
    with no_trace(model):
        assert find_head(model, inputs, NUM_CLASSES) == expected
    assert get_head(model, expected).out_features == NUM_CLASSES


@pytest.mark.parametrize("kind", HEADS)
def test_the_tap_gives_what_the_head_makes_its_logits_of(kind: str) -> None:
    build, inputs, name = HEADS[kind]
    model = randomise(build())
    with no_trace(model):
        with RepresentationTap(model, name) as tap, torch.no_grad():
            logits = call_model(model, inputs)
            representations = tap.take()
        torch.testing.assert_close(get_head(model, name)(representations), logits)
        assert representations.shape == (2, get_head(model, name).in_features)


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3, 4), nn.Linear(4, NUM_CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.out(self.hidden(inputs)))


class Raises(Squashed):
    def forward(self, inputs: Tensor) -> Tensor:
        super().forward(inputs)
        raise RuntimeError("on purpose")


class Returns(Squashed):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, inputs: Tensor) -> Any:
        logits = self.out(self.hidden(inputs))
        return (logits[:, :, None], None) if self.kind == "tuple" else logits[:, :, None]


def test_a_network_without_a_head_is_a_clear_error() -> None:
    for model, message in (
        (Squashed(), "Squashed has no head: .* linear layers are hidden, out"),
        (nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), "has no head: .* linear layers are absent"),
    ):
        inputs = torch.ones(2, 3) if isinstance(model, Squashed) else random_images(2)
        with no_trace(model), pytest.raises(ModelError, match=message):
            find_head(model, inputs, NUM_CLASSES)


def test_another_number_of_classes_is_a_clear_error() -> None:
    model = small_cnn()
    with no_trace(model), pytest.raises(ModelError, match="SmallCNN has 3 outputs, but the data have 10 classes"):
        find_head(model, random_images(2), 10)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Raises().train(), RuntimeError, "on purpose"),
        (Returns("tuple").train(), ModelError, r"must return logits of shape \[batch, classes\]; it returned tuple"),
        (Returns("3d").train(), ModelError, r"it returned shape \(2, 3, 1\)"),
    ],
)
def test_a_network_that_fails_is_left_as_it_was(model: nn.Module, error: type[Exception], message: str) -> None:
    with no_trace(model), pytest.raises(error, match=message):
        find_head(model, torch.ones(2, 3), NUM_CLASSES)


def test_a_head_by_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ModelError, match="no linear layer 'heads'; did you mean head"):
        get_head(small_cnn(), "heads")
    with pytest.raises(ModelError, match=r"no linear layer 'encoder.0'"):
        get_head(small_cnn(), "encoder.0")


def test_the_tap_gives_each_pass_once_and_leaves_no_hook() -> None:
    model = small_cnn()
    with no_trace(model):
        with RepresentationTap(model, "head") as tap:
            with pytest.raises(ModelError, match="it received nothing"):
                tap.take()
            model(random_images(2))
            tap.take()
            with pytest.raises(ModelError, match="it received nothing"):
                tap.take()
        with pytest.raises(KeyError), RepresentationTap(model, "head"):
            raise KeyError


def test_representations_of_another_shape_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    with RepresentationTap(model, "0") as tap:
        model(torch.ones(2, 5, 3))
        with pytest.raises(ModelError, match=r"received shape \(2, 5, 3\)"):
            tap.take()
