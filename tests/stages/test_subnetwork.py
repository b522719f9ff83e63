import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from prusc.config import RuntimeConfig
from prusc.data.table import Split
from prusc.engine.batch_norm import reestimate_batch_norm
from prusc.engine.runtime import Runtime
from prusc.errors import ModelError
from prusc.masks import BinaryMask, MaskedModel
from prusc.models.build import SmallCNN, build_model
from prusc.stages.subnetwork import extract_subnetwork
from tests.networks import (
    NUM_CLASSES,
    TRANSFORM,
    Attentive,
    ConvNet,
    Recurrent,
    Tied,
    WithActivatedNorm,
    feed_of,
    generator,
    make_split,
    random_images,
    random_sequences,
    randomise,
    resnet18,
    small_cnn,
    striped_split,
    vit_tiny,
)
from tests.traces import no_trace

CPU = Runtime(RuntimeConfig(device="cpu", channels_last=False))


def random_mask(model: nn.Module, seed: int = 2) -> BinaryMask:
    masked = MaskedModel(model)
    source = generator(seed)
    return BinaryMask(
        {name: torch.rand(kept.shape, generator=source) < 0.6 for name, kept in masked.binary_mask().tensors.items()}
    )


def masked_in_evaluation(model: nn.Module, mask: BinaryMask) -> MaskedModel:
    masked = MaskedModel(model).eval()
    for name, logits in zip(masked.parameter_names, masked.mask_logits, strict=True):
        logits.data = torch.where(mask.tensors[name], 1.0, -1.0)
    return masked


def extract(model: nn.Module, mask: BinaryMask, split: Split, batches: list[Tensor] | None = None) -> nn.Module:
    return extract_subnetwork(model, mask, feed_of(split), batches or [])


