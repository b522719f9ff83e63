"""Stage 2: what the network sees, one vector per sample."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prusc.data.batches import iterate_batches
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.runtime import Runtime
from prusc.errors import ModelError
from prusc.masks import module_modes
from prusc.models.calls import call_model, to_device
from prusc.models.head import RepresentationTap


@dataclass(frozen=True, eq=False)
class Representations:
    """The representations of one split, in the data set's order, on the CPU.

    Attributes:
        values: What enters the head.
        logits: What leaves it.
        labels: Class of each sample.
        sample_ids: Name of each sample.
    """

    values: Float[Tensor, "samples dim"]
    logits: Float[Tensor, "samples classes"]
    labels: Int[Tensor, " samples"]
    sample_ids: tuple[str, ...]

    @property
    def predictions(self) -> Int[Tensor, " samples"]:
        """The class with the largest logit."""
        return self.logits.argmax(dim=1)


def predict(
    model: nn.Module, split: Split, transform: InputTransform, runtime: Runtime
) -> Float[Tensor, "samples classes"]:
    """Return the logits of any network over a split, in evaluation mode, in the split's order.

    It does without a head, so that networks that are no chain of encoder and head have logits too.

    Args:
        model: On the runtime's device.
        split: What to run over.
        transform: Normalisation.
        runtime: Where to compute; each process runs over the whole.
    """
    batches = iterate_batches(
        split.inputs,
        torch.arange(len(split)),
        batch_size=runtime.config.eval_batch_size,
        num_workers=runtime.config.num_workers,
    )
    logits = []
    with torch.inference_mode(), module_modes(model, False):
        for inputs in batches:
            inputs = to_device(inputs, runtime.device, channels_last=runtime.config.channels_last)
            with runtime.autocast():
                logits.append(call_model(model, transform(inputs)).float().cpu())
    return torch.cat(logits).clone()


def extract_representations(
    model: nn.Module,
    head_name: str,
    split: Split,
    transform: InputTransform,
    runtime: Runtime,
    *,
    generator: torch.Generator | None = None,
) -> Representations:
    """Run a network over a split in evaluation mode.

    Args:
        model: On the runtime's device; its modes and hooks are as before afterwards.
        head_name: Module name of its head.
        split: What to run over.
        transform: Normalisation, and augmentation if there is a generator.
        runtime: Where to compute; with several processes each one takes a part and all get the whole.
        generator: Source of the augmentation; ``None`` leaves the images whole.

    Returns:
        Representations and logits in the split's order.

    Raises:
        ModelError: If a representation is not finite.
    """
    part = runtime.contiguous_part(len(split))
    if generator is not None:
        generator = runtime.augmentation_generator(generator, 0)
    values: Tensor | None = None
    logits: Tensor | None = None
    done = 0
    batches = iterate_batches(
        split.inputs,
        torch.arange(part.start, part.stop),
        batch_size=runtime.config.eval_batch_size,
        num_workers=runtime.config.num_workers,
    )
    with torch.inference_mode(), module_modes(model, False), RepresentationTap(model, head_name) as tap:
        for inputs in batches:
            inputs = to_device(inputs, runtime.device, channels_last=runtime.config.channels_last)
            with runtime.autocast():
                batch_logits = call_model(model, transform(inputs, generator=generator))
            batch_values = tap.take()
            if values is None or logits is None:
                values = torch.empty(len(part), batch_values.shape[1])
                logits = torch.empty(len(part), batch_logits.shape[1])
            values[done : done + len(batch_values)] = batch_values
            logits[done : done + len(batch_logits)] = batch_logits
            done += len(batch_values)
    assert values is not None and logits is not None, "a split has samples"
    if runtime.num_processes > 1:
        values = runtime.gather_uneven(values.to(runtime.device), len(split)).cpu()
        logits = runtime.gather_uneven(logits.to(runtime.device), len(split)).cpu()
    # Tensors made in inference mode must not be saved for a later backward pass.
    values, logits = values.clone(), logits.clone()
    bad = ~(values.isfinite().all(dim=1) & logits.isfinite().all(dim=1))
    if bool(bad.any()):
        first = int(bad.nonzero()[0, 0])
        raise ModelError(
            f"{int(bad.sum())} of {len(split)} samples have a representation that is not finite, the first is "
            f"{split.sample_ids[first]!r}; check the network's weights and the precision"
        )
    return Representations(values, logits, split.labels, split.sample_ids)
