import pytest
import torch

from prusc.losses import unit_rows
from tests.networks import generator


@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e-25, 1e25, 1e38])
def test_directions_do_not_depend_on_the_scale(scale: float) -> None:
    values = torch.randn(6, 4, generator=generator()).clamp(-3, 3)
    exact = (values * scale).double()
    exact = exact / exact.square().sum(dim=1, keepdim=True).sqrt()
    found = unit_rows(values * scale)
    assert torch.allclose(found.double(), exact, atol=1e-6)


def test_ordinary_numbers_keep_every_digit_and_zeros_stay() -> None:
    values = torch.randn(50, 7, generator=generator())
    assert torch.equal(unit_rows(values), torch.nn.functional.normalize(values, dim=1))
    assert unit_rows(torch.zeros(2, 3)).eq(0).all()
    assert unit_rows(torch.tensor([[float("nan"), 1.0]])).isnan().any()


@pytest.mark.parametrize("scale", [1e-11, 1e-3, 1.0, 1e6, 1e14])
def test_the_fast_way_gives_the_same_digits_as_the_safe_one(scale: float) -> None:
    values = scale * torch.randn(200, 33, generator=generator())
    assert torch.equal(unit_rows(values), unit_rows(values.clone().requires_grad_()).detach())


def test_the_gradient_is_the_slope() -> None:
    values = torch.randn(3, 4, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, values)
