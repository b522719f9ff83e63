import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from prusc.config import MaskConfig, RuntimeConfig
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.runtime import Runtime
from prusc.errors import ConfigError, DataError, ModelError, TrainingError
from prusc.masks import BinaryMask, MaskedModel, maskable_parameters
from prusc.masks.gumbel_sigmoid import _uniform_like
from prusc.models.flops import count_flops
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set
from prusc.stages.mask_learning import LearnedMasks, exclude_head, learn_masks
from prusc.stages.mask_step import mask_step
from tests.networks import (
    NUM_CLASSES,
    TRANSFORM,
    Attentive,
    ConvNet,
    Listener,
    Recurrent,
    Tied,
    feed_of,
    generator,
    make_split,
    random_images,
    random_sequences,
    randomise,
    small_cnn,
    striped_split,
)
from tests.reference import mask_learning as reference
from tests.traces import no_trace


def cpu(**settings: Any) -> Runtime:
    return Runtime(RuntimeConfig(**{"device": "cpu", "channels_last": False, **settings}))


def clusters_of(split: Split) -> Tensor:
    return (torch.arange(len(split)) * 7 // 3) % 4


def debiasing_set(split: Split, cluster_ids: Tensor | None = None) -> DebiasingSet:
    own = clusters_of(split) if cluster_ids is None else cluster_ids
    return build_debiasing_set(Cells(split.labels, own, num_classes=NUM_CLASSES, num_values=4))


def config(**settings: Any) -> MaskConfig:
    plain = {"steps": 4, "batch_size": 12, "learning_rate": 0.05, "snapshots": 1, "initial_logit": 0.1, "head": True}
    return MaskConfig(**{**plain, **settings})


def learn(
    model: nn.Module | None = None,
    split: Split | None = None,
    *,
    seed: int = 0,
    runtime: Runtime | None = None,
    cluster_ids: Tensor | None = None,
    transform: InputTransform = TRANSFORM,
    progress: Any = None,
    **settings: Any,
) -> LearnedMasks:
    split = split or striped_split()
    return learn_masks(
        small_cnn() if model is None else model,
        feed_of(split, transform, runtime),
        debiasing_set(split, cluster_ids),
        config(**settings),
        head_name="head",
        generator=generator(seed),
        progress=progress,
    )


def same_masks(first: BinaryMask, second: BinaryMask) -> bool:
    assert first.tensors.keys() == second.tensors.keys()
    return all(torch.equal(kept, second.tensors[name]) for name, kept in first.tensors.items())


def convolution_split(num_samples: int = 30) -> Split:
    return make_split(random_images(num_samples, 6, 2), torch.arange(num_samples) % NUM_CLASSES)


# ---------------------------------------------------------------------------------------------------- what is learned


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta": 0.3, "sparsity": 0.0, "negatives": "cluster"},
        {"sparsity_term": "sum-of-logits", "sparsity": 0.01, "mask_temperature": 0.5},
        {"sparsity": 50.0, "contrastive_temperature": 0.5, "learning_rate": 0.02, "initial_logit": -0.01},
    ],
)
def test_it_equals_its_slow_twin(settings: dict[str, Any]) -> None:
    model, split = randomise(ConvNet()), convolution_split()
    chosen = config(steps=5, batch_size=20, **settings)
    learned = learn(model, split, seed=3, steps=5, batch_size=20, **settings)

    # The same draws: first the seed of the masks' noise, then that of the global generators, then the batches.
    source = generator(3)
    noise = generator(int(torch.randint(2**62, (1,), generator=source)))
    torch.randint(2**62, (1,), generator=source)
    drawn = [debiasing_set(split).draw(20, source) for _ in range(5)]
    names = MaskedModel(model).parameter_names
    shapes = {name: dict(model.named_parameters())[name] for name in names}
    uniforms = [{n: _uniform_like(w.flatten(), noise).view_as(w) for n, w in shapes.items()} for _ in range(5)]
    batches = [(split.inputs[i], split.labels[i], clusters_of(split)[i]) for i in drawn]
    logits, losses = reference.learn_logits(copy.deepcopy(model), names, batches, uniforms, chosen)

    for name, kept in learned.final.tensors.items():
        sure = logits[name].abs() > 1e-3
        assert torch.equal(kept[sure], (logits[name] >= 0)[sure])
        assert sure.double().mean() > 0.95
    found = [[entry.cross_entropy, entry.contrastive, entry.sparsity] for entry in learned.history]
    assert [entry.step for entry in learned.history] == [1, 2, 3, 4, 5]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(losses), rtol=2e-3, atol=2e-3)


