from dataclasses import replace

import pytest
import torch

from prusc import RunConfig
from prusc.config import DataConfig
from prusc.runs.export.preprocessing import describe_preprocessing
from tests.networks import striped_data

DATA = replace(striped_data(6), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def test_squares_are_resized_and_others_are_not() -> None:
    stored = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    found = describe_preprocessing(RunConfig(), DATA, stored, torch.zeros(2, 3, 16, 16))
    assert (found["kind"], found["colour"], found["resize"], found["crop"]) == ("image", "RGB", 16, None)
    assert (found["mean"], found["std"], found["classes"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], ["a", "b", "c"])
    assert found["input"] == {"shape": ["batch", 3, 16, 16], "dtype": "float32"}
    wide = describe_preprocessing(RunConfig(), DATA, stored[..., :10], torch.zeros(2, 3, 16, 10))
    assert wide["resize"] is None


def test_a_crop_is_that_of_the_settings() -> None:
    config = RunConfig(data_options=DataConfig(crop_size=12))
    stored = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    found = describe_preprocessing(config, DATA, stored, torch.zeros(2, 3, 12, 12))
    assert (found["resize"], found["crop"]) == (16, 12)


@pytest.mark.parametrize("stored", [torch.zeros(2, 7), torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 8, 8).byte()])
def test_what_is_no_picture_has_only_a_shape(stored: torch.Tensor) -> None:
    found = describe_preprocessing(RunConfig(), DATA, stored, stored.float())
    assert found["kind"] == "tensor"
    assert "mean" not in found
    assert found["input"]["shape"] == ["batch", *stored.shape[1:]]
