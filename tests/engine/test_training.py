import copy
import math
from dataclasses import replace
from pathlib import Path
from threading import current_thread
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import RuntimeConfig
from prusc.data.images import ImageFiles
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.engine.training import Schedule, check_finite, epoch_batches, num_epoch_batches, one_cycle, train_weights
from prusc.errors import TrainingError
from prusc.masks import BinaryMask, apply_mask
from tests.networks import (
    NUM_CLASSES,
    TRANSFORM,
    Recurrent,
    feed_of,
    generator,
    make_split,
    randomise,
    small_cnn,
    striped_split,
)
from tests.traces import no_trace


def cpu(**settings: Any) -> Runtime:
    return Runtime(RuntimeConfig(**{"device": "cpu", "channels_last": False, **settings}))


def train(
    model: nn.Module,
    split: Split | None = None,
    *,
    steps: int = 5,
    batch_size: int = 20,
    seed: int = 0,
    runtime: Runtime | None = None,
    **settings: Any,
) -> nn.Module:
    split = split or striped_split()
    source = generator(seed)
    batches = [torch.randint(0, len(split), (batch_size,), generator=source) for _ in range(steps)]
    rates = {name: settings.pop(name, 1e-2) for name in ("learning_rate", "weight_decay")}
    feed = feed_of(split, settings.pop("transform", TRANSFORM), runtime)
    train_weights(model, feed, Schedule(batches, steps, **rates), generator=source, name="fine-tuning", **settings)
    return model


# ------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("num_samples", [1, 2, 7, 8, 9, 12, 13])
@pytest.mark.parametrize("batch_size", [2, 4, 100])
def test_an_epoch_shows_every_sample_once(num_samples: int, batch_size: int) -> None:
    batches = list(epoch_batches(num_samples, batch_size, generator(1)))
    shown = torch.cat(batches).tolist()
    lonely = num_samples > 1 and num_samples % batch_size == 1
    assert len(set(shown)) == len(shown) == num_samples - lonely
    assert set(shown) <= set(range(num_samples))
    assert len(batches) == num_epoch_batches(num_samples, batch_size)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert num_samples == 1 or all(len(batch) > 1 for batch in batches)


def test_the_order_of_an_epoch_is_random_and_decided_by_the_generator() -> None:
    state = torch.get_rng_state()
    orders = [torch.cat(list(epoch_batches(50, 8, generator(seed)))).tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_learning_rate_rises_over_a_tenth_and_falls_like_half_a_cosine() -> None:
    shares = [one_cycle(step, 100) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert shares[10] == 1
    assert shares[55] == pytest.approx(0.5)
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 0.001
    assert one_cycle(0, 1) == one_cycle(0, 5) == 1


# ------------------------------------------------------------------------------------------------------------- training


def test_it_equals_a_plain_loop() -> None:
    model, split = small_cnn().train(), striped_split()
    twin = copy.deepcopy(model)
    losses: list[float] = []
    train(model, split, after_step=lambda step, loss: losses.append(loss))

    source, expected = generator(), []
    batches = [torch.randint(0, 60, (20,), generator=source) for _ in range(5)]
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=1e-2)
    for step, batch in enumerate(batches):
        # Five steps: no start, then half a cosine after the first.
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 if step == 0 else (1 + math.cos(math.pi * (step - 1) / 4)) / 2)
        loss = F.cross_entropy(twin((split.inputs[batch] / 255 - 0.5) / 0.25), split.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-4)
    for (name, found), value in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_it_learns() -> None:
    split = striped_split()
    model = train(small_cnn(), split, steps=40)
    accuracy = (model(TRANSFORM(split.inputs)).argmax(1) == split.labels).float().mean()
    assert accuracy > 0.9


def test_pruned_weights_stay_zero_and_all_others_move() -> None:
    model = small_cnn()
    mask = BinaryMask(
        {n: torch.rand(p.shape, generator=generator()) < 0.5 for n, p in model.named_parameters() if p.ndim > 1}
    )
    apply_mask(model, mask)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(model, mask=mask, weight_decay=0.0)
    for name, parameter in model.named_parameters():
        kept = mask.tensors.get(name, torch.ones_like(parameter, dtype=torch.bool))
        assert (parameter[~kept] == 0).all(), name
        # A unit that never fires has no gradient.
        assert (parameter[kept] != before[name][kept]).float().mean() > 0.8, name


def test_without_the_mask_pruned_weights_would_come_back() -> None:
    model = small_cnn()
    mask = BinaryMask({"head.weight": torch.zeros(3, 128, dtype=torch.bool)})
    apply_mask(model, mask)
    assert (train(model).head.weight != 0).any()


def test_frozen_weights_and_the_modes_of_modules_stay() -> None:
    model = small_cnn()
    model.encoder.requires_grad_(False)
    model.encoder[1].train()
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model)
    seen: list[bool] = []
    handle = model.encoder.register_forward_hook(lambda module, *_: seen.append(module.training))
    train(model)
    handle.remove()
    assert seen == [True] * 5
    assert [module.training for module in model.modules()] == modes
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name)) == name.startswith("encoder")
    assert not torch.equal(model.encoder[1].running_mean, before.encoder[1].running_mean)


