"""Learning of functions' masks: the gradient, what is found, traces, and bad functions."""

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from prusc.config import FunctionMaskConfig
from prusc.errors import ConfigError, DataError, ModelError, TrainingError
from prusc.masks import MaskedModel
from prusc.masks.gumbel_sigmoid import _uniform_like
from prusc.stages.modularity import IGNORED, Examples, learn_function_masks
from prusc.stages.modularity.learning import accumulate_gradients
from tests.masks.cases import EVERY_SMALL_NETWORK, make
from tests.networks import (
    NUM_CLASSES,
    Listener,
    feed_of,
    generator,
    small_cnn,
    striped_split,
)
from tests.reference import modularity as reference
from tests.stages.modularity.cases import TwoBlocks, block_masks, questions, two_functions
from tests.traces import no_trace

QUICK = FunctionMaskConfig(steps=3, batch_size=8, mask_samples=2, require_skill=False)


@pytest.mark.parametrize("clip", [1e-3, 100.0])
def test_the_gradient_is_that_of_the_slow_twin(clip: float) -> None:
    model, data = TwoBlocks(), two_functions(12)["second"]
    config = FunctionMaskConfig(batch_size=12, mask_samples=3, sparsity=0.5, clip=clip)
    masked = MaskedModel(model, initial_logit=0.3, generator=generator(4), train_network=False)
    found = accumulate_gradients(masked, "second", data.inputs, data.labels, config)
    source = generator(4)
    weights = [model.first.weight.detach(), model.last.weight.detach()]
    uniforms = [[_uniform_like(weight, source) for weight in weights] for _ in range(3)]

    def forward(masked_weights: list[Tensor], inputs: Tensor) -> Tensor:
        return functional_call(
            model, dict(zip(("first.weight", "last.weight"), masked_weights, strict=True)), (inputs,)
        )

    logits = [torch.full_like(weight, 0.3) for weight in weights]
    assert isinstance(data.inputs, Tensor)
    cross_entropy, gradients = reference.mask_gradients(
        forward, weights, logits, uniforms, data.inputs, data.labels, sparsity=0.5, clip=clip
    )
    assert float(found) == pytest.approx(cross_entropy, rel=1e-5)
    for own, expected in zip(masked.mask_logits, gradients, strict=True):
        # The slope of a mask is kept in half precision.
        torch.testing.assert_close(own.grad, expected, rtol=2e-3, atol=1e-6)


def test_each_function_keeps_its_own_block() -> None:
    model = TwoBlocks()
    config = FunctionMaskConfig(steps=120, batch_size=64, learning_rate=0.1, sparsity=0.3)
    with no_trace(model):
        found = learn_function_masks(model, two_functions(256), config)
    assert list(found) == ["first", "second"]
    for name, expected in block_masks().items():
        for layer, needed in expected.tensors.items():
            kept = found[name].tensors[layer]
            # Either half of a pair of opposite units answers the question.
            assert not bool((kept & ~needed).any()), (name, layer)
            assert bool(kept.any())
    entries = found.history["first"]
    assert [entry.step for entry in entries] == [6 * (index + 1) for index in range(20)]
    assert entries[-1].density == pytest.approx(found["first"].density)
    assert found.left_out == ()


@EVERY_SMALL_NETWORK
def test_any_network_is_left_as_it_was_and_the_same_seed_gives_the_same_masks(name: str) -> None:
    model, inputs = make(name)
    model.train()
    data = {"all": Examples(inputs, torch.arange(len(inputs)) % NUM_CLASSES)}
    with no_trace(model):
        masks = [learn_function_masks(model, data, QUICK, generator=generator(seed))["all"] for seed in (0, 0, 1)]
    logits = [torch.cat([kept.flatten() for kept in mask.tensors.values()]) for mask in masks]
    assert torch.equal(logits[0], logits[1])
    assert all(f"{left}.weight" not in masks[0].tensors for left in ("norm",))


