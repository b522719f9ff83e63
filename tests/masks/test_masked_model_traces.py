"""The wrapped network is called as it is, and left as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from prusc.masks import MaskedModel, module_modes
from tests.masks.cases import make, scatter_logits
from tests.networks import generator, random_sequences
from tests.traces import no_trace


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
