import hashlib
import time

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.data import fashion_stickers
from prusc.data.fashion_stickers import COLOURS, STICKER_SIZE, load_fashion_stickers
from prusc.data.table import Data, Split
from prusc.errors import ConfigError, DataError

SMALL = {"num_train_per_class": 101, "num_val_per_class": 50, "num_test_per_class": 40}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_fashion_stickers()


@pytest.fixture(scope="module")
def small() -> Data:
    return load_fashion_stickers(**SMALL)


def group_counts(split: Split) -> np.ndarray:
    """Samples per class (row) and colour (column)."""
    counts = np.zeros((4, 4), dtype=int)
    for label, colour in zip(split.labels.tolist(), split.attributes[:, 0].tolist(), strict=True):
        counts[label, colour] += 1
    return counts


def find_stickers(split: Split) -> list[tuple[int, int, int]]:
    """Colour, top and left of each sticker, read off the pixels alone."""
    found = []
    for image in split.inputs.permute(0, 2, 3, 1).numpy():
        corners = []
        for left in (0, 20):
            for colour, rgb in enumerate(COLOURS.values()):
                rows = np.flatnonzero((image[:, left : left + STICKER_SIZE] == rgb).all(axis=(1, 2)))
                if len(rows):
                    assert rows.tolist() == list(range(rows[0], rows[0] + STICKER_SIZE))
                    corners.append((colour, int(rows[0]), left))
        assert len(corners) == 1
        found.append(corners[0])
    return found


def test_the_default_has_the_promised_shape(data: Data) -> None:
    assert [len(split) for split in data.splits.values()] == [12_000, 4_000, 4_000]
    for split in data.splits.values():
        assert split.inputs.dtype == torch.uint8
        assert split.inputs.shape[1:] == (3, 28, 28)
        assert split.labels.dtype == split.attributes.dtype == torch.int64
    assert data.class_names == ("tshirt", "pullover", "coat", "shirt")
    assert data.attribute_names == ("colour",)
    assert data.attribute_values == (("red", "green", "blue", "yellow"),)
    assert data.mean == data.std == (0.5, 0.5, 0.5)
    assert data.origin["correlation"] == 0.95