def test_dropout_is_off_and_batch_norm_uses_its_stored_statistics() -> None:
    seen: list[tuple[bool, float]] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, num_layers=2, dropout=0.9, batch_first=True)
            self.norm, self.drop, self.head = nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            seen.append((self.norm.training or self.drop.training, self.lstm.dropout))
            return self.head(self.drop(self.norm(self.lstm(inputs)[0][:, -1])))

    model = Watching().train()
    inputs = torch.randn(8, 5, 3, generator=generator())
    masked = MaskedModel(model, initial_logit=100.0, generator=generator(), train_network=False)
    with no_trace(model):
        found = masked(inputs)
    torch.testing.assert_close(found, copy.deepcopy(model).eval()(inputs))
    assert seen[0] == (False, 0.0)
    assert model.lstm.dropout == 0.9


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
def test_recurrent_layers_of_every_kind_learn(kind: type[nn.RNNBase]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = kind(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, sequences: Tensor) -> Tensor:
            return self.head(self.body(sequences)[0])

    model = Net()
    inputs = torch.randn(16, 5, 3, generator=generator())
    data = {"each step": Examples({"sequences": inputs}, (inputs.sum(-1) > 0).long())}
    found = learn_function_masks(
        model, data, FunctionMaskConfig(steps=30, learning_rate=1.0, sparsity=10.0, batch_size=16, require_skill=False)
    )
    assert list(found["each step"].tensors) == ["body.weight_ih_l0", "body.weight_hh_l0", "head.weight"]
    assert all(density < 1 for density in found["each step"].density_per_layer.values())
    assert found.left_out == ("body.bias_ih_l0", "body.bias_hh_l0", "head.bias")


def test_a_split_and_a_feed_learn_the_same() -> None:
    split, model = striped_split(40), small_cnn()
    masks = [
        learn_function_masks(model, {"all": data}, QUICK, generator=generator())["all"]
        for data in (feed_of(split), Examples(feed_of(split).take(torch.arange(40)), split.labels))
    ]
    assert all(torch.equal(kept, masks[1].tensors[layer]) for layer, kept in masks[0].tensors.items())


def test_progress_is_reported() -> None:
    listener = Listener()
    learn_function_masks(TwoBlocks(), two_functions(), QUICK, progress=listener)
    assert listener.steps == [(f"mask of {name}", step, 3) for name in ("first", "second") for step in (1, 2, 3)]


def bad_functions() -> dict[str, tuple[Mapping[str, Examples], type[Exception], str]]:
    both = questions()
    right = both.only_outputs(slice(0, 1))
    assert isinstance(both.inputs, Tensor)
    coin = torch.randint(2, both.labels.shape, generator=generator(7))
    return {
        "none": ({}, DataError, "no function was given"),
        "empty": ({"x": both.subset(torch.arange(0))}, DataError, "function 'x' has no samples"),
        "ignored": ({"x": right.only_outputs(slice(1, 2))}, DataError, "all outputs of function 'x' are ignored"),
        "one class": ({"x": Examples(both.inputs, torch.ones_like(both.labels))}, DataError, "have class 1"),
        "shape": ({"x": Examples(both.inputs, both.labels[:, 0])}, ModelError, "for labels of shape"),
        "range": ({"x": Examples(both.inputs, 2 * both.labels)}, DataError, "label 2 is out of range"),
        "negative": ({"x": Examples(both.inputs, both.labels - 1)}, DataError, "label -1 is out of range"),
        "chance": ({"x": Examples(both.inputs, coin)}, ModelError, "no better than chance on function 'x'"),
    }


@pytest.mark.parametrize("case", bad_functions())
def test_a_bad_function_is_one_clear_error(case: str) -> None:
    functions, error, message = bad_functions()[case]
    model = TwoBlocks()
    with no_trace(model), pytest.raises(error, match=message):
        learn_function_masks(model, functions, FunctionMaskConfig(steps=1, batch_size=8))


def test_a_function_at_chance_can_be_allowed() -> None:
    functions, _, _ = bad_functions()["chance"]
    assert len(learn_function_masks(TwoBlocks(), functions, QUICK)) == 1


def test_skill_is_the_mean_recall_and_not_the_share_of_the_largest_class() -> None:
    inputs = torch.cat([torch.full((190, 2), -1.0), torch.full((10, 2), 1.0)])
    labels = torch.full((200, 2), IGNORED)
    labels[:, 0] = (inputs[:, 0] > 0).long()
    blind = TwoBlocks()
    with torch.no_grad():
        blind.last.weight[1] = 0
    learn_function_masks(TwoBlocks(), {"rare": Examples(inputs, labels)}, FunctionMaskConfig(steps=1))
    with pytest.raises(ModelError, match=r"mean recall over 2 classes is 50.0 %"):
        learn_function_masks(blind, {"rare": Examples(inputs, labels)}, FunctionMaskConfig(steps=1))


def test_other_errors() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> list[Tensor]:
            return [self.layer(inputs)]

    data = {"x": Examples(torch.randn(8, 2), torch.arange(8) % 2)}
    with pytest.raises(ModelError, match="this one returned list"):
        learn_function_masks(Odd(), data, QUICK)
    with pytest.raises(DataError, match="inputs has 3 samples and labels 2"):
        Examples(torch.zeros(3, 1), torch.arange(2))
    endless = {"x": Examples(torch.full((8, 2), float("inf")), torch.arange(16).view(8, 2) % 2)}
    with pytest.raises(TrainingError, match="mask learning of function 'x'"):
        learn_function_masks(TwoBlocks(), endless, QUICK)
    with pytest.raises(ConfigError, match=r"mask_samples must be in 1..batch_size \(2\), found 4"):
        FunctionMaskConfig(batch_size=2)
