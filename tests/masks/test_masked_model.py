import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError
from prusc.masks import BinaryMask, MaskedModel, apply_mask, maskable_parameters, module_modes
from tests.networks import (
    Attentive,
    ConvNet,
    Recurrent,
    Tied,
    generator,
    random_images,
    random_sequences,
    randomise,
    resnet18,
    small_cnn,
    vit_tiny,
)
from tests.traces import no_trace

SMALL: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "convolutions": (ConvNet, random_images(4, 5, 2)),
    "lstm": (Recurrent, random_sequences(4)),
    "tied": (Tied, torch.tensor([[0, 1, 2], [3, 4, 4], [1, 0, 3]])),
    "attention": (Attentive, random_sequences(4)[..., :1].expand(-1, -1, 4) * torch.tensor([1.0, -2.0, 0.5, 3.0])),
}
LARGE: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "resnet18": (resnet18, random_images(8, 96)),
    "vit_tiny": (vit_tiny, random_images(4, 32)),
}
EVERY_SMALL_NETWORK = pytest.mark.parametrize("name", SMALL)
EVERY_NETWORK = pytest.mark.parametrize("name", [*SMALL, *LARGE])


def make(name: str) -> tuple[nn.Module, Tensor]:
    build, inputs = {**SMALL, **LARGE}[name]
    return randomise(build()), inputs


def scatter_logits(masked: MaskedModel, seed: int = 3) -> None:
    source = generator(seed)
    for logits in masked.mask_logits:
        logits.data = torch.randn(logits.shape, generator=source)


@EVERY_NETWORK
def test_the_gradient_reaches_every_mask_logit(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model, initial_logit=1.0, generator=generator())
    reached = {name: torch.zeros_like(w, dtype=torch.bool) for name, w in maskable_parameters(model).items()}
    with no_trace(model):
        for _ in range(3):
            # Pass by pass: among ten million sums of three gradients one may be 0 by chance.
            masked.zero_grad()
            outputs = masked(inputs)
            (outputs * torch.randn(outputs.shape, generator=generator(2))).sum().backward()
            for parameter, logits in zip(masked.parameter_names, masked.mask_logits, strict=True):
                assert logits.grad is not None, parameter
                assert logits.grad.isfinite().all(), parameter
                reached[parameter] |= logits.grad != 0
    assert {parameter: int((~entries).sum()) for parameter, entries in reached.items()} == dict.fromkeys(reached, 0)


@EVERY_SMALL_NETWORK
def test_each_masked_weight_changes_the_output(name: str) -> None:
    model, inputs = make(name)
    model = model.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    masked = MaskedModel(model, initial_logit=1.0).eval()
    whole = masked(inputs)
    num_flipped = 0
    for logits in masked.mask_logits:
        for index in range(logits.numel()):
            logits.data.view(-1)[index] = -1
            assert (masked(inputs) - whole).abs().max() > 1e-12, (masked.parameter_names, index)
            logits.data.view(-1)[index] = 1
            num_flipped += 1
    assert num_flipped == masked.num_masked
    assert torch.equal(masked(inputs), whole)


@EVERY_NETWORK
def test_evaluation_mode_is_the_network_with_the_thresholded_mask(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model).eval()
    torch.testing.assert_close(masked(inputs), model(inputs), rtol=1e-5, atol=1e-6)
    scatter_logits(masked)
    baked = copy.deepcopy(model)
    apply_mask(baked, masked.binary_mask())
    found = masked(inputs)
    assert torch.equal(found, masked(inputs))
    torch.testing.assert_close(found, baked(inputs), rtol=1e-5, atol=1e-5)
    assert (found - model(inputs)).abs().max() > 1e-3


@EVERY_NETWORK
def test_training_mode_draws_a_new_mask_each_time(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model, generator=generator(1))
    again = MaskedModel(model, generator=generator(1))
    with no_trace(model):
        first, second = masked(inputs), masked(inputs)
        assert torch.equal(again(inputs), first)
    assert (first - second).abs().max() > 1e-4
    assert masked.training
    assert not model.training


def test_training_mode_uses_exactly_the_sampled_weights() -> None:
    model = nn.Sequential(nn.Linear(30, 1, bias=False))
    masked = MaskedModel(model, generator=generator(1))
    kept = masked(torch.eye(30)).squeeze(1) != 0
    assert 5 < kept.sum() < 25
    again = MaskedModel(model, generator=generator(1))
    torch.testing.assert_close(again(torch.eye(30)).squeeze(1), torch.where(kept, model[0].weight[0], 0.0))


def test_the_keep_rate_follows_the_logit_at_the_models_temperature() -> None:
    model = nn.Sequential(nn.Linear(100_000, 1, bias=False))
    model[0].weight.data.fill_(1)
    for temperature in (0.2, 2.0):
        masked = MaskedModel(model, initial_logit=1.0, temperature=temperature, generator=generator())
        share = masked(torch.ones(1, 100_000)).item() / 100_000
        assert share == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=5 * 0.45 / 100_000**0.5)


