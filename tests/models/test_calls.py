import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.models.calls import call_model, to_device
from tests.networks import random_images, small_cnn


def test_a_mapping_is_handed_over_as_keyword_arguments() -> None:
    class TwoInputs(nn.Module):
        def forward(self, *, left: Tensor, right: Tensor) -> Tensor:
            return left - right

    inputs = to_device({"right": torch.ones(2, 3), "left": torch.full((2, 3), 5.0)}, torch.device("cpu"))
    assert torch.equal(call_model(TwoInputs(), inputs), torch.full((2, 3), 4.0))


def test_channels_last_is_for_images_only() -> None:
    images, vectors = random_images(2), torch.ones(2, 3)
    assert to_device(images, torch.device("cpu")) is images
    moved = to_device(images, torch.device("cpu"), channels_last=True)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, images)
    assert to_device(vectors, torch.device("cpu"), channels_last=True) is vectors


def test_a_mapping_may_hold_anything_that_moves_to_a_device() -> None:
    tokens = torch.arange(6).view(2, 3)
    moved = to_device({"tokens": tokens}, torch.device("meta"), channels_last=True)
    assert list(moved) == ["tokens"]
    assert moved["tokens"].device.type == "meta"
    assert (moved["tokens"].shape, moved["tokens"].dtype) == (tokens.shape, tokens.dtype)


def test_logits_are_the_output_itself() -> None:
    model, images = small_cnn(), random_images(2)
    assert torch.equal(call_model(model, images), model(images))


class Returns(nn.Module):
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, _: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ((torch.zeros(2), None), "tuple"),
        ([torch.zeros(2, 3, 1)], "list"),
        ({"loss": torch.tensor(0.0)}, "dict"),
        (None, "NoneType"),
        (torch.zeros(2), r"shape \(2,\)"),
        (torch.zeros(2, 3, 1), r"shape \(2, 3, 1\)"),
        (torch.tensor(1.0), r"shape \(\)"),
    ],
)
def test_anything_but_one_matrix_is_refused(output: object, found: str) -> None:
    with pytest.raises(ModelError, match=rf"Returns must return logits of shape .*; it returned {found}$"):
        call_model(Returns(output), torch.zeros(2, 3))
