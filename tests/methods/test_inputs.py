import pytest
import torch
from torch import nn

from prusc.engine.feed import Feed
from prusc.engine.training import Schedule
from prusc.methods import MethodInputs
from tests.methods.inputs import make_inputs


@pytest.fixture(scope="module")
def inputs() -> MethodInputs:
    return make_inputs("erm")


def test_every_step_has_its_own_randomness_in_every_run(inputs: MethodInputs) -> None:
    def draw(own: MethodInputs, name: str) -> list[float]:
        return torch.rand(4, generator=own.generator(name)).tolist()

    assert draw(inputs, "a") == draw(inputs, "a") != draw(inputs, "b")
    other = make_inputs("jtt")
    assert draw(other, "a") != draw(inputs, "a")


def test_networks_are_copies(inputs: MethodInputs) -> None:
    for network, original in ((inputs.erm_network(), inputs.trained), (inputs.new_network(), inputs.untrained)):
        for own, value in zip(network.parameters(), original.parameters(), strict=True):
            assert torch.equal(own, value)
            assert own.data_ptr() != value.data_ptr()
    assert not torch.equal(inputs.trained.head.weight, inputs.untrained.head.weight)


def test_what_settings_share_is_made_once(inputs: MethodInputs) -> None:
    made: list[str] = []

    def make() -> list[str]:
        made.append("again")
        return made

    assert inputs.once("a", make) is inputs.once("a", make)
    assert made == ["again"]
    inputs.once("b", make)
    assert made == ["again", "again"]


def test_a_share_of_the_steps_of_erm_is_at_least_one_step(inputs: MethodInputs) -> None:
    whole = inputs.config.erm.epochs * inputs.steps_per_epoch
    assert [inputs.num_steps(share) for share in (1.0, 0.5, 1e-6)] == [whole, whole // 2, 1]


def test_an_epoch_has_every_sample_once(inputs: MethodInputs) -> None:
    schedule = inputs.epochs("any", 2)
    batches = list(schedule.batches)
    assert len(batches) == schedule.num_steps == 2 * inputs.steps_per_epoch
    assert max(map(len, batches)) == inputs.config.erm.batch_size
    assert torch.cat(batches).sort().values.tolist() == sorted([*range(len(inputs.train))] * 2)
    chosen = torch.tensor([7, 7, 3])
    assert torch.cat(list(inputs.epochs("any", 1, chosen).batches)).sort().values.tolist() == [3, 7, 7]
    assert (schedule.learning_rate, schedule.weight_decay) == (
        inputs.config.erm.learning_rate,
        inputs.config.erm.weight_decay,
    )


def test_draws_follow_the_weights(inputs: MethodInputs) -> None:
    weights = torch.zeros(len(inputs.train))
    weights[[2, 5]] = torch.tensor([1.0, 3.0])
    drawn = torch.cat(list(inputs.draws("any", 100, weights).batches))
    assert len(drawn) == 100 * inputs.config.erm.batch_size
    assert drawn.unique().tolist() == [2, 5]
    # 1,600 draws at a chance of 3/4: five standard errors are 0.054.
    assert (drawn == 5).double().mean().item() == pytest.approx(0.75, abs=0.054)


def test_fitting_trains_in_place_as_the_settings_say(inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float, object]] = []

    def spy(_model: nn.Module, feed: Feed, schedule: Schedule, **_: object) -> None:
        asked.append((schedule.learning_rate, schedule.weight_decay, feed.split))

    monkeypatch.setattr("prusc.methods.inputs.train_weights", spy)
    network, erm = inputs.new_network(), inputs.config.erm
    assert inputs.fit(network, inputs.epochs("any", 1), "test") is network
    inputs.fit(network, inputs.epochs("any", 1), "test", split=inputs.val, learning_rate=0.5, total_decay=0.0)
    assert asked == [(erm.learning_rate, erm.weight_decay, inputs.train_feed.split), (0.5, 0.0, inputs.val)]


def test_settings_that_identify_alike_share_one_early_network(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("jtt")
    trained: list[int] = []

    def leave(_self: MethodInputs, model: nn.Module, schedule: Schedule, *_: object, **__: object) -> nn.Module:
        trained.append(schedule.num_steps)
        return model

    monkeypatch.setattr(MethodInputs, "fit", leave)
    first = inputs.early_view("JTT", 1)
    assert inputs.early_view("JTT", 1) is first
    assert inputs.early_view("JTT", 2) is not first
    assert inputs.early_view("JTT", 1, total_decay=1.0) is not first
    assert trained == [inputs.steps_per_epoch, 2 * inputs.steps_per_epoch, inputs.steps_per_epoch]
    # The network is left as it begins; the view is of the whole training split, in its order.
    assert first.labels.tolist() == inputs.train.labels.tolist()
    torch.testing.assert_close(first.logits, inputs.represent(inputs.untrained, inputs.train).logits)