def test_the_temperature_reaches_the_gradient() -> None:
    model, inputs = make("convolutions")
    slopes = []
    for temperature in (1.0, 4.0):
        masked = MaskedModel(model, temperature=temperature, generator=generator())
        masked(inputs).square().sum().backward()
        slopes.append(masked.mask_logits[0].grad)
    assert (slopes[0] - slopes[1]).abs().max() > 1e-3 * slopes[0].abs().max()


def test_the_binary_mask_keeps_logits_of_zero_and_more() -> None:
    masked = MaskedModel(nn.Linear(5, 1))
    masked.mask_logits[0].data = torch.tensor([[-2.0, -1e-8, 0.0, 1e-8, 2.0]])
    mask = masked.binary_mask()
    assert list(mask.tensors) == ["weight"]
    assert mask.tensors["weight"].dtype == torch.bool
    assert mask.tensors["weight"].tolist() == [[False, False, True, True, True]]
    assert mask.density == pytest.approx(0.6)


def test_its_parameters_are_the_logits_alone() -> None:
    model, _ = make("convolutions")
    masked = MaskedModel(model, initial_logit=-0.5)
    assert masked.parameter_names == ("conv.weight", "depthwise.weight", "head.weight")
    assert [tuple(p.shape) for p in masked.parameters()] == [(3, 2, 3, 3), (3, 1, 2, 2), (3, 3)]
    assert all((p == -0.5).all() and p.requires_grad for p in masked.parameters())
    assert masked.num_masked == 54 + 12 + 9
    assert list(masked.state_dict()) == ["mask_logits.0", "mask_logits.1", "mask_logits.2"]
    assert masked.model is model
    assert model not in masked.modules()


def test_the_logits_of_a_channels_last_weight_lie_in_the_usual_order() -> None:
    model = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)
    assert MaskedModel(model).mask_logits[0].is_contiguous()


@EVERY_NETWORK
def test_masks_cover_weights_and_never_biases_norms_or_embeddings(name: str) -> None:
    model, _ = make(name)
    for parameter in maskable_parameters(model):
        module = model.get_submodule(parameter.rpartition(".")[0])
        assert "weight" in parameter.rpartition(".")[2]
        assert isinstance(module, nn.Linear | nn.Conv2d | nn.LSTM | nn.MultiheadAttention) or name == "tied"
        assert maskable_parameters(model)[parameter].ndim >= 2
    if name == "lstm":
        expected = [f"lstm.weight_{k}_l{n}{r}" for n in (0, 1) for r in ("", "_reverse") for k in ("ih", "hh", "hr")]
        assert list(maskable_parameters(model)) == [*expected, "head.weight"]
    if name == "attention":
        attention = ["layer.self_attn.in_proj_weight", "layer.self_attn.out_proj.weight"]
        assert list(maskable_parameters(model)) == [
            *attention,
            "layer.linear1.weight",
            "layer.linear2.weight",
            "head.weight",
        ]


def test_a_shared_weight_has_one_mask_and_wears_it_everywhere() -> None:
    model, tokens = make("tied")
    masked = MaskedModel(model).eval()
    assert masked.parameter_names == ("embedding.weight", "first.weight", "head.weight")
    masked.mask_logits[1].data = torch.where(torch.eye(4).bool(), 1.0, -1.0)
    baked = copy.deepcopy(model)
    with torch.no_grad():
        baked.first.weight.mul_(torch.eye(4))
    assert baked.second.weight is baked.first.weight
    torch.testing.assert_close(masked(tokens), baked(tokens))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_computes_with_its_own_weights_afterwards(kind: type[nn.RNNBase]) -> None:
    # Such a layer keeps a second list of its weights, for the kernel.
    model, inputs = kind(3, 4, batch_first=True), random_sequences(2)
    before = model(inputs)[0]
    masked = MaskedModel(model, generator=generator())
    assert (masked(inputs)[0] - before).abs().max() > 1e-3
    assert torch.equal(model(inputs)[0], before)
    masked(inputs)
    assert torch.equal(copy.deepcopy(model)(inputs)[0], before)


def test_patterns_choose_the_masked_layers() -> None:
    model = small_cnn()
    every = ["encoder.0.weight", "encoder.3.weight", "encoder.6.weight", "head.weight"]
    assert list(maskable_parameters(model)) == every
    assert list(maskable_parameters(model, include=("encoder.*",))) == every[:3]
    assert list(maskable_parameters(model, include=("head.*", "encoder.0.weight"))) == [every[0], every[3]]
    assert list(maskable_parameters(model, exclude=("encoder.0.*", "head.*"))) == every[1:3]
    masked = MaskedModel(model, include=("encoder.*",), exclude=("encoder.0.*",))
    assert masked.parameter_names == tuple(every[1:3])