KINDS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "small-cnn": (small_cnn, random_images(6)),
    "resnet18": (resnet18, random_images(6, 32)),
    "vit_tiny": (vit_tiny, random_images(6, 32)),
    "convolutions": (ConvNet, random_images(6, 6, 2)),
    "lstm": (Recurrent, random_sequences(6)),
    "tied": (Tied, torch.randint(0, 5, (6, 3), generator=generator())),
    "attention": (Attentive, torch.randn(6, 5, 4, generator=generator())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_the_masked_network_computes(kind: str) -> None:
    build, inputs = KINDS[kind]
    model = randomise(build())
    mask = random_mask(model)
    masked = masked_in_evaluation(model, mask)
    split = make_split(inputs, torch.zeros(6, dtype=torch.long))
    with no_trace(model):
        subnetwork = extract(model, mask, split)
        expected = masked(inputs)
    torch.testing.assert_close(subnetwork(inputs), expected, rtol=1e-5, atol=1e-5)
    assert (expected - model(inputs)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_ordinary_network_of_the_users_own_class(kind: str) -> None:
    build, inputs = KINDS[kind]
    model = randomise(build())
    mask = random_mask(model)
    subnetwork = extract(model, mask, make_split(inputs, torch.zeros(6, dtype=torch.long)), [torch.arange(6)])
    assert type(subnetwork) is type(model)
    assert subnetwork is not model
    state = subnetwork.state_dict()
    assert list(state) == list(model.state_dict())
    for name, kept in mask.tensors.items():
        assert (state[name][~kept] == 0).all()
        assert not kept.all()
        assert torch.equal(state[name][kept], model.state_dict()[name][kept])
    for name, parameter in model.named_parameters():
        if name not in mask.tensors:
            assert torch.equal(state[name], parameter)
    # A fresh network that has never seen a mask.
    plain = build()
    plain.load_state_dict(state, strict=True)
    torch.testing.assert_close(plain.eval()(inputs), subnetwork(inputs))


def test_weights_that_share_their_memory_share_it_still() -> None:
    model = randomise(Tied())
    split = make_split(torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, dtype=torch.long))
    subnetwork = extract(model, random_mask(model), split)
    assert subnetwork.second.weight is subnetwork.first.weight is not model.first.weight
    assert subnetwork.decode.weight is subnetwork.embedding.weight


def test_a_mask_for_another_network_is_an_error_and_leaves_the_network_alone() -> None:
    model, mask = small_cnn(), random_mask(ConvNet())
    with no_trace(model), pytest.raises(ModelError, match=r"'conv\.weight' that the model does not have"):
        extract(model, mask, striped_split())


def test_without_batches_the_statistics_stay() -> None:
    model = small_cnn()
    subnetwork = extract(model, random_mask(model), striped_split())
    for name, buffer in model.named_buffers():
        assert torch.equal(dict(subnetwork.named_buffers())[name], buffer)


def test_modes_and_gradient_flags_are_those_of_the_network() -> None:
    model = small_cnn().train()
    model.encoder[1].eval()
    model.head.requires_grad_(False)
    with no_trace(model):
        subnetwork = extract(model, random_mask(model), striped_split(), [torch.arange(10)])
    assert [m.training for m in subnetwork.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in subnetwork.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(m.momentum == 0.1 for m in subnetwork.modules() if isinstance(m, nn.BatchNorm2d))


# ---------------------------------------------------------------------------------------------------- BatchNorm anew

BATCHES = [torch.arange(0, 20), torch.arange(20, 29), torch.tensor([3, 3, 40, 50, 59])]


def test_statistics_are_the_plain_mean_over_the_batches() -> None:
    model, split = small_cnn(), striped_split()
    reestimate_batch_norm(model, feed_of(split), BATCHES)
    # Directly: the first BatchNorm of its inputs' moments, the second one of what comes through the first in batches.
    means: list[list[Tensor]] = [[], []]
    variances: list[list[Tensor]] = [[], []]
    convolutions = [m for m in model.encoder if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.encoder if isinstance(m, nn.BatchNorm2d)]
    first_index = list(model.encoder).index(norms[0])
    second_conv = list(model.encoder).index(convolutions[1])
    with torch.no_grad():
        for batch in BATCHES:
            hidden = convolutions[0](TRANSFORM(split.inputs[batch]))
            for level in range(2):
                per_channel = hidden.transpose(0, 1).flatten(1)
                means[level].append(per_channel.mean(1))
                variances[level].append(per_channel.var(1))
                if level == 0:
                    shape = (1, -1, 1, 1)
                    spread = (per_channel.var(1, unbiased=False) + 1e-5).sqrt().view(shape)
                    normalised = (hidden - per_channel.mean(1).view(shape)) / spread
                    hidden = normalised * norms[0].weight.view(shape) + norms[0].bias.view(shape)
                    hidden = model.encoder[first_index + 1 : second_conv + 1](hidden)
    for level in range(2):
        torch.testing.assert_close(norms[level].running_mean, torch.stack(means[level]).mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            norms[level].running_var, torch.stack(variances[level]).mean(0), rtol=1e-4, atol=1e-5
        )
        assert norms[level].num_batches_tracked == 3


@pytest.mark.parametrize(
    "build", [small_cnn, WithActivatedNorm, lambda: build_model("mobilenetv3_small_050", 3, generator=generator())]
)
def test_any_kind_of_batch_norm_is_estimated_anew_and_nothing_else_changes(build: Callable[[], nn.Module]) -> None:
    model, split = randomise(build()).train(), striped_split(size=16)
    model.get_submodule("head" if not hasattr(model, "classifier") else "classifier").eval()
    modes = [m.training for m in model.modules()]
    momenta = [m.momentum for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = copy.deepcopy(model.state_dict())
    reestimate_batch_norm(model, feed_of(split), BATCHES)
    for name, value in model.state_dict().items():
        changes = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, before[name]) != changes, name
    assert [m.training for m in model.modules()] == modes
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert [m.momentum for m in norms] == momenta
    assert any(isinstance(m, BatchNormAct2d) for m in norms) or isinstance(model, SmallCNN)


def test_under_the_mask_the_statistics_are_those_of_the_masked_network() -> None:
    model, split = small_cnn(), striped_split()
    mask = random_mask(model)
    subnetwork = extract(model, mask, split, BATCHES)
    masked = masked_in_evaluation(model, mask)
    with torch.no_grad():
        seen = masked.model.encoder[0]._conv_forward(
            TRANSFORM(split.inputs[BATCHES[0]]), model.encoder[0].weight * mask.tensors["encoder.0.weight"], None
        )
    only = extract(model, mask, split, BATCHES[:1])
    torch.testing.assert_close(only.encoder[1].running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not torch.equal(subnetwork.encoder[1].running_mean, only.encoder[1].running_mean)


def test_dropout_is_off_and_no_random_number_is_drawn() -> None:
    model, split = small_cnn(), striped_split()
    model.encoder.insert(0, nn.Dropout(0.5))
    state = torch.get_rng_state()
    first, again = (extract(model.train(), BinaryMask({}), split, BATCHES) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.encoder[2].running_mean, again.encoder[2].running_mean)


def test_a_network_without_batch_norm_is_not_run() -> None:
    model = randomise(Recurrent())
    model.lstm.register_forward_hook(lambda *_: 1 / 0)
    reestimate_batch_norm(model, feed_of(striped_split()), BATCHES)


class Stumbles(nn.Module):
    def __init__(self, num_calls: int) -> None:
        super().__init__()
        self.body, self.num_calls = small_cnn(), num_calls

    def forward(self, images: Tensor) -> Tensor:
        self.num_calls -= 1
        if self.num_calls < 0:
            raise RuntimeError("on purpose")
        return self.body(images)


def test_an_exception_in_the_middle_leaves_the_users_network_alone() -> None:
    model = Stumbles(1).train()
    with no_trace(model), pytest.raises(RuntimeError, match="on purpose"):
        extract(model, random_mask(model), striped_split(), BATCHES)
    momenta = [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with pytest.raises(RuntimeError, match="on purpose"):
        reestimate_batch_norm(model, feed_of(striped_split()), BATCHES)
    assert [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)] == momenta
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("settings", [{"precision": "bf16-mixed"}, {"channels_last": True}])
def test_precision_and_layout_change_the_digits_only(settings: dict[str, Any]) -> None:
    model, split = small_cnn(), striped_split()
    mask = random_mask(model)
    base = extract(model, mask, split, BATCHES)
    runtime = Runtime(RuntimeConfig(device="cpu", **settings))
    found = extract_subnetwork(runtime.place(small_cnn()), mask, feed_of(split, runtime=runtime), BATCHES)
    tolerance = 0.1 if "precision" in settings else 1e-4
    for name, buffer in base.named_buffers():
        torch.testing.assert_close(dict(found.named_buffers())[name], buffer, rtol=tolerance, atol=tolerance)
    assert found.head.out_features == NUM_CLASSES
