"""Stage 2: representations: for each sample, the vector that enters the head."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prusc.data.rows import RowWriter, StoredRows, block_length, find_not_finite
from prusc.data.table import Split
from prusc.engine.feed import Feed, as_feed
from prusc.engine.progress import ProgressOption, resolve_progress
from prusc.engine.runtime import Runtime
from prusc.errors import ModelError
from prusc.masks import module_modes
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap, find_head


@dataclass(frozen=True, eq=False, repr=False)
class Representations:
    """Representations and logits of one split, in its order, on the CPU.

    Attributes:
        values: Input of the head; on disk if it exceeds ``runtime.representation_gib``.
        logits: Output of the network.
        labels: Class of each sample.
        sample_ids: Name of each sample.
    """

    values: Float[Tensor, "samples dim"] | StoredRows
    logits: Float[Tensor, "samples classes"]
    labels: Int[Tensor, " samples"]
    sample_ids: Sequence[str]

    def __repr__(self) -> str:
        right = (self.predictions == self.labels).double().mean().item()
        return f"Representations({len(self.values)} samples x {self.values.shape[1]}, accuracy {100 * right:.1f} %)"

    @property
    def held(self) -> Float[Tensor, "samples dim"]:
        """The representations in memory; they are read if they are on disk."""
        return self.values[:]

    @property
    def predictions(self) -> Int[Tensor, " samples"]:
        """The class with the largest logit."""
        return self.logits.argmax(dim=1)


def predict(model: nn.Module, data: Split | Feed) -> Float[Tensor, "samples classes"]:
    """Return the logits of a network over a split, in evaluation mode and in the split's order.

    The network needs no head, so any classifier works.

    Args:
        model: On the feed's device.
        data: The split. With several processes each one runs over a part, and all get the whole result.
    """
    feed = as_feed(data, model)
    runtime = feed.runtime
    is_shared = len(feed) >= runtime.num_processes
    part = runtime.contiguous_part(len(feed)) if is_shared else range(len(feed))
    # The outermost autocast casts each weight once, not once for each batch.
    with torch.inference_mode(), module_modes(model, False), runtime.autocast():
        batches = [batch for (batch,) in _copy_behind(_run(model, feed, part))]
    # A tensor from inference mode cannot take part in a later backward pass; its clone can.
    logits = torch.cat(batches).clone()
    return runtime.gather_uneven(logits.to(runtime.device), len(feed)).cpu() if is_shared else logits


def _run(model: nn.Module, feed: Feed, part: range) -> Iterator[tuple[Tensor]]:
    for inputs in feed.iterate(part):
        yield (call_model(model, inputs).float(),)


def _copy_behind(batches: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors of each batch on the CPU, one batch late.

    A copy that is waited for at once would leave a GPU idle until the next batch is loaded and launched.
    """
    waiting: tuple[tuple[Tensor, ...], torch.cuda.Event | None] | None = None
    for tensors in batches:
        copied = tuple(tensor.to("cpu", non_blocking=True) for tensor in tensors)
        event = torch.cuda.Event() if tensors[0].is_cuda else None
        if event is not None:
            event.record()
        if waiting is not None:
            yield _wait(*waiting)
        waiting = copied, event
    if waiting is not None:
        yield _wait(*waiting)


def _wait(tensors: tuple[Tensor, ...], event: torch.cuda.Event | None) -> tuple[Tensor, ...]:
    if event is not None:
        event.synchronize()
    return tensors


