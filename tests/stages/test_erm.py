import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prusc.config import ERMConfig
from prusc.engine.training import one_cycle
from prusc.errors import TrainingError
from prusc.stages.erm import train_erm
from tests.networks import Listener, feed_of, small_cnn, striped_split

CONFIG = ERMConfig(epochs=3, batch_size=16, learning_rate=1e-2)


def trained(seed: int = 0, config: ERMConfig = CONFIG, **options: object) -> nn.Module:
    model = small_cnn()
    train_erm(model, feed_of(striped_split(36)), config, seed=seed, **options)  # type: ignore[arg-type]
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_the_classes_are_learned() -> None:
    split = striped_split(120)
    model = small_cnn()
    feed = feed_of(split)
    inputs = feed.take(torch.arange(len(split)))
    before = F.cross_entropy(model(inputs), split.labels).item()
    train_erm(model, feed, ERMConfig(epochs=6, batch_size=16, learning_rate=3e-3), seed=0)
    with torch.no_grad():
        logits = model.eval()(inputs)
    assert F.cross_entropy(logits, split.labels).item() < 0.5 * before
    assert (logits.argmax(dim=1) == split.labels).double().mean() > 0.9


def test_a_seed_decides() -> None:
    assert same(trained(1), trained(1))
    assert not same(trained(1), trained(2))


def test_every_epoch_is_reported_with_the_steps_and_the_loss() -> None:
    progress, epochs = Listener(), []
    trained(progress=progress, after_epoch=epochs.append)
    # 36 samples in batches of 16: 16, 16 and 4.
    assert progress.steps == [("ERM training", step, 9) for step in range(1, 10)]
    assert epochs == [1, 2, 3]
    assert [line.partition(", loss ")[0] for line in progress.lines] == [f"erm: epoch {n} of 3" for n in (1, 2, 3)]
    assert all(0 < float(line.partition(", loss ")[2]) < 20 for line in progress.lines)


def test_fewer_epochs_are_the_first_ones_of_the_whole_schedule() -> None:
    states: dict[int, dict[str, torch.Tensor]] = {}
    model = small_cnn()

    def keep(epoch: int) -> None:
        states[epoch] = copy.deepcopy(model.state_dict())

    train_erm(model, feed_of(striped_split(36)), CONFIG, seed=0, after_epoch=keep)
    progress = Listener()
    early = trained(num_epochs=2, progress=progress)
    assert all(torch.equal(value, states[2][key]) for key, value in early.state_dict().items())
    assert progress.steps[-1] == ("ERM training", 6, 6)
    assert progress.lines[-1].startswith("erm: epoch 2 of 2, ")
    assert same(trained(num_epochs=0), small_cnn()), "no epoch, no change"


def test_the_first_step_is_adamw_on_the_cross_entropy_of_the_first_batch() -> None:
    # One batch that holds everything, so that its order does not matter; one epoch is one step.
    split, config = striped_split(12), ERMConfig(epochs=1, batch_size=12, learning_rate=1e-2, weight_decay=0.1)
    model, ours = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    ours.load_state_dict(model.state_dict())
    feed = feed_of(split)
    train_erm(model, feed, config, seed=0)
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-2 * one_cycle(0, 1), weight_decay=0.1)
    F.cross_entropy(ours(feed.take(torch.arange(12))), split.labels).backward()
    optimizer.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_it() -> None:
    model = small_cnn()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"ERM training: the loss is nan at step 1; try a lower learning rate"):
        train_erm(model, feed_of(striped_split(36)), CONFIG, seed=0)
