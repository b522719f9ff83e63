import functools
import operator
import os

import numpy as np
import pytest
import torch
from torch import nn

from prusc.config import RuntimeConfig
from prusc.engine.runtime import Runtime, global_randomness, stage_generator
from tests.networks import generator

CPU = RuntimeConfig(device="cpu")


class OneOfThree(Runtime):
    """What a process of three would see; nothing is sent."""

    def __init__(self, rank: int) -> None:
        super().__init__(CPU)
        self._rank = rank

    @property
    def num_processes(self) -> int:
        return 3

    @property
    def rank(self) -> int:
        return self._rank


def test_making_one_leaves_the_environment_and_randomness_alone() -> None:
    environment, state = dict(os.environ), torch.get_rng_state()
    runtime = Runtime(CPU)
    assert dict(os.environ) == environment
    assert torch.equal(torch.get_rng_state(), state)
    assert runtime.device == torch.device("cpu")
    assert (runtime.num_processes, runtime.rank, runtime.is_main) == (1, 0, True)
    assert not torch.distributed.is_initialized()


def test_the_defaults_are_those_of_the_config() -> None:
    assert Runtime().config == RuntimeConfig()


def test_one_process_has_everything_to_itself() -> None:
    runtime, values = Runtime(CPU), torch.arange(7)
    assert torch.equal(runtime.shard(values), values)
    assert runtime.gather(values) is values
    assert runtime.gather_uneven(values, 7) is values
    assert runtime.contiguous_part(7) == range(7)
    assert runtime.average(torch.tensor(3.0)) == 3
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    runtime.average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 2]
    source = generator()
    assert runtime.augmentation_generator(source, 3) is source
    runtime.barrier()


@pytest.mark.parametrize("total", [0, 1, 2, 3, 9, 10, 11, 100])
def test_parts_cover_everything_once_and_are_as_even_as_can_be(total: int) -> None:
    runtimes = [OneOfThree(rank) for rank in range(3)]
    parts = [runtime.contiguous_part(total) for runtime in runtimes]
    assert [index for part in parts for index in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    shards = [runtime.shard(torch.arange(total)).tolist() for runtime in runtimes]
    assert sorted(functools.reduce(operator.iadd, shards, [])) == list(range(total))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_each_process_augments_with_numbers_of_its_own_and_the_shared_generator_stays() -> None:
    source = generator(5)
    state = source.get_state()
    draws = {
        tuple(OneOfThree(rank).augmentation_generator(source, step).get_state().tolist())
        for rank in range(3)
        for step in range(4)
    }
    assert len(draws) == 12
    assert torch.equal(source.get_state(), state)
    again = OneOfThree(1).augmentation_generator(generator(5), 2)
    assert torch.equal(again.get_state(), OneOfThree(1).augmentation_generator(source, 2).get_state())


def test_place_keeps_the_values_and_gives_the_layout() -> None:
    model = nn.Conv2d(3, 4, 3)
    before = model.weight.clone()
    assert Runtime(RuntimeConfig(device="cpu", channels_last=False)).place(model) is model
    assert torch.equal(model.weight, before)
    assert model.weight.is_contiguous()
    placed = Runtime(RuntimeConfig(device="cpu", channels_last=True)).place(model)
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(placed.weight, before)


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_the_precision_is_that_of_the_products(precision: str, dtype: torch.dtype) -> None:
    layer = nn.Linear(2, 2)
    with Runtime(RuntimeConfig(device="cpu", precision=precision)).autocast():  # type: ignore[arg-type]
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_each_stage_and_seed_has_randomness_of_its_own() -> None:
    first = {
        (seed, stage): torch.rand(4, generator=stage_generator(seed, stage)).tolist()
        for seed in (0, 1, 2**63 - 1)
        for stage in ("erm", "masks")
    }
    assert len({tuple(values) for values in first.values()}) == 6
    assert torch.rand(4, generator=stage_generator(1, "erm")).tolist() == first[1, "erm"]


def test_stage_generators_stay_the_same_from_version_to_version() -> None:
    # Else a run folder of an older version could not be continued.
    assert stage_generator(0, "erm").initial_seed() == 5506682799672242998


def test_global_randomness_is_seeded_within_and_restored_afterwards() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draws = []
    for seed in (1, 1, 2):
        with global_randomness(generator(seed)):
            draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    with pytest.raises(RuntimeError, match="expanded size"), global_randomness(generator()):
        torch.rand(3).expand(2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
