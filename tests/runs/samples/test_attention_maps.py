"""Maps of attention of an exhibit, against one call of Grad-CAM for each sample."""

import pytest
import torch

from prusc.runs.samples import attention_maps
from prusc.runs.samples.attention_maps import compute_attention, load_images
from prusc.runs.samples.grad_cam import grad_cam
from tests.networks import TRANSFORM
from tests.runs.samples.exhibits import make_exhibit


def test_images_are_transformed_and_wholly_seen() -> None:
    exhibit, _ = make_exhibit()
    images, share = load_images(exhibit, [4, 2])
    inputs = exhibit.data.val.inputs
    assert isinstance(inputs, torch.Tensor)
    torch.testing.assert_close(images, TRANSFORM(inputs[[4, 2]]))
    assert share == 1


def test_each_network_explains_its_own_predictions_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_maps, "_ATTENTION_BATCH", 3)
    exhibit, _ = make_exhibit()
    indices = [10, 3, 7, 20, 5]
    found = compute_attention(exhibit, "encoder.8", indices)
    assert found.keys() == {"before", "after"}
    for name, network in exhibit.networks.items():
        for position, index in enumerate(indices):
            images, _ = load_images(exhibit, [index])
            expected = grad_cam(network, "encoder.8", images, exhibit.val_predictions(name)[[index]])[0]
            torch.testing.assert_close(found[name][position], expected)
    assert not torch.equal(found["before"], found["after"])
