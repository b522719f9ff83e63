"""What the masks of several functions cost: against single masks, and mask samples in slices against vmap.

    python benchmarks/function_masks.py [--repeats 7] [--device cuda] [--out docs/data/modularity-speed.json]

The first figure is the time of N masks over that of N single masks, at the same number of samples. The second one
compares two ways to give each slice of a batch a mask of its own: one call per slice, or one call for all through
torch.func.vmap.
"""

import argparse
import json
from pathlib import Path

import torch
from interleaved import describe, interleave, median_ratio
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from prusc.config import FunctionMaskConfig
from prusc.masks import MaskedModel, sample_masked_weight
from prusc.masks.masked_model import evaluation_with_gradients
from prusc.models.build import SmallCNN
from prusc.stages.modularity import Examples, learn_function_masks
from prusc.stages.modularity.learning import accumulate_gradients

NUM_CLASSES = 10


def make_cases(batch_size: int, device: str) -> dict[str, tuple[nn.Module, Tensor]]:
    """Return networks with a batch each."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(42, 256), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Linear(256, 256), nn.ReLU()]
    fnn = nn.Sequential(*layers, nn.Linear(256, NUM_CLASSES))
    return {
        "FNN 4 x 256": (fnn.to(device), torch.randn(batch_size, 42, device=device)),
        "SmallCNN 28 px": (SmallCNN(NUM_CLASSES, 1).to(device), torch.randn(batch_size, 1, 28, 28, device=device)),
    }


def sliced_step(model: nn.Module, inputs: Tensor, labels: Tensor, config: FunctionMaskConfig) -> None:
    """Run the step of `learn_function_masks`."""
    masked = MaskedModel(model, initial_logit=2.0, train_network=False)
    accumulate_gradients(masked, "all", inputs, labels, config)


def vmapped_step(model: nn.Module, inputs: Tensor, labels: Tensor, config: FunctionMaskConfig) -> None:
    """Run the same step with one call for all slices."""
    masked = MaskedModel(model, initial_logit=2.0, train_network=False)
    weights = dict(model.named_parameters())
    fixed = {name: value.detach() for name, value in weights.items() if name not in masked.parameter_names}
    sampled = {
        name: torch.stack([sample_masked_weight(logits, weights[name].detach()) for _ in range(config.mask_samples)])
        for name, logits in zip(masked.parameter_names, masked.mask_logits, strict=True)
    }

    def call(own: dict[str, Tensor], part: Tensor) -> Tensor:
        output: Tensor = functional_call(model, {**fixed, **own}, (part,))
        return output

    with evaluation_with_gradients(model):
        logits = vmap(call)(sampled, inputs.unflatten(0, (config.mask_samples, -1)))
    F.cross_entropy(logits.flatten(0, 1), labels).backward()
    for mask_logits in masked.mask_logits:
        assert mask_logits.grad is not None
        mask_logits.grad.add_(config.sparsity / len(labels))
    nn.utils.clip_grad_norm_(masked.parameters(), config.clip)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--functions", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = FunctionMaskConfig(steps=arguments.steps, batch_size=128, require_skill=False)
    figures: dict[str, float] = {}
    print(f"{arguments.device}, {arguments.threads} threads, torch {torch.__version__}, batch {config.batch_size}")
    for name, (model, inputs) in make_cases(config.batch_size, arguments.device).items():
        labels = torch.arange(config.batch_size, device=arguments.device) % NUM_CLASSES
        data = Examples(inputs, labels)
        functions = {f"function {i}": data for i in range(arguments.functions)}

        def wait() -> None:
            if arguments.device == "cuda":
                torch.cuda.synchronize()

        def many(model: nn.Module = model, functions: dict[str, Examples] = functions) -> None:
            learn_function_masks(model, functions, config)
            wait()

        def single(model: nn.Module = model, functions: dict[str, Examples] = functions) -> None:
            for function, own in functions.items():
                learn_function_masks(model, {function: own}, config)
            wait()

        def slices(model: nn.Module = model, inputs: Tensor = inputs, labels: Tensor = labels) -> None:
            sliced_step(model, inputs, labels, config)
            wait()

        def vmapped(model: nn.Module = model, inputs: Tensor = inputs, labels: Tensor = labels) -> None:
            vmapped_step(model, inputs, labels, config)
            wait()

        seconds = interleave({"many": many, "single": single}, arguments.repeats, warmup=1)
        seconds |= interleave({"slices": slices, "vmap": vmapped}, 3 * arguments.repeats)
        key = name.split()[0].lower()
        figures[f"many_to_single_{key}"] = median_ratio(seconds, "many", "single")
        figures[f"vmap_to_slices_{key}"] = median_ratio(seconds, "vmap", "slices")
        print(f"\n{name}, {arguments.functions} functions, {arguments.steps} steps each; a step of 4 mask samples")
        for variant in seconds:
            print(f"  {variant:<7} {describe(seconds, variant)}")
        print(f"  many / single = {figures[f'many_to_single_{key}']:.3f}")
        print(f"  vmap / slices = {figures[f'vmap_to_slices_{key}']:.3f}")
    told = json.dumps({name: round(value, 4) for name, value in figures.items()})
    print(told)
    if arguments.out is not None:
        arguments.out.write_text(f"{told}\n", "utf-8")


if __name__ == "__main__":
    main()
