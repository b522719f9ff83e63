"""The runtime: device, precision, memory layout, processes and random generators."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed import all_gather_into_tensor

from prusc.config import RuntimeConfig
from prusc.errors import ConfigError, PruscError

T = TypeVar("T")


class Runtime:
    """One process's view of the hardware and of the other processes.

    Under ``torchrun`` every process creates one, and all must run the same stages in the same order.

    Args:
        config: Device, precision and layout.

    Raises:
        ConfigError: If this machine does not have the device.
    """

    def __init__(self, config: RuntimeConfig | None = None) -> None:
        self.config = config or RuntimeConfig()
        num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        num_processes = int(os.environ.get("WORLD_SIZE", "1"))
        try:
            self.fabric = Fabric(
                accelerator=self.config.device,
                devices=num_local,
                num_nodes=max(num_processes // num_local, 1),
                strategy="ddp" if num_processes > 1 else "auto",
                precision=self.config.precision,
            )
        except RuntimeError as error:
            raise ConfigError(
                f"runtime.device {self.config.device!r} cannot be used: {error} Choose one of this machine, or 'auto'"
            ) from error
        if num_processes > 1:
            self.fabric.launch()

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        return self.fabric.device

    @property
    def num_processes(self) -> int:
        """Number of processes that share the run."""
        return self.fabric.world_size

    @property
    def rank(self) -> int:
        """Number of this process among all of them."""
        return self.fabric.global_rank

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, in channels-last layout if the config asks for it."""
        if self.config.channels_last:
            return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context that computes in the configured precision."""
        return self.fabric.autocast()

    def shard(self, indices: Tensor) -> Tensor:
        """Return this process's part of a batch: every ``num_processes``-th entry."""
        return indices[self.rank :: self.num_processes]

    def augmentation_generator(self, generator: torch.Generator, step: int) -> torch.Generator:
        """Return the generator that augments this process's part of the batch of a step.

        One process uses the generator itself. With several, each process gets its own. So the shared generator, which
        draws the batches, stays the same in all of them, however many samples each augments.
        """
        if self.num_processes == 1:
            return generator
        return stage_generator(generator.initial_seed(), f"augmentation of step {step} in process {self.rank}")

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the equally long parts of all processes; gradients flow back to each part."""
        if self.num_processes == 1:
            return tensor
        gathered: Any = self.fabric.all_gather(tensor.contiguous(), sync_grads=tensor.requires_grad)
        return gathered.flatten(0, 1)  # type: ignore[no-any-return]

    def gather_uneven(self, part: Tensor, total: int) -> Tensor:
        """Concatenate the parts that `contiguous_part` returned, without gradients."""
        if self.num_processes == 1:
            return part
        longest = -(-total // self.num_processes)
        padded = part.new_zeros((longest, *part.shape[1:]))
        padded[: len(part)] = part
        gathered = padded.new_empty((self.num_processes * longest, *part.shape[1:]))
        all_gather_into_tensor(gathered, padded)
        parts = gathered.split(longest)
        return torch.cat([parts[rank][: len(self.part_of(rank, total))] for rank in range(self.num_processes)])

    def contiguous_part(self, total: int) -> range:
        """Return this process's part of ``range(total)``; the lengths of the parts differ by 1 at most."""
        return self.part_of(self.rank, total)

    def part_of(self, rank: int, total: int) -> range:
        """Return the part of ``range(total)`` that another process has; see `contiguous_part`."""
        return range(rank * total // self.num_processes, (rank + 1) * total // self.num_processes)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient with its mean over the processes."""
        if self.num_processes == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat: Any = self.fabric.all_reduce(torch.cat([g.reshape(-1) for g in gradients]), reduce_op="mean")
        for gradient, value in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(value.view_as(gradient))

    def average(self, value: Tensor) -> Tensor:
        """Return the mean of a number over the processes, without a gradient."""
        if self.num_processes == 1:
            return value.detach()
        mean: Any = self.fabric.all_reduce(value.detach().clone(), reduce_op="mean")
        return mean  # type: ignore[no-any-return]

    def broadcast(self, value: T, source: int = 0) -> T:
        """Return the value of one process, the main one if none is named, in every process."""
        if self.num_processes == 1:
            return value
        return self.fabric.broadcast(value, src=source)

    def share(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """Do pieces of work that need no other process, each in one of the processes.

        Args:
            works: The same in every process, and each with the same result whichever process does it.

        Returns:
            The results in order, in every process.

        Raises:
            PruscError: The error of the first piece that has one, in every process.
        """
        if self.num_processes == 1:
            return [work() for work in works]
        own: dict[int, T | PruscError] = {}
        for index in range(self.rank, len(works), self.num_processes):
            try:
                own[index] = works[index]()
            except PruscError as error:
                # Raised here, it would leave the others waiting.
                own[index] = error
        results: list[T] = []
        for index in range(len(works)):
            result = self.broadcast(own.get(index), index % self.num_processes)
            if isinstance(result, PruscError):
                raise result
            results.append(result)  # type: ignore[arg-type]
        return results

    def barrier(self) -> None:
        """Wait until every process has reached this point."""
        self.fabric.barrier()


def stage_generator(seed: int, stage: str) -> torch.Generator:
    """Make the CPU generator of one stage.

    Each stage has its own, so that a resumed run draws the same numbers as an uninterrupted one.

    Args:
        seed: Of the run.
        stage: Name of the stage.

    Returns:
        A new generator that depends on these two only.
    """
    digest = hashlib.sha256(f"{seed}/{stage}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)


@contextmanager
def global_randomness(generator: torch.Generator) -> Iterator[None]:
    """Inside the ``with`` block, seed the global generators, which dropout uses; afterwards restore them."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        yield
