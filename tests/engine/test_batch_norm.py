# That several processes get the statistics of the whole batch is shown by test_two_processes.py.
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prusc.config import RuntimeConfig
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.runtime import Runtime
from tests.networks import WithActivatedNorm, random_images, randomise, small_cnn
from tests.traces import no_trace


class OneOfTwo(Runtime):
    """What a process of two would see; in evaluation mode nothing has to be sent."""

    def __init__(self) -> None:
        super().__init__(RuntimeConfig(device="cpu"))

    @property
    def num_processes(self) -> int:
        return 2


def test_with_one_process_nothing_changes() -> None:
    model = small_cnn().train()
    with no_trace(model), synchronized_batch_norm(model, Runtime(RuntimeConfig(device="cpu"))):
        assert all("forward" not in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("build", [small_cnn, lambda: randomise(WithActivatedNorm())])
def test_evaluation_mode_is_that_of_the_module(build: Callable[[], nn.Module]) -> None:
    model, images = build(), random_images(4)
    expected = model(images)
    with no_trace(model):
        with synchronized_batch_norm(model, OneOfTwo()):
            assert any("forward" in module.__dict__ for module in model.modules())
            found = model(images)
        assert torch.equal(model(images), expected)
    torch.testing.assert_close(found, expected)


def test_an_exception_leaves_no_trace() -> None:
    model = small_cnn().train()
    with no_trace(model), pytest.raises(KeyError), synchronized_batch_norm(model, OneOfTwo()):
        raise KeyError


def test_a_forward_of_the_users_own_comes_back() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))

    def own(inputs: Tensor) -> Tensor:
        return inputs + 1

    model[0].forward = own
    with synchronized_batch_norm(model, OneOfTwo()):
        assert model[0].forward is not own
    assert model[0].forward is own
