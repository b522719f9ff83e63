"""What every construction keeps to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prusc.data import Data, load_data
from prusc.errors import ConfigError
from tests.data.synthetic.files import group_counts, write_cifar_files, write_idx_files

Load = Callable[..., Data]

CONSTRUCTIONS: dict[str, dict[str, Any]] = {
    "colored-mnist": {"conflict_share": 0.1},
    "colored-mnist-irm": {},
    "spuco-mnist": {"strength": 0.9},
    "corrupted-cifar10": {"conflict_share": 0.1},
    "dominoes": {"conflict_share": 0.1, "num_classes": 10},
}
OTHER_SHARE = {
    "colored-mnist": {"conflict_share": 0.5},
    "spuco-mnist": {"strength": 0.5},
    "corrupted-cifar10": {"conflict_share": 0.5},
    "dominoes": {"conflict_share": 0.5, "num_classes": 10},
}
SHAPES = {"corrupted-cifar10": (3, 32, 32), "dominoes": (3, 64, 32)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_idx_files(folder)
    return write_cifar_files(folder)


@pytest.fixture(scope="module")
def load(source: Path) -> Load:
    return lambda name, **options: load_data(name, source=source, **(CONSTRUCTIONS[name] | options))


every = pytest.mark.parametrize("name", CONSTRUCTIONS)


@every
def test_shapes_types_and_sizes(load: Load, name: str) -> None:
    data = load(name)
    num_test = 120 if name in SHAPES else 200
    assert [len(split) for split in data.splits.values()] == [480, 120, num_test]
    for split in data.splits.values():
        assert split.inputs.dtype == torch.uint8
        assert split.inputs.shape[1:] == SHAPES.get(name, (3, 28, 28))
        assert split.labels.dtype == split.attributes.dtype == torch.int64
        assert split.attributes.shape == (len(split), 1)
    assert len(data.attribute_names) == 1
    assert len(data.attribute_values[0]) == data.num_classes
    assert data.origin["construction"] == name
    assert data.origin["num_train"] == 480
    assert "mnist" not in data.name
    assert "cifar10" not in data.name


@pytest.mark.parametrize("name", OTHER_SHARE)
@pytest.mark.parametrize("num_train", [None, 200])
def test_train_and_val_have_the_exact_share_and_test_is_independent(
    load: Load, name: str, num_train: int | None
) -> None:
    data = load(name, num_train=num_train)
    size = data.num_classes
    for split in (data.train, data.val):
        counts = group_counts(split, size, size)
        num_samples = counts.sum(axis=1)
        assert (counts.diagonal() == np.rint(0.9 * num_samples)).all()
        for label in range(size):
            others = np.delete(counts[label], label)
            assert others.max() - others.min() <= 1
    test = group_counts(data.test, size, size)
    assert test.max() - test.min() <= 1


@pytest.mark.parametrize("name", OTHER_SHARE)
def test_the_attribute_shows_in_the_pixels_alone(load: Load, name: str) -> None:
    one, other = load(name), load(name, **OTHER_SHARE[name])
    for split, its in one.splits.items():
        changed = other.splits[split]
        assert torch.equal(its.labels, changed.labels)
        assert its.sample_ids == changed.sample_ids
        assert torch.equal(its.attributes, changed.attributes) == (split == "test")
        moved = its.attributes[:, 0] != changed.attributes[:, 0]
        differs = (its.inputs != changed.inputs).flatten(1).any(dim=1)
        assert differs[moved].all()
        assert not differs.any() or split != "test"


@every
def test_the_same_seed_gives_the_same_data_and_leaves_the_global_state_alone(load: Load, name: str) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = load(name), load(name, data_seed=0), load(name, data_seed=1)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    for split, its in one.splits.items():
        same, different = again.splits[split], other.splits[split]
        for field in ("inputs", "labels", "attributes"):
            assert torch.equal(getattr(its, field), getattr(same, field))
        assert its.sample_ids == same.sample_ids
        assert its.sample_ids != different.sample_ids
        assert not torch.equal(its.inputs, different.inputs)


@every
def test_fewer_images_leave_the_test_split_as_it_is(load: Load, name: str) -> None:
    whole, part = load(name), load(name, num_train=100)
    assert len(part.train) == 100
    assert len(part.val) == 25
    assert torch.bincount(part.train.labels).max() - torch.bincount(part.train.labels).min() <= 2
    assert torch.equal(whole.test.inputs, part.test.inputs)
    assert torch.equal(whole.test.attributes, part.test.attributes)
    assert set(part.train.sample_ids) < set(whole.train.sample_ids)


@every
def test_no_image_is_in_two_splits_and_classes_are_mixed(load: Load, name: str) -> None:
    data = load(name)
    ids = [sample_id for split in data.splits.values() for sample_id in split.sample_ids]
    assert len(ids) == len(set(ids))
    for split in data.splits.values():
        assert len(set(split.labels[:60].tolist())) == data.num_classes


@every
def test_bad_options_are_refused(load: Load, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no source of images is given"):
        load_data(name)
    with pytest.raises(ConfigError, match="num_train is 481; expected from"):
        load(name, num_train=481)
    with pytest.raises(ConfigError, match="data_seed is -1; expected 0 or more"):
        load(name, data_seed=-1)
    with pytest.raises(ConfigError, match=f"'{name}' does not take correlation; its options are .*source, download"):
        load(name, correlation=0.9)