def test_the_default_is_what_published_figures_were_measured_on(data: Data) -> None:
    digest = hashlib.sha256()
    for split in data.splits.values():
        digest.update(split.inputs.numpy().tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
        digest.update(split.attributes.numpy().astype("<i8").tobytes())
        digest.update("\n".join(split.sample_ids).encode())
    # If this changes, with numpy's generator for example, docs/results/fashion-stickers.md has to be measured again.
    assert digest.hexdigest() == "a39453e13683fa7e75795becc96e64fde1faade0d9d351203e441592e149b495"


@pytest.mark.parametrize("correlation", [0.25, 0.5, 0.95, 0.987, 1.0])
def test_the_colour_agrees_for_exactly_the_share_asked_for(correlation: float) -> None:
    data = load_fashion_stickers(correlation=correlation, **SMALL)
    for split, num_samples in ((data.train, 101), (data.val, 50)):
        counts = group_counts(split)
        assert counts.sum(axis=1).tolist() == [num_samples] * 4
        assert counts.diagonal().tolist() == [round(correlation * num_samples)] * 4
        for label in range(4):
            others = np.delete(counts[label], label)
            assert others.max() - others.min() <= 1


def test_left_over_colours_favour_no_colour() -> None:
    counts = group_counts(load_fashion_stickers(correlation=0.5, **SMALL).train)
    assert len(set(counts.sum(axis=0).tolist())) == 1


def test_the_default_groups_are_exact(data: Data) -> None:
    assert (group_counts(data.train) == 50 + 2_800 * np.eye(4, dtype=int)).all()
    assert group_counts(data.val).diagonal().tolist() == [950] * 4


@pytest.mark.parametrize("correlation", [0.25, 0.95, 1.0])
def test_in_the_test_split_colour_and_class_are_independent(correlation: float) -> None:
    data = load_fashion_stickers(correlation=correlation, **SMALL)
    assert (group_counts(data.test) == 10).all()


def test_a_quarter_makes_the_training_split_independent() -> None:
    data = load_fashion_stickers(correlation=0.25, num_train_per_class=400, num_val_per_class=4, num_test_per_class=4)
    assert (group_counts(data.train) == 100).all()


def test_the_pixels_hold_the_sticker_that_the_attribute_names(small: Data) -> None:
    for split in small.splits.values():
        assert [colour for colour, _, _ in find_stickers(split)] == split.attributes[:, 0].tolist()


def test_stickers_lie_anywhere_along_both_edges(small: Data) -> None:
    stickers = find_stickers(small.train)
    tops = {top for _, top, _ in stickers}
    assert tops == set(range(21))
    share_left = np.mean([left == 0 for _, _, left in stickers])
    assert 0.4 < share_left < 0.6


def test_the_place_of_the_sticker_says_nothing_about_the_class(data: Data) -> None:
    left = (data.train.inputs[:, :, :, 0].float().std(dim=1) > 100).any(dim=1)  # a saturated colour on the left edge
    shares = [left[data.train.labels == label].float().mean().item() for label in range(4)]
    assert max(shares) - min(shares) < 0.05


def test_outside_the_sticker_the_image_is_the_packaged_one(small: Data) -> None:
    mosaics = {
        name: np.asarray(Image.open(f"{fashion_stickers.__file__.removesuffix('.py')}_images/{name}.png"))
        for name in small.class_names
    }
    for row, ((_, top, left), sample_id) in enumerate(zip(find_stickers(small.val), small.val.sample_ids, strict=True)):
        name, number = sample_id.split("-")
        assert name == small.class_names[int(small.val.labels[row])]
        y, x = 28 * (int(number) // 100), 28 * (int(number) % 100)
        expected = np.repeat(mosaics[name][None, y : y + 28, x : x + 28], 3, axis=0)
        found = small.val.inputs[row].numpy().copy()
        window = (slice(None), slice(top, top + STICKER_SIZE), slice(left, left + STICKER_SIZE))
        found[window] = expected[window]
        assert (found == expected).all()


def test_no_image_is_in_two_splits(data: Data) -> None:
    ids = [sample_id for split in data.splits.values() for sample_id in split.sample_ids]
    assert len(ids) == len(set(ids)) == 20_000


def test_classes_are_mixed(data: Data) -> None:
    for split in data.splits.values():
        assert torch.bincount(split.labels[:200], minlength=4).min() > 20


def test_the_same_seed_gives_the_same_data_and_leaves_the_global_state_alone(small: Data) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = load_fashion_stickers(**SMALL)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    for name, split in small.splits.items():
        other = again.splits[name]
        assert torch.equal(split.inputs, other.inputs)
        assert torch.equal(split.labels, other.labels)
        assert torch.equal(split.attributes, other.attributes)
        assert split.sample_ids == other.sample_ids


def test_another_seed_gives_other_splits_and_stickers(small: Data) -> None:
    other = load_fashion_stickers(seed=1, **SMALL)
    for name, split in small.splits.items():
        assert set(split.sample_ids) != set(other.splits[name].sample_ids)
        assert not torch.equal(split.attributes, other.splits[name].attributes)


def test_the_test_split_does_not_depend_on_the_training_split(small: Data) -> None:
    settings = {**SMALL, "num_train_per_class": 300}
    other = load_fashion_stickers(correlation=0.5, **settings)
    assert torch.equal(small.test.inputs, other.test.inputs)
    assert small.test.sample_ids == other.test.sample_ids
    assert set(small.val.sample_ids) == set(other.val.sample_ids)
    assert set(small.train.sample_ids) < set(other.train.sample_ids)


@pytest.mark.parametrize("correlation", [0.24, 1.01, -1.0, float("nan")])
def test_a_correlation_out_of_range_is_refused(correlation: float) -> None:
    with pytest.raises(ConfigError, match=r"correlation is .*0\.25"):
        load_fashion_stickers(correlation=correlation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"num_train_per_class": 0}, "num_train_per_class is 0"),
        ({"num_val_per_class": -3}, "num_val_per_class is -3"),
        ({"num_test_per_class": 0}, "num_test_per_class is 0"),
        ({"num_test_per_class": 999}, "multiple of 4"),
        ({"num_train_per_class": 3_001}, "5001 images of each class; fashion-stickers has 5000"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_fashion_stickers(**options)


def test_an_incomplete_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_stickers, "CLASS_NAMES", ("tshirt", "trousers"))
    with pytest.raises(DataError, match=r"trousers\.png cannot be read .*install prusc again"):
        load_fashion_stickers()


def test_loading_takes_well_under_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.process_time()
        load_fashion_stickers()
        times.append(time.process_time() - start)
    assert min(times) < 1
