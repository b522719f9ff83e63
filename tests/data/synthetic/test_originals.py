from itertools import pairwise

import numpy as np
import pytest

from prusc.data.synthetic.originals import choose_images
from prusc.errors import ConfigError, DataError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [100, 60, 40]))


def choose(num_train: int | None, labels: np.ndarray = LABELS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return choose_images(labels, num_train=num_train, rng=np.random.default_rng(seed))


def test_a_fifth_of_each_class_is_for_validation() -> None:
    train, val = choose(None)
    assert np.bincount(LABELS[train]).tolist() == [80, 48, 32]
    assert np.bincount(LABELS[val]).tolist() == [20, 12, 8]
    assert set(train.tolist()) | set(val.tolist()) == set(range(200))


@pytest.mark.parametrize("num_train", [3, 17, 80, 81, 159, 160])
def test_fewer_images_keep_the_shares_of_the_classes(num_train: int) -> None:
    train, val = choose(num_train)
    assert len(train) == num_train
    assert len(val) == max(3, round(num_train / 4))
    for chosen in (train, val):
        counts = np.bincount(LABELS[chosen], minlength=3)
        assert np.abs(counts - len(chosen) * np.array([0.5, 0.3, 0.2])).max() <= 1
        assert counts.min() >= 1


def test_fewer_images_are_among_more() -> None:
    chosen = [choose(num_train) for num_train in range(3, 161)]
    for (train, val), (more_train, more_val) in pairwise(chosen):
        assert set(train.tolist()) < set(more_train.tolist())
        assert set(val.tolist()) <= set(more_val.tolist())
        assert not set(more_train.tolist()) & set(more_val.tolist())


def test_classes_are_mixed_and_seeds_differ() -> None:
    train, _ = choose(None)
    assert len(set(LABELS[train[:20]].tolist())) == 3
    assert train.tolist() == choose(None)[0].tolist()
    assert set(train.tolist()) != set(choose(None, seed=1)[0].tolist())


def test_images_of_no_class_are_left_out() -> None:
    labels = np.where(LABELS == 1, -1, LABELS)
    train, val = choose(None, labels)
    assert set(labels[np.concatenate([train, val])].tolist()) == {0, 2}


@pytest.mark.parametrize("num_train", [-1, 0, 2, 161])
def test_numbers_that_cannot_be_had_are_refused(num_train: int) -> None:
    with pytest.raises(ConfigError, match=rf"num_train is {num_train}; expected from 3 .* to 160"):
        choose(num_train)


def test_a_class_of_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="1 original training image; expected at least 2"):
        choose(None, np.array([0, 0, 1]))
