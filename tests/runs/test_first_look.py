"""The first look at a given network."""

import pytest
import torch
from torch import Tensor, nn

from prusc.config import RuntimeConfig
from prusc.data.table import Data, Split
from prusc.data.transforms import InputTransform
from prusc.engine.runtime import Runtime
from prusc.runs.first_look import FirstLook, look_first, take_first_look
from prusc.runs.session import open_session
from tests.networks import Listener, feed_of, make_split
from tests.run_folders import TINY

CLASSES = ("dark", "bright")


class IsBright(nn.Module):
    """Class 1 where an image is brighter than a threshold on the scale that the network was trained on."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            self.head.bias.copy_(torch.tensor([threshold, -threshold]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.mean((1, 2, 3))[:, None])


def bright_split(num_samples: int = 40, channels: int = 3) -> Split:
    """Half of the images dark, then half of them bright."""
    labels = (torch.arange(num_samples) >= num_samples // 2).long()
    images = (60 + 120 * labels)[:, None, None, None].expand(-1, channels, 4, 4)
    return make_split(images.to(torch.uint8).contiguous(), labels)


def bright_data(mean: float, std: float) -> Data:
    return Data("bright", CLASSES, *(bright_split() for _ in range(3)), mean=(mean,) * 3, std=(std,) * 3)


def look(threshold: float, mean: float, std: float, split: Split | None = None) -> FirstLook:
    split = split or bright_split()
    transform = InputTransform((mean,) * 3, (std,) * 3)
    return take_first_look(IsBright(threshold), feed_of(split, transform), CLASSES)


def test_a_network_with_its_own_normalisation_is_described_without_a_warning() -> None:
    found = look(0.0, 0.5, 0.5)
    assert found.accuracy == 1
    assert found.warnings() == []
    assert found.describe() == (
        "your network: 100.0 % on the 40 validation samples, images of 4 px normalised with mean 0.5 and std 0.5; is "
        "that what you know?"
    )


def test_a_far_better_normalisation_is_named() -> None:
    """At thresholds between dark and bright on one scale only, exactly that scale is right."""
    found = look(110.0, 0.5, 0.5)
    assert found.accuracy == 0.5
    assert found.is_near_chance
    assert found.better == ("intensities from 0 to 255 (mean 0, std 1/255)", 1.0, 0.5)
    guessing, better = found.warnings()
    assert "about as good as guessing one of 2 classes" in guessing
    assert better.startswith(
        "with intensities from 0 to 255 (mean 0, std 1/255) your network would reach 100.0 % instead of 50.0 %"
    )


def test_where_no_normalisation_helps_only_the_guessing_is_told() -> None:
    found = look(1000.0, 0.5, 0.5)
    assert found.better is None
    assert len(found.warnings()) == 1


def test_another_order_of_the_classes_is_named() -> None:
    labels = torch.arange(60) % 2
    found = FirstLook(labels, 1 - labels, 60, CLASSES, None, 0, None)
    assert found.warnings()[-1].startswith(
        "your network would be right on 100.0 % instead of 0.0 % if its outputs stood for the classes in the order "
        "bright, dark; if it was trained with that order, name it with --data-options.classes bright dark"
    )


def test_inputs_that_are_not_images_go_in_as_they_are() -> None:
    inputs = bright_split().inputs
    assert isinstance(inputs, Tensor)
    split = make_split(inputs.float() / 255, bright_split().labels)
    found = look(110.0, 0.5, 0.5, split)
    assert (found.normalisation, found.better) == (None, None)
    assert "inputs as your data give them" in found.describe()
    assert "how the network's inputs were preprocessed" in found.warnings()[0]


def test_of_many_samples_some_are_looked_at_of_every_class() -> None:
    found = look(0.0, 0.5, 0.5, bright_split(1500))
    assert len(found.labels) == 512
    assert found.labels.sum() == 256
    assert "100.0 % on 512 of the 1500 validation samples" in found.describe()


@pytest.mark.parametrize(("share", "expected"), [(0.25, True), (0.5, False)])
def test_guessing_is_told_from_a_little_knowledge(share: float, expected: bool) -> None:
    labels = torch.arange(400) % 4
    is_right = torch.arange(400) // 4 < 100 * share
    found = FirstLook(labels, torch.where(is_right, labels, (labels + 1) % 4), 400, tuple("abcd"), None, 0, None)
    assert found.is_near_chance is expected
    # A network that names the most frequent class only is guessing, however frequent that class is.
    rare = (torch.arange(400) < 12).long()
    assert FirstLook(rare, torch.zeros_like(rare), 400, CLASSES, None, 0, None).is_near_chance


def test_a_run_logs_it_and_python_warns_where_nothing_is_shown() -> None:
    progress = Listener()
    session = open_session(IsBright(110.0), bright_data(0.5, 0.5), TINY, out=None, force=False, progress=progress)
    look_first(session, session.network)
    assert progress.lines[1].startswith("your network: 50.0 %")
    assert [line.startswith("warning: ") for line in progress.lines[2:]] == [True, True]
    session = open_session(IsBright(110.0), bright_data(0.5, 0.5), TINY, out=None, force=False, progress=None)
    with pytest.warns(UserWarning, match="about as good as guessing"):
        look_first(session, session.network)


def test_the_network_is_not_changed() -> None:
    network = IsBright(0.0).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    runtime = Runtime(RuntimeConfig(device="cpu"))
    take_first_look(network, feed_of(bright_split(), runtime=runtime), CLASSES)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