def extract_representations(
    model: nn.Module,
    data: Split | Feed,
    *,
    head_name: str | None = None,
    generator: torch.Generator | None = None,
    progress: ProgressOption = None,
) -> Representations:
    """Run a network over a split in evaluation mode, and keep the input of its head and its logits.

    Args:
        model: Not changed: afterwards its modes and hooks are as before.
        data: The split. With several processes each one runs over a part, and all get the whole result.
        head_name: Module name of the head; found if ``None``.
        generator: Source of the augmentation; no augmentation if ``None``.
        progress: Where progress is reported.

    Returns:
        Representations and logits in the split's order.

    Raises:
        ModelError: If the head cannot be found, or a representation is not finite.

    Example:
        >>> import prusc
        >>> from prusc.models.build import SmallCNN
        >>> data = prusc.load_data("fashion-stickers")
        >>> found = prusc.extract_representations(SmallCNN(num_classes=4), data.val.subset(range(8)))
        >>> found.values.shape
        torch.Size([8, 128])
    """
    feed, report = as_feed(data, model), resolve_progress(progress)
    runtime, num_samples = feed.runtime, len(feed)
    if head_name is None:
        head_name = find_head(model, feed.take(torch.arange(min(2, num_samples))))
    part = runtime.contiguous_part(num_samples)
    if generator is not None:
        generator = runtime.augmentation_generator(generator, 0)
    values: _Kept | None = None
    logits: Tensor | None = None
    done = 0
    tapping = RepresentationTap(model, head_name)
    # The outermost autocast casts each weight once, not once for each batch.
    with torch.inference_mode(), module_modes(model, False), runtime.autocast(), tapping as tap:

        def run() -> Iterator[tuple[Tensor, Tensor]]:
            for inputs in feed.iterate(part, generator=generator):
                batch_logits = call_model(model, inputs)
                yield tap.take().float(), batch_logits.float()

        for batch_values, batch_logits in _copy_behind(run()):
            if values is None or logits is None:
                values = _Kept(len(part), batch_values.shape[1], num_samples, runtime)
                logits = torch.empty(len(part), batch_logits.shape[1])
            values.write(done, batch_values)
            logits[done : done + len(batch_logits)] = batch_logits
            done += len(batch_values)
            report.advance("representations", done, len(part))
    assert values is not None and logits is not None, "a split has samples"
    rows = values.gather(num_samples)
    if runtime.num_processes > 1:
        logits = runtime.gather_uneven(logits.to(runtime.device), num_samples).cpu()
    # A tensor from inference mode cannot take part in a later backward pass; its clone can.
    logits = logits.clone()
    bad = find_not_finite(rows) | find_not_finite(logits)
    if bool(bad.any()):
        first = int(bad.nonzero()[0, 0])
        raise ModelError(
            f"{int(bad.sum())} of {num_samples} samples have a representation that is not finite, the first is "
            f"{feed.split.sample_ids[first]!r}; check the network's weights and the precision"
        )
    return Representations(rows, logits, feed.split.labels, feed.split.sample_ids)


class _Kept:
    """This process's part of the representations, in memory or on disk.

    Args:
        num_rows: Size of the part.
        dim: Numbers per representation.
        num_samples: Number of samples of all processes, which decides where representations lie.
        runtime: Limit and place, and the processes.
    """

    def __init__(self, num_rows: int, dim: int, num_samples: int, runtime: Runtime) -> None:
        self.runtime, self.dim = runtime, dim
        is_large = 4 * num_samples * dim > runtime.config.representation_gib * 2**30
        self.held = None if is_large else torch.empty(num_rows, dim)
        self.stored = self._make_writer(num_rows) if is_large else None

    def _make_writer(self, num_rows: int) -> RowWriter:
        config = self.runtime.config
        return RowWriter(num_rows, self.dim, bits=config.representation_bits, folder=config.scratch)

    def write(self, start: int, batch: Float[Tensor, "batch dim"]) -> None:
        if self.stored is not None:
            self.stored.write(start, batch)
        else:
            assert self.held is not None
            self.held[start : start + len(batch)] = batch

    def gather(self, num_samples: int) -> Tensor | StoredRows:
        """Return the representations of all processes."""
        runtime = self.runtime
        if self.held is not None:
            held = self.held
            if runtime.num_processes > 1:
                held = runtime.gather_uneven(held.to(runtime.device), num_samples).cpu()
            return held.clone()
        assert self.stored is not None
        own = self.stored.finish()
        if runtime.num_processes == 1:
            return own
        whole = self._make_writer(num_samples)
        parts = [runtime.part_of(rank, num_samples) for rank in range(runtime.num_processes)]
        size = block_length(own)
        for start in range(0, max(map(len, parts)), size):
            # All send as much at once, padded where a part ends.
            block = torch.zeros(size, self.dim)
            mine = own[start : start + size]
            block[: len(mine)] = mine
            gathered = runtime.gather(block.to(runtime.device)).cpu().split(size)
            for part, found in zip(parts, gathered, strict=True):
                num_rows = max(0, min(size, len(part) - start))
                whole.write(part.start + start, found[:num_rows])
        return whole.finish()
