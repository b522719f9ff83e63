import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from prusc.config import RuntimeConfig
from prusc.data.rows import StoredRows
from prusc.data.table import Split
from prusc.engine.runtime import Runtime
from prusc.errors import DataError, ModelError
from prusc.stages.representations import Representations, extract_representations
from tests.networks import (
    TRANSFORM,
    Recurrent,
    Tied,
    feed_of,
    generator,
    make_split,
    random_sequences,
    randomise,
    small_cnn,
    striped_split,
)
from tests.traces import no_trace


def runtime(**settings: Any) -> Runtime:
    return Runtime(RuntimeConfig(**{"device": "cpu", "eval_batch_size": 16, "num_workers": 0, **settings}))


def extract(model: nn.Module, split: Split, **settings: Any) -> Representations:
    return extract_representations(model, feed_of(split, runtime=runtime(**settings)), head_name="head")


def one_by_one(model: nn.Module, split: Split) -> Tensor:
    return torch.cat([model.encoder(TRANSFORM(split.inputs[index : index + 1])) for index in range(len(split))])


@pytest.mark.parametrize("batch_size", [1, 16, 60, 1000])
def test_they_are_what_enters_the_head_in_the_order_of_the_data(batch_size: int) -> None:
    model, split = small_cnn(), striped_split(60)
    found = extract(model, split, eval_batch_size=batch_size)
    with torch.no_grad():
        expected = one_by_one(model, split)
        torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logits, model.head(expected), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.labels, split.labels)
    assert found.sample_ids == split.sample_ids
    assert torch.equal(found.predictions, found.logits.argmax(1))
    assert len(found.predictions.unique()) > 1


def test_with_a_generator_they_are_of_augmented_images() -> None:
    model, split = small_cnn(), striped_split(30)
    transform = replace(TRANSFORM, flip=True, min_crop_scale=0.5)
    found = extract_representations(
        model, feed_of(split, transform, runtime()), head_name="head", generator=generator(5)
    )
    source = generator(5)
    with torch.no_grad():
        parts = [model.encoder(transform(images, generator=source)) for images in split.inputs.split(16)]
    torch.testing.assert_close(found.values, torch.cat(parts), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.values, extract(model, split).values, rtol=1e-2)


def test_neither_model_nor_randomness_is_touched() -> None:
    model = small_cnn().train()
    model.encoder[4].eval()
    with no_trace(model):
        first = extract(model, striped_split())
        again = extract(model, striped_split())
    assert torch.equal(first.values, again.values)


def test_dropout_and_batch_norm_are_in_evaluation_mode() -> None:
    model = small_cnn()
    expected = extract(model, striped_split())
    model.encoder.append(nn.Dropout(0.5))
    assert torch.equal(extract(model.train(), striped_split()).values, expected.values)


def test_they_can_take_part_in_a_backward_pass() -> None:
    found = extract(small_cnn(), striped_split(20))
    weight = torch.zeros(3, 128, requires_grad=True)
    (found.values @ weight.T).sum().backward()
    assert not found.values.requires_grad
    assert not found.values.is_inference()
    assert not found.logits.is_inference()


class Fails(Dataset[Any]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Tensor:
        if index == 33:
            raise self.error
        return torch.zeros(3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize("error", [DataError("cannot read b.png"), RuntimeError("on purpose")])
def test_a_data_set_that_fails_in_the_middle_leaves_no_trace(error: Exception) -> None:
    model = small_cnn().train()
    split = Split(Fails(error), torch.zeros(40, dtype=torch.long), None, tuple(map(str, range(40))))
    with no_trace(model), pytest.raises(type(error), match=str(error)):
        extract(model, split)


def test_a_network_that_fails_in_the_middle_leaves_no_trace() -> None:
    model = small_cnn().train()
    model.encoder[5].register_forward_hook(lambda *_: 1 / 0)
    with no_trace(model), pytest.raises(ZeroDivisionError):
        extract(model, striped_split())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_an_error_that_names_the_sample(value: float) -> None:
    split = make_split(TRANSFORM(striped_split(40).inputs), torch.zeros(40, dtype=torch.long))
    # A split refuses such a number at the door, so it comes in afterwards.
    split.inputs[[17, 30]] = value
    model = small_cnn().train()
    with (
        no_trace(model),
        pytest.raises(ModelError, match=r"2 of 40 samples have a representation .* the first is 'sample-17'"),
    ):
        extract(model, split)


def test_other_inputs_than_images_are_taken() -> None:
    labels = torch.zeros(6, dtype=torch.long)
    for model, inputs in ((Recurrent(), random_sequences(6)), (Tied(), torch.randint(0, 5, (6, 3)))):
        model = randomise(model)
        found = extract(model, make_split(inputs, labels))
        torch.testing.assert_close(found.logits, model(inputs).detach())


def test_loader_processes_give_the_same() -> None:
    model, split = small_cnn(), striped_split(20)

    class Items(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> Tensor:
            time.sleep(0.02 * (index < 5))
            return split.inputs[index]

    lazy = Split(Items(), split.labels, None, split.sample_ids)
    assert torch.equal(extract(model, lazy).values, extract(model, split).values)


@pytest.mark.parametrize("settings", [{"precision": "bf16-mixed"}, {"channels_last": True}, {"channels_last": False}])
def test_precision_and_layout_change_the_digits_only(settings: dict[str, Any]) -> None:
    model, split = small_cnn(), striped_split()
    base = extract(model, split, channels_last=False)
    placed = runtime(**settings).place(small_cnn())
    found = extract(placed, split, **settings)
    tolerance = 0.1 if "precision" in settings else 1e-4
    torch.testing.assert_close(found.values, base.values, rtol=tolerance, atol=tolerance)
    assert found.values.dtype == found.logits.dtype == torch.float32


def test_above_the_limit_they_are_on_disk_and_the_same(tmp_path: Path) -> None:
    model, split = small_cnn(), striped_split(60)
    in_memory = extract(model, split)
    assert isinstance(in_memory.values, Tensor)
    on_disk = extract(model, split, representation_gib=0.0, scratch=tmp_path)
    assert isinstance(on_disk.values, StoredRows)
    assert torch.equal(on_disk.values[:], in_memory.values)
    assert torch.equal(on_disk.held, in_memory.held)
    assert torch.equal(on_disk.logits, in_memory.logits)
    halved = extract(model, split, representation_gib=0.0, representation_bits=16)
    assert torch.equal(halved.held, in_memory.held.half().float())
    assert repr(on_disk) == repr(in_memory)