def test_the_generator_alone_decides_and_global_randomness_is_left_alone() -> None:
    augmenting = InputTransform(TRANSFORM.mean, TRANSFORM.std, flip=True, min_crop_scale=0.5)
    heads = []
    for global_seed in (1, 2):
        model = small_cnn()
        model.encoder.append(nn.Dropout(0.3))
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            state = torch.get_rng_state()
            train(model, transform=augmenting)
            assert torch.equal(torch.get_rng_state(), state)
        heads.append(model.head.weight)
    assert torch.equal(heads[0], heads[1])
    model = small_cnn()
    model.encoder.append(nn.Dropout(0.3))
    assert not torch.equal(train(model).head.weight, heads[0])


def test_each_step_is_told() -> None:
    steps: list[int] = []
    train(small_cnn(), after_step=lambda step, loss: steps.append(step))
    assert steps == [1, 2, 3, 4, 5]


def test_recurrent_networks_are_trained() -> None:
    labels = torch.arange(30) % NUM_CLASSES
    sequences = torch.eye(3)[labels][:, None].repeat(1, 6, 1)
    model = train(randomise(Recurrent()), make_split(sequences, labels), steps=80)
    assert (model(sequences).argmax(1) == labels).float().mean() > 0.9


# -------------------------------------------------------------------------------------------------------------- failure


def nan_split(index: int) -> Split:
    split = striped_split()
    spoiled = make_split(TRANSFORM(split.inputs), split.labels)
    # A split refuses such a number at the door, so it comes in afterwards.
    spoiled.inputs[index] = torch.nan
    return spoiled


def test_a_loss_that_is_no_number_names_the_stage_and_the_step_and_is_not_learned_from() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, NUM_CLASSES)).eval()
    split = nan_split(40)
    batches = [torch.arange(0, 20), torch.arange(20, 40), torch.arange(40, 60), torch.arange(0, 20)]
    state = torch.get_rng_state()
    schedule = Schedule(iter(batches), 4, learning_rate=1e-3, weight_decay=0.0)
    with pytest.raises(TrainingError, match=r"ERM: the loss is nan at step 3; try a lower learning rate, .* 32-true"):
        train_weights(model, feed_of(split), schedule, generator=generator(), name="ERM")
    assert model[1].weight.isfinite().all()
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_losses_pass(value: float) -> None:
    check_finite(torch.tensor(1.5), 0, "ERM")
    with pytest.raises(TrainingError, match=f"ERM: the loss is {value} at step 8"):
        check_finite(torch.tensor(value), 7, "ERM")


def test_an_exception_at_the_first_step_leaves_no_trace() -> None:
    model = small_cnn()
    model.encoder[0].train()

    def fail(*_: Any) -> Tensor:
        raise RuntimeError("on purpose")

    handle = model.encoder[0].register_forward_pre_hook(fail)
    with no_trace(model), pytest.raises(RuntimeError, match="on purpose"):
        train(model)
    handle.remove()


@pytest.mark.parametrize(("settings", "digits"), [({"precision": "bf16-mixed"}, 0.05), ({"channels_last": True}, 1e-3)])
def test_precision_and_layout_change_the_digits_only(settings: dict[str, Any], digits: float) -> None:
    losses: dict[bool, list[float]] = {False: [], True: []}
    train(small_cnn(), after_step=lambda step, loss: losses[False].append(loss))
    runtime = cpu(**settings)
    model = runtime.place(small_cnn())
    train(model, runtime=runtime, after_step=lambda step, loss: losses[True].append(loss))
    assert losses[True] == pytest.approx(losses[False], rel=digits, abs=digits)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_images_from_files_are_loaded_ahead_and_train_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, transform = striped_split(24), replace(TRANSFORM, flip=True, min_crop_scale=0.5)
    assert isinstance(split.inputs, Tensor)
    for index, image in enumerate(split.inputs):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{index:02d}.png")
    files = ImageFiles(tuple(sorted(tmp_path.iterdir())), split.inputs.shape[2])
    assert torch.equal(torch.stack(list(files)), split.inputs)
    threads, take = set(), Feed.take

    def note(self: Feed, *arguments: Any, **options: Any) -> Any:
        threads.add(current_thread().name)
        return take(self, *arguments, **options)

    monkeypatch.setattr(Feed, "take", note)
    states = []
    for inputs in (split.inputs, files):
        model, source = small_cnn(), generator(3)
        # Batches and augmentation draw from one generator, as in fine-tuning.
        batches = (torch.randint(24, (8,), generator=source) for _ in range(5))
        feed = feed_of(replace(split, inputs=inputs), transform)
        train_weights(model, feed, Schedule(batches, 5, 1e-2, 0.0), generator=source, name="training")
        states.append(model.state_dict())
    assert threads == {"MainThread", "prusc-ahead"}
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
