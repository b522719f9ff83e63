"""From original images to the three splits of a data set: the steps that every construction shares."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prusc.data.synthetic.originals import choose_images
from prusc.data.synthetic.shares import check_conflicts, draw_attributes
from prusc.data.table import SPLIT_NAMES, Data, Split
from prusc.errors import ConfigError

Paint = Callable[[str, NDArray[np.int64], NDArray[np.int64], np.random.Generator], NDArray[np.uint8]]
"""Makes a split's inputs [N, C, H, W] from its name, the originals' indices [N], the attributes [N] and a generator."""

_SEEDS_PER_SPLIT = 2


def compose_splits(
    train_labels: NDArray[np.int64],
    test_labels: NDArray[np.int64],
    paint: Paint,
    *,
    num_values: int,
    conflict_share: float,
    num_train: int | None,
    seed: int,
) -> dict[str, Split]:
    """Compose splits in which one attribute correlates with the class in train and val, and is independent in test.

    The images, their order and their labels depend on the seed and `num_train` only. The test split depends on the seed
    only, whatever the share of bias-conflicting samples.

    Args:
        train_labels: Class of each original training image, [N]; -1 leaves it out.
        test_labels: Class of each original test image, [N]; -1 leaves it out, all others are used.
        paint: Makes the inputs.
        num_values: Number of values of the attribute.
        conflict_share: Share of the train and val samples of each class with another class's value of the attribute.
        num_train: Number of training images; see `prusc.data.synthetic.originals.choose_images`.
        seed: Seed of everything random.

    Returns:
        The splits by name, inputs uint8 [N, C, H, W].

    Raises:
        ConfigError: If the seed, the number of images or the share is out of range.
        DataError: If a class has too few images.
    """
    choice_rng, *split_rngs = spawn_generators(seed)
    train, val = choose_images(train_labels, num_train=num_train, rng=choice_rng)
    test = choice_rng.spawn(1)[0].permutation(np.flatnonzero(test_labels >= 0))
    check_conflicts(train_labels[train], conflict_share)
    splits = {}
    for name, chosen, rng in zip(SPLIT_NAMES, (train, val, test), split_rngs, strict=True):
        labels = (test_labels if name == "test" else train_labels)[chosen]
        share = 1 / num_values if name == "test" else 1 - conflict_share
        draw_rng, paint_rng = rng.spawn(_SEEDS_PER_SPLIT)
        attributes = draw_attributes(labels, num_values, share, draw_rng)
        splits[name] = make_split(name, chosen, paint(name, chosen, attributes, paint_rng), labels, attributes)
    return splits


def spawn_generators(seed: int) -> list[np.random.Generator]:
    """Return one generator for the choice of images and one for each split, so that none influences another.

    Raises:
        ConfigError: If the seed is negative.
    """
    if seed < 0:
        raise ConfigError(f"data_seed is {seed}; expected 0 or more")
    return np.random.default_rng(seed).spawn(1 + len(SPLIT_NAMES))


def make_split(
    name: str,
    chosen: NDArray[np.int64],
    inputs: NDArray[np.uint8],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
) -> Split:
    """Make a split. Each sample is named after its place in the original file, which does not reveal its class.

    Args:
        name: Name of the split.
        chosen: Index of each sample's original image, [N].
        inputs: uint8, [N, C, H, W].
        labels: Class of each sample, [N].
        attributes: Attribute of each sample, [N].

    Returns:
        The split, with one attribute.
    """
    file = "test" if name == "test" else "train"
    return Split(
        inputs=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        attributes=torch.from_numpy(attributes[:, None]),
        sample_ids=tuple(f"{file}-{index:05d}" for index in chosen.tolist()),
    )


def make_data(
    construction: str,
    splits: Mapping[str, Split],
    *,
    name: str,
    originals: str,
    class_names: tuple[str, ...],
    attribute: str,
    values: tuple[str, ...],
    **settings: Any,
) -> Data:
    """Make a data set from its splits.

    Args:
        construction: Name of the construction.
        splits: The splits by name.
        name: Name of the data set in reports.
        originals: Name of the original images.
        class_names: One name per class.
        attribute: Name of the spurious attribute.
        values: Names of its values.
        **settings: Other settings that made the data, for the run folder.

    Returns:
        The data set.
    """
    sizes = {f"num_{split}": len(samples) for split, samples in splits.items()}
    return Data(
        name=name,
        class_names=class_names,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        attribute_names=(attribute,),
        attribute_values=(values,),
        origin={"construction": construction, "originals": originals, **settings, **sizes},
    )
