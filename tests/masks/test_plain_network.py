"""Networks as people have them: wrapped, pruned, with computed weights. The copy computes what the network does."""

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from prusc.errors import ModelError
from prusc.masks import BinaryMask, MaskedModel, list_changes, maskable_parameters, plain_network
from prusc.masks.plain_network import is_plain
from tests.networks import NUM_CLASSES, TRANSFORM, generator, random_images, randomise, small_cnn
from tests.traces import no_trace


def simple() -> nn.Sequential:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    randomise(network)
    return network


def changed(change: Callable[[nn.Module], object], place: int = 2) -> nn.Module:
    network = simple()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        change(network[place])
    return network


def nested() -> nn.Module:
    network = simple()
    network[0] = nn.DataParallel(network[0])
    network[2] = nn.DataParallel(AveragedModel(network[2]))
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "data parallel": lambda: nn.DataParallel(simple()),
    "averaged": lambda: AveragedModel(simple()),
    "compiled": lambda: torch.compile(simple()),  # type: ignore[return-value, dict-item]
    "wrapped twice": lambda: nn.DataParallel(AveragedModel(simple())),
    "wrapped inside": nested,
    "pruned": lambda: changed(lambda layer: prune.l1_unstructured(layer, "weight", 0.4)),
    "pruned by channels": lambda: changed(lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0)),
    "pruned twice": lambda: changed(
        lambda layer: [prune.random_unstructured(layer, "weight", 0.3), prune.l1_unstructured(layer, "weight", 0.3)]
    ),
    "pruned bias": lambda: changed(lambda layer: prune.random_unstructured(layer, "bias", 0.5)),
    "old weight norm": lambda: changed(nn.utils.weight_norm),
    "old spectral norm": lambda: changed(nn.utils.spectral_norm),
    "weight norm": lambda: changed(parametrizations.weight_norm),
    "spectral norm": lambda: changed(parametrizations.spectral_norm),
    "orthogonal head": lambda: changed(parametrizations.orthogonal, 5),
    "old weight norm of the head": lambda: changed(nn.utils.weight_norm, 5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plain_copy_computes_the_same_and_leaves_no_trace(name: str) -> None:
    network, images = NETWORKS[name](), random_images(4, 12)
    inner = network
    while not isinstance(inner, nn.Sequential):
        inner = getattr(inner, "_orig_mod", None) or inner.module  # type: ignore[assignment]
    inner.eval()
    expected = inner(images)
    with no_trace(inner):
        plain = plain_network(network)
    assert torch.allclose(plain(images), expected, atol=1e-6)
    assert dict(plain.named_parameters()).keys() == dict(simple().named_parameters()).keys()
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert is_plain(plain)
    assert not is_plain(network)
    assert len(list_changes(network)) >= 1
    assert list_changes(plain) == []
    # The copy shares no memory with the network.
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert torch.equal(inner(images), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_can_be_masked(name: str) -> None:
    network = NETWORKS[name]()
    masked = MaskedModel(network, generator=generator())
    assert masked.num_masked == MaskedModel(simple()).num_masked
    assert maskable_parameters(network).keys() == maskable_parameters(simple()).keys()
    masked(random_images(2, 12)).sum().backward()
    assert all(logits.grad is not None and logits.grad.isfinite().all() for logits in masked.mask_logits)


def test_a_plain_network_is_wrapped_itself() -> None:
    model = small_cnn()
    assert MaskedModel(model).model is model


def test_a_scripted_network_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"TorchScript module.*load_state_dict\(scripted.state_dict\(\)\)"):
        plain_network(torch.jit.script(simple()))


def test_an_extracted_subnetwork_of_computed_weights_is_plain() -> None:
    from prusc import extract_subnetwork
    from tests.networks import striped_split

    network = nn.Sequential(small_cnn(), nn.Identity())
    parametrizations.weight_norm(network[0].head)
    mask = BinaryMask({"0.head.weight": torch.zeros(NUM_CLASSES, 128, dtype=torch.bool)})
    split = replace(striped_split(6), transform=TRANSFORM)
    found = extract_subnetwork(network, mask, split, [])
    assert found.get_parameter("0.head.weight").count_nonzero() == 0


class Checkpointed(nn.Module):
    """Each half of the network is computed again in the backward pass, in one of PyTorch's two ways."""

    def __init__(self, *, reentrant: bool, on: bool) -> None:
        super().__init__()
        self.first, self.second = simple()[:3], simple()[3:]
        self.reentrant, self.on = reentrant, on

    def forward(self, images: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        if not self.on:
            return self.second(self.first(images))
        hidden = checkpoint(self.first, images.requires_grad_(self.reentrant), use_reentrant=self.reentrant)
        return checkpoint(self.second, hidden, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_of_masks_do_not_depend_on_checkpointing(reentrant: bool) -> None:
    def gradients(on: bool) -> list[Tensor]:
        masked = MaskedModel(Checkpointed(reentrant=reentrant, on=on), initial_logit=0.5, generator=generator(3))
        masked(random_images(3, 12)).square().sum().backward()
        return [logits.grad for logits in masked.mask_logits]

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        assert torch.allclose(found, expected)
    # Outside, checkpointing goes on as before.
    from torch.utils import checkpoint

    assert checkpoint.CheckpointFunction.__name__ == "CheckpointFunction"
    model = Checkpointed(reentrant=reentrant, on=True)
    model(random_images(3, 12)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
