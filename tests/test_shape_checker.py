"""The checker of types and shapes that the tests run with: it sees what is wrong in the calls of prusc's functions."""

import pytest
import torch
from jaxtyping import TypeCheckError

from prusc.config import MaskConfig
from prusc.losses import unit_rows


def test_a_wrong_shape_a_wrong_type_and_a_wrong_field_are_refused() -> None:
    assert unit_rows(torch.ones(3, 2)).shape == (3, 2)
    for wrong in (torch.ones(3), torch.ones(3, 2, dtype=torch.long), [1.0], None):
        with pytest.raises(TypeCheckError, match=r"the parameters of prusc\.losses\.unit_rows\.unit_rows"):
            unit_rows(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="MaskConfig"):
        MaskConfig(steps="3")  # type: ignore[arg-type]


def test_an_int_may_stand_for_a_float() -> None:
    assert MaskConfig(beta=1).beta == 1
