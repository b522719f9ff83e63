import pytest
import torch
from torch import nn

from prusc.models.reset import untrained_copy
from tests.networks import ConvNet, Recurrent, generator, randomise


@pytest.mark.parametrize("make", [ConvNet, Recurrent, lambda: nn.MultiheadAttention(4, 2)])
def test_every_layer_draws_its_weights_anew(make: type[nn.Module]) -> None:
    model = randomise(make()).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    fresh, again, other = (untrained_copy(model, generator(seed)) for seed in (0, 0, 1))
    assert fresh is not None
    assert again is not None
    assert other is not None
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(value, fresh.state_dict()[name]), name
        assert torch.equal(fresh.state_dict()[name], again.state_dict()[name])
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in fresh.state_dict().items())
    assert all(parameter.requires_grad for parameter in fresh.parameters())


def test_weights_that_no_layer_holds_cannot_be_drawn_anew() -> None:
    class Bare(nn.Module):
        def __init__(self, num_bare: int) -> None:
            super().__init__()
            self.bare = nn.Parameter(torch.ones(num_bare))
            self.head = nn.Linear(4, 2)

    assert untrained_copy(Bare(11), generator()) is None
    fresh = untrained_copy(Bare(10), generator())
    assert fresh is not None
    assert torch.equal(fresh.get_parameter("bare"), torch.ones(10))