def test_what_no_pattern_chose_stays_whole() -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model, include=("head.*",), initial_logit=-1.0).eval()
    assert torch.equal(masked(inputs), model.head.bias.expand(4, -1))


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ({"include": ("encodr.*",)}, ConfigError, "'encodr.*' matches no weight; the weights are encoder.0.weight"),
        ({"exclude": ("encoder.1.*",)}, ConfigError, "'encoder.1.*' matches no weight"),
        ({"exclude": ("*",)}, ModelError, "SmallCNN has no weight to mask"),
        ({"include": ()}, ModelError, "no weight to mask"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(
    patterns: dict[str, tuple[str, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("*", r"\*")):
        MaskedModel(small_cnn(), **patterns)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ModelError, match="ReLU has no weight to mask"):
        MaskedModel(nn.ReLU())


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_has_to_be_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match=f"greater than 0, found {temperature}"):
        MaskedModel(nn.Linear(2, 2), temperature=temperature)


def test_batch_norm_gathers_its_statistics_in_the_masked_model_only() -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model, initial_logit=20.0, generator=generator())
    with no_trace(model):
        masked(inputs)
        masked(inputs)
    trained = copy.deepcopy(model).train()
    trained(inputs)
    trained(inputs)
    mean, var, count = masked.buffers()
    torch.testing.assert_close(mean, trained.norm.running_mean)
    torch.testing.assert_close(var, trained.norm.running_var)
    assert count == 7 + 2


class Mode(nn.Module):
    """Remember the mode of each call; fail when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.seen: list[bool] = []

    def forward(self, inputs: Tensor, *, fail: bool = False) -> Tensor:
        self.seen.append(self.training)
        if fail:
            raise RuntimeError("on purpose")
        return self.linear(inputs)


def test_each_module_is_in_the_masked_models_mode_during_a_call_and_in_its_own_afterwards() -> None:
    model = nn.Sequential(Mode(), Mode())
    model[0].train()
    model[1].eval()
    masked = MaskedModel(model)
    masked(torch.ones(1, 2))
    masked.eval()(torch.ones(1, 2))
    assert [mode.seen for mode in model] == [[True, False], [True, False]]
    assert [mode.training for mode in model] == [True, False]


@pytest.mark.parametrize("training", [True, False])
def test_an_exception_in_the_network_leaves_no_trace(training: bool) -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.norm, self.mode = nn.LSTM(2, 2), nn.BatchNorm1d(2), Mode()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.mode(self.norm(self.lstm(inputs)[0]), fail=True)

    model = Failing().train()
    model.norm.eval()
    masked = MaskedModel(model, generator=generator()).train(training)
    with no_trace(model), pytest.raises(RuntimeError, match="on purpose"):
        masked(torch.ones(3, 2))


def test_module_modes_come_back_after_an_exception() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    model[1].eval()
    model[1][0].train()
    before = [module.training for module in model.modules()]
    for training in (True, False):
        with pytest.raises(KeyError), module_modes(model, training):  # noqa: PT012
            assert {module.training for module in model.modules()} == {training}
            raise KeyError
        assert [module.training for module in model.modules()] == before


def test_arguments_and_results_of_any_kind_pass_through() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, first: Tensor, *, second: Tensor) -> dict[str, Tensor]:
            return {"sum": self.linear(first) + second}

    masked = MaskedModel(Odd(), initial_logit=-1.0).eval()
    found = masked(torch.ones(1, 2), second=torch.full((1, 2), 5.0))
    assert torch.equal(found["sum"], masked.model.linear.bias + torch.full((1, 2), 5.0))


def test_hooks_of_the_network_are_called() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    shapes: list[tuple[int, ...]] = []
    model[0].register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    MaskedModel(model)(torch.ones(3, 2))
    assert shapes == [(3, 2)]


def test_it_can_be_copied_after_a_step() -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model)
    masked(inputs).sum().backward()
    twin = copy.deepcopy(masked).eval()
    scatter_logits(twin)
    assert twin.model is not model
    assert (masked.mask_logits[0] == 0).all()


def test_weights_in_training_elsewhere_get_no_gradient() -> None:
    model, inputs = make("convolutions")
    assert all(parameter.requires_grad for parameter in model.parameters())
    MaskedModel(model)(inputs).sum().backward()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_pass_through_autocast_in_32_bits(dtype: torch.dtype) -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model, generator=generator())
    with torch.autocast("cpu", dtype=dtype):
        outputs = masked(inputs)
    assert outputs.dtype == dtype
    outputs.float().square().sum().backward()
    exact = MaskedModel(model, generator=generator())
    exact(inputs).square().sum().backward()
    for found, expected in zip(masked.mask_logits, exact.mask_logits, strict=True):
        assert found.grad is not None
        assert expected.grad is not None
        assert found.grad.dtype == torch.float32
        assert nn.functional.cosine_similarity(found.grad.flatten(), expected.grad.flatten(), dim=0) > 0.99


def test_a_mask_moves_to_another_network_of_the_same_shape() -> None:
    masked = MaskedModel(small_cnn(0))
    scatter_logits(masked)
    other = small_cnn(1)
    apply_mask(other, masked.binary_mask())
    assert isinstance(masked.binary_mask(), BinaryMask)
    assert (other.head.weight == 0).sum() == (masked.mask_logits[3] < 0).sum() > 0