SETTINGS: list[dict[str, Any]] = [
    {"learning_rate": 0.01},
    {"initial_logit": -0.1},
    {"mask_temperature": 0.2},
    {"beta": 0.0},
    {"beta": 3.0},
    {"contrastive_temperature": 1.0},
    {"negatives": "cluster"},
    {"sparsity": 1000.0},
    {"sparsity_term": "sum-of-logits"},
    {"batch_size": 14},
    {"steps": 5},
    {"seed": 1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_setting_has_a_say(settings: dict[str, Any]) -> None:
    base, other = (
        learn(randomise(ConvNet()), convolution_split()),
        learn(randomise(ConvNet()), convolution_split(), **settings),
    )
    assert not same_masks(base.final, other.final)


def test_more_sparsity_prunes_more() -> None:
    densities = [learn(sparsity=sparsity, steps=8).final.density for sparsity in (0.0, 10.0, 1e5)]
    assert densities[0] > densities[1] > densities[2]
    assert densities[2] < 0.05


def test_the_losses_fall() -> None:
    first, *_, last = learn(steps=60, snapshots=20, batch_size=24, sparsity=0.0).history
    assert last.cross_entropy < 0.7 * first.cross_entropy
    assert last.contrastive < first.contrastive


def test_without_the_contrastive_loss_the_clusters_do_not_matter() -> None:
    # All cells of one class: the draws are the same whatever the clusters are called.
    split = striped_split()
    renamed = (clusters_of(split) + 1) % 4
    with_clusters = [learn(split=split, cluster_ids=ids, beta=0.0) for ids in (clusters_of(split), renamed)]
    assert all(entry.contrastive == entry.anchors_without_positives == 0 for entry in with_clusters[0].history)
    assert same_masks(with_clusters[0].final, with_clusters[1].final)


def test_anchors_without_positives_are_counted() -> None:
    split = striped_split()
    everywhere = learn(split=split, cluster_ids=torch.zeros(60, dtype=torch.long))
    assert all(entry.anchors_without_positives == 1 and entry.contrastive == 0 for entry in everywhere.history)
    # The samples of class 0 are all in one cluster: a third of each draw.
    partly = torch.where(split.labels == 0, 0, clusters_of(split))
    shares = [
        entry.anchors_without_positives for entry in learn(split=split, cluster_ids=partly, batch_size=60).history
    ]
    assert sum(shares) / len(shares) == pytest.approx(1 / 3, abs=0.12)


# ------------------------------------------------------------------------------------------- snapshots and the history


def test_snapshots_and_history_are_evenly_spaced() -> None:
    learned = learn(steps=40, snapshots=4, batch_size=4)
    assert list(learned.masks) == [10, 20, 30, 40]
    assert learned.final is learned.masks[40]
    assert [entry.step for entry in learned.history] == [1, *range(2, 41, 2)]
    for entry in learned.history:
        if entry.step in learned.masks:
            assert entry.density == learned.masks[entry.step].density
            assert entry.density_per_layer == learned.masks[entry.step].density_per_layer
    assert not same_masks(learned.masks[10], learned.masks[40])


@pytest.mark.parametrize(
    ("steps", "snapshots", "expected"), [(1, 1, [1]), (3, 3, [1, 2, 3]), (5, 2, [2, 5]), (7, 1, [7])]
)
def test_the_last_snapshot_is_the_final_mask(steps: int, snapshots: int, expected: list[int]) -> None:
    learned = learn(steps=steps, snapshots=snapshots)
    assert list(learned.masks) == expected
    assert learned.history[-1].step == steps


def test_more_snapshots_do_not_change_the_path() -> None:
    few, many = learn(steps=6, snapshots=1), learn(steps=6, snapshots=6)
    assert same_masks(few.final, many.final)


def test_masks_are_booleans_of_the_weights_shapes() -> None:
    model = small_cnn()
    mask = learn(model).final
    assert {name: kept.shape for name, kept in mask.tensors.items()} == {
        name: parameter.shape for name, parameter in model.named_parameters() if parameter.ndim > 1
    }
    assert all(kept.dtype == torch.bool and kept.device.type == "cpu" for kept in mask.tensors.values())


def test_patterns_choose_the_masked_layers() -> None:
    learned = learn(include=("encoder.*",), exclude=("encoder.0.*",))
    assert "encoder.0.weight" not in learned.final.tensors
    assert "head.weight" not in learned.final.tensors
    assert len(learned.final.tensors) == 2


def test_the_head_is_left_whole_unless_asked_for() -> None:
    names = {
        name: set(learn(head=asked, steps=1).final.tensors) for name, asked in (("without", False), ("with", True))
    }
    assert names["with"] - names["without"] == {"head.weight"}
    assert len(names["without"]) == 3


def test_each_step_is_reported_and_minimises_the_weighted_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        terms = mask_step(*args, **kwargs)
        losses.append(terms.loss.item())
        return terms

    monkeypatch.setattr("prusc.stages.mask_learning.mask_step", watched)
    listener = Listener()
    learned = learn(progress=listener, beta=0.5)
    assert listener.steps == [("mask learning", step, 4) for step in (1, 2, 3, 4)]
    for loss, entry in zip(losses, learned.history, strict=True):
        assert loss == pytest.approx(entry.cross_entropy + 0.5 * entry.contrastive, rel=1e-5)


# ----------------------------------------------------------------------------------------------------- leaving no trace


def test_model_randomness_and_folder_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    model = small_cnn().train()
    model.encoder[1].eval()
    model.head.requires_grad_(False)
    model.encoder[0].register_forward_hook(lambda *_: None)
    with no_trace(model):
        learn(model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [Recurrent, Tied, Attentive, ConvNet])
def test_any_architecture_is_learned_without_a_trace(kind: type[nn.Module]) -> None:
    model = randomise(kind()).train()
    labels = torch.arange(24) % NUM_CLASSES
    inputs = {
        Recurrent: random_sequences(24),
        Tied: torch.randint(0, 5, (24, 3), generator=generator()),
        Attentive: torch.randn(24, 5, 4, generator=generator()),
        ConvNet: random_images(24, 6, 2),
    }[kind]
    with no_trace(model):
        learned = learn(model, make_split(inputs, labels), steps=6)
    assert 0.1 < learned.final.density < 0.95


class Stumbles(nn.Module):
    """Fails, or gives what is no number, from the third call on."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.body, self.head, self.error, self.calls = small_cnn().encoder, nn.Linear(128, NUM_CLASSES), error, [0]

    def forward(self, images: Tensor) -> Tensor:
        self.calls[0] += 1
        representations = self.body(images)
        if self.calls[0] >= 3 and self.error is not None:
            raise self.error
        return self.head(representations * (torch.nan if self.calls[0] >= 3 else 1))


@pytest.mark.parametrize("error", [RuntimeError("on purpose"), KeyboardInterrupt()])
def test_a_network_that_fails_in_the_middle_leaves_no_trace(error: BaseException) -> None:
    model = Stumbles(error).train()
    model.body[1].eval()
    with no_trace(model), pytest.raises(type(error)):
        learn(model)


def test_a_loss_that_is_no_number_names_the_step_and_leaves_no_trace() -> None:
    model = Stumbles(None).train()
    with (
        no_trace(model),
        pytest.raises(TrainingError, match=r"mask learning: the loss is nan at step 3; try a lower learning rate"),
    ):
        learn(model)


class Fails(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Tensor:
        if index >= 50:
            raise DataError("cannot read b.png")
        return torch.full((3, 8, 8), index, dtype=torch.uint8)


def test_a_data_set_that_fails_in_the_middle_leaves_no_trace() -> None:
    model, split = small_cnn().train(), striped_split()
    lazy = Split(Fails(), split.labels, None, split.sample_ids)
    with no_trace(model), pytest.raises(DataError, match=r"cannot read b\.png"):
        learn(model, lazy, steps=50)


def test_a_listener_that_fails_leaves_no_trace() -> None:
    model = small_cnn().train()
    with no_trace(model), pytest.raises(ZeroDivisionError):
        learn(model, progress=Listener(fails_at=2))


def test_wrong_settings_leave_no_trace() -> None:
    model, split = small_cnn().train(), striped_split()
    with no_trace(model):
        with pytest.raises(ConfigError, match="'nothing' matches no weight"):
            learn(model, include=("nothing",))
        with pytest.raises(ModelError, match="no linear layer 'headd'"):
            learn_masks(model, feed_of(split), debiasing_set(split), config(), head_name="headd")


def test_a_batch_that_cannot_be_shared_is_an_error() -> None:
    class OneOfTwo(Runtime):
        @property
        def num_processes(self) -> int:
            return 2

    with pytest.raises(ConfigError, match=r"masks.batch_size 13 cannot be shared evenly among 2 processes"):
        learn(runtime=OneOfTwo(RuntimeConfig(device="cpu")), batch_size=13)


# ---------------------------------------------------------------------------------------------------------- randomness


def test_the_generator_alone_decides() -> None:
    augmenting = InputTransform(TRANSFORM.mean, TRANSFORM.std, flip=True, min_crop_scale=0.5)
    found = []
    for global_seed in (1, 2):
        model = small_cnn()
        model.encoder.append(nn.Dropout(0.3))
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            found.append(learn(model, transform=augmenting))
    assert same_masks(found[0].final, found[1].final)
    assert found[0].history == found[1].history


def test_augmentation_has_a_say() -> None:
    augmenting = InputTransform(TRANSFORM.mean, TRANSFORM.std, flip=True)
    assert not same_masks(learn(transform=augmenting).final, learn().final)


def test_a_data_set_that_loads_lazily_gives_the_same() -> None:
    split = striped_split()

    class Items(Dataset[Any]):
        def __len__(self) -> int:
            return len(split)

        def __getitem__(self, index: int) -> Tensor:
            return split.inputs[index]

    lazy = Split(Items(), split.labels, None, split.sample_ids)
    assert same_masks(learn(split=lazy).final, learn(split=split).final)


@pytest.mark.parametrize(("settings", "digits"), [({"precision": "bf16-mixed"}, 0.05), ({"channels_last": True}, 1e-3)])
def test_precision_and_layout_change_the_digits_only(settings: dict[str, Any], digits: float) -> None:
    base, runtime = learn(), cpu(**settings)
    model = runtime.place(small_cnn())
    with no_trace(model):
        found = learn(model, runtime=runtime)
    first, expected = found.history[0], base.history[0]
    assert first.cross_entropy == pytest.approx(expected.cross_entropy, rel=digits)
    assert first.contrastive == pytest.approx(expected.contrastive, rel=digits)
    for name, kept in found.final.tensors.items():
        assert (kept == base.final.tensors[name]).double().mean() > 0.9
    assert found.history[-1].density == pytest.approx(base.history[-1].density, abs=0.05)


# --------------------------------------------------------------------------------------------------------- channels


def test_masks_of_channels_keep_or_drop_whole_channels() -> None:
    model = small_cnn()
    with no_trace(model):
        learned = learn(model, granularity="channel", snapshots=2)
    for mask in learned.masks.values():
        assert 0 < mask.density < 1
        for name, kept in mask.tensors.items():
            rows, columns = kept.flatten(1).any(dim=1), kept.transpose(0, 1).flatten(1).any(dim=1)
            whole = (rows[:, None] & columns[None, :]).view(*kept.shape[:2], *[1] * (kept.ndim - 2))
            assert torch.equal(kept, whole.expand_as(kept)), name
    assert same_masks(learned.final, learn(small_cnn(), granularity="channel", snapshots=2).final)


def test_a_budget_holds_at_every_snapshot() -> None:
    model = small_cnn()
    flops = count_flops(model, torch.zeros(1, 3, 8, 8))
    learned = learn(model, budget_flops=0.1, snapshots=2, initial_logit=3.0)
    assert all(flops.share(mask) <= 0.1 for mask in learned.masks.values())
    assert flops.share(learn(small_cnn(), granularity="channel", initial_logit=3.0).final) > 0.1


def test_excluded_layers_keep_their_channels() -> None:
    learned = learn(granularity="channel", initial_logit=-3.0, exclude=("encoder.0.*",))
    assert learned.final.tensors.keys() == {"encoder.3.weight", "encoder.6.weight", "head.weight"}
    assert learned.final.tensors["encoder.3.weight"].any(dim=0).all()


def test_the_head_is_masked_only_if_asked_for_or_if_there_is_nothing_else() -> None:
    model = small_cnn()
    assert exclude_head(model, MaskConfig(), "head") == ("head.*",)
    first = next(name for name in maskable_parameters(model))
    assert exclude_head(model, MaskConfig(exclude=(first,)), "head") == (first, "head.*")
    assert exclude_head(model, MaskConfig(head=True), "head") == ()
    alone = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert exclude_head(alone, MaskConfig(), "1") == ()
    # The weight of this head belongs to an earlier layer.
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert exclude_head(tied, MaskConfig(), "1") == ()
