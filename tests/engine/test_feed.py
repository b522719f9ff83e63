from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from prusc.config import RuntimeConfig
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed, as_feed
from prusc.engine.runtime import Runtime
from prusc.errors import DataError
from tests.networks import TRANSFORM, feed_of, generator, make_split, random_sequences, striped_split


def cpu(**settings: object) -> Runtime:
    return Runtime(RuntimeConfig(**{"device": "cpu", "num_workers": 0, **settings}))  # type: ignore[arg-type]


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255 - 0.5) / 0.25


class OnDisk(Dataset[torch.Tensor]):
    """A map-style data set of the images of a split."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def test_samples_are_taken_in_the_order_asked_for_and_normalised() -> None:
    split = striped_split(10)
    feed = feed_of(split)
    assert len(feed) == 10
    indices = torch.tensor([7, 2, 2, 9])
    torch.testing.assert_close(feed.take(indices), normalised(split.inputs[indices]))  # type: ignore[index]
    assert torch.equal(feed.take_labels(indices), split.labels[indices])


@pytest.mark.parametrize("eval_batch_size", [1, 4, 10, 64])
def test_all_samples_come_once_in_order_whatever_the_batches(eval_batch_size: int) -> None:
    split = striped_split(10)
    feed = feed_of(split, runtime=cpu(eval_batch_size=eval_batch_size))
    batches = list(feed.iterate())
    assert [len(batch) for batch in batches] == [min(eval_batch_size, 10 - i) for i in range(0, 10, eval_batch_size)]
    torch.testing.assert_close(torch.cat(batches), normalised(split.inputs))  # type: ignore[arg-type]
    part = torch.cat(list(feed.iterate(range(3, 8))))
    torch.testing.assert_close(part, normalised(split.inputs[3:8]))  # type: ignore[index]


def test_a_data_set_on_disk_gives_the_same_batches() -> None:
    split = striped_split(10)
    on_disk = replace(split, inputs=OnDisk(split.inputs))  # type: ignore[arg-type]
    for first, second in zip(feed_of(split).iterate(), feed_of(on_disk).iterate(), strict=True):
        assert torch.equal(first, second)


def test_only_a_generator_augments_and_it_decides_how() -> None:
    split, flip = striped_split(10), replace(TRANSFORM, flip=True, min_crop_scale=0.5)
    feed, indices = feed_of(split, flip), torch.arange(10)
    assert torch.equal(feed.take(indices), feed_of(split).take(indices))
    first, again, other = (feed.take(indices, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, feed.take(indices))
    whole = torch.cat(list(feed.iterate(generator=generator(1))))
    assert not torch.equal(whole, torch.cat(list(feed.iterate())))


def test_images_come_in_the_layout_of_the_runtime() -> None:
    split = striped_split(4)
    last, first = (feed_of(split, runtime=cpu(channels_last=asked)).take(torch.arange(4)) for asked in (True, False))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert first.is_contiguous()
    assert torch.equal(last, first)


def test_another_split_is_computed_alike() -> None:
    first, second = striped_split(6), striped_split(4, seed=1)
    feed = feed_of(first)
    other = feed.of(second)
    assert (other.transform, other.runtime) == (feed.transform, feed.runtime)
    assert other.split is second
    assert feed.split is first
    torch.testing.assert_close(other.take(torch.arange(4)), normalised(second.inputs))  # type: ignore[arg-type]


def test_a_feed_stays_itself_and_a_split_brings_its_transform() -> None:
    model, split = nn.Linear(2, 2), replace(striped_split(4), transform=TRANSFORM)
    feed = feed_of(split)
    assert as_feed(feed, model) is feed
    made = as_feed(split, model)
    assert isinstance(made, Feed)
    assert made.transform is TRANSFORM
    assert made.runtime.device == torch.device("cpu")
    torch.testing.assert_close(made.take(torch.arange(4)), normalised(split.inputs))  # type: ignore[arg-type]


def test_images_without_a_transform_are_refused_and_numbers_pass_as_they_are() -> None:
    images = striped_split(4)
    with pytest.raises(DataError, match=r"holds images without a transform.*data\.train.*InputTransform\(mean, std\)"):
        as_feed(images, nn.Linear(2, 2))
    sequences = make_split(random_sequences(4), torch.tensor([0, 1, 0, 1]))
    assert torch.equal(as_feed(sequences, nn.Linear(2, 2)).take(torch.arange(4)), sequences.inputs)
    # A network without parameters computes on the CPU.
    assert as_feed(sequences, nn.Flatten()).runtime.device == torch.device("cpu")


def test_the_crop_of_the_transform_is_taken() -> None:
    split = striped_split(4)
    feed = feed_of(split, InputTransform((0.5,) * 3, (0.25,) * 3, crop_size=4))
    torch.testing.assert_close(feed.take(torch.arange(4)), normalised(split.inputs[:, :, 2:6, 2:6]))  # type: ignore[index]
