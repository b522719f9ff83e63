"""Where a run computes: device, precision, memory layout, processes and its sources of randomness."""

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed import all_gather_into_tensor

from prusc.config import RuntimeConfig
from prusc.errors import ConfigError

T = TypeVar("T")

# Their numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


class Runtime:
    """One process's view of the hardware and of the other processes.

    Under ``torchrun`` every process makes one; all of them must run the same stages in the same order.

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
                f"runtime.device {self.config.device!r} cannot be used: {error} Choose one that is there, or 'auto'"
            ) from error
        if num_processes > 1:
            self.fabric.launch()

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    @property
    def num_processes(self) -> int:
        """How many processes share the run."""
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
        """Move a model to the device and, where asked for, its weights to channels-last."""
        if self.config.channels_last:
            return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the configured precision."""
        return self.fabric.autocast()

    def shard(self, indices: Tensor) -> Tensor:
        """Return this process's part of a batch: every ``num_processes``-th entry."""
        return indices[self.rank :: self.num_processes]

    def augmentation_generator(self, generator: torch.Generator, step: int) -> torch.Generator:
        """Return what this process's part of the batch of a step is augmented with.

        With one process the generator itself. With several each has its own, so that the one they share, which decides
        the batches, stays the same in all of them however many samples each one augments.
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
        """Concatenate the contiguous parts that `contiguous_part` handed out, without gradients."""
        if self.num_processes == 1:
            return part
        longest = -(-total // self.num_processes)
        padded = part.new_zeros((longest, *part.shape[1:]))
        padded[: len(part)] = part
        gathered = padded.new_empty((self.num_processes * longest, *part.shape[1:]))
        all_gather_into_tensor(gathered, padded)
        parts = gathered.split(longest)
        return torch.cat([parts[rank][: len(self._part_of(rank, total))] for rank in range(self.num_processes)])

    def contiguous_part(self, total: int) -> range:
        """Return this process's part of ``range(total)``; the lengths of the parts differ by 1 at most."""
        return self._part_of(self.rank, total)

    def _part_of(self, rank: int, total: int) -> range:
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

    def broadcast(self, value: T) -> T:
        """Return the main process's value in every process."""
        if self.num_processes == 1:
            return value
        return self.fabric.broadcast(value)

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.fabric.barrier()


def stage_generator(seed: int, stage: str) -> torch.Generator:
    """Make the CPU generator of one stage.

    Every stage has its own, so that a run that resumes in the middle draws what an uninterrupted one would have drawn.

    Args:
        seed: Of the run.
        stage: Name of the stage.

    Returns:
        A new generator, a function of both alone.
    """
    digest = hashlib.sha256(f"{seed}/{stage}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)


@contextmanager
def global_randomness(generator: torch.Generator) -> Iterator[None]:
    """Seed the global generators, which dropout draws from, and put them back as they were afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        yield


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held so far; ``None`` where the system does not say (Windows)."""
    if sys.platform == "win32":
        return None
    import resource  # Not there on Windows.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, all others kibibytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, instead of giving it back to the system: for processes of ours.

    A step of training frees all its tensors, and the next one asks for as many. By default glibc gives large ones back,
    and takes them anew page by page, each zeroed by the kernel: up to a third of the time of a step on a CPU
    (docs/results/performance.md). What it costs is memory between the stages: the process stays as large as it was.

    Returns:
        Whether the C library has such settings; others than glibc are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # Another C library; Windows does not even take the None.
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def is_main_process() -> bool:
    """Whether this process writes and prints: the only one, or the first that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"
