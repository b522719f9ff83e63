"""What an exhibit says of its networks."""

import pytest
import torch

from prusc.runs.samples.exhibit import FAMILY_OF
from tests.runs.samples.exhibits import make_exhibit


def test_predictions_are_found_by_the_name_of_the_network() -> None:
    exhibit, _ = make_exhibit()
    for name, family in FAMILY_OF.items():
        assert torch.equal(exhibit.val_predictions(name), exhibit.predictions[family]["val"])
    audited, _ = make_exhibit(with_after=False)
    with pytest.raises(KeyError):
        audited.val_predictions("after")
