"""Does the class share its weights with the shortcut, before and after PruSC?"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import prusc
from function_experiments.measuring import Figure, Settings, share_figure
from prusc.config import ERMConfig, FinetuneConfig, MaskConfig, read_config
from prusc.data import Data, InputTransform, load_data
from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.engine.runtime import stage_generator
from prusc.models.build import SmallCNN
from prusc.stages.modularity import Examples, compare_masks, learn_function_masks, stability
from prusc.stages.modularity.prediction import judge_samples, predict_outputs


def fashion_stickers(settings: Settings, seed: int, source: Path | None) -> list[Figure]:
    """Masks for the class and for the colour of the sticker, over the ERM network and the chosen network.

    Here the steps of training are epochs, and the limit is the number of steps of PruSC's mask learning.

    Args:
        settings: Of the run and the masks.
        seed: Of the run and the masks.
        source: Parent of finished run folders with these settings, ``seed-0`` and so on; ``None`` runs PruSC.
    """
    # The same images, with stickers that say nothing about the class: so the two functions are different ones.
    apart = load_data("fashion-stickers", correlation=0.25, data_seed=seed)
    config = prusc.RunConfig(
        seed=seed,
        controls=False,
        erm=ERMConfig(epochs=settings.training.steps, flip=True),
        masks=MaskConfig(steps=settings.limit, batch_size=settings.training.batch_size),
        finetune=FinetuneConfig(learning_rates=()),
    )
    figures = []
    for when, model in _make_networks(config, source).items():
        figures += _describe(model, apart, when, settings, seed)
    return figures


def _make_networks(config: prusc.RunConfig, source: Path | None) -> dict[str, nn.Module]:
    """Return the ERM network and the network that PruSC chose."""
    if source is None:
        result = prusc.debias(config=config)
        return {"before": result.erm, "after": result.model}
    folder = source / f"seed-{config.seed}"
    found = read_config(folder / "config.toml")
    for part in ("data", "model", "seed", "erm", "clustering", "debiasing_set", "masks", "finetune", "selection"):
        if getattr(found, part) != getattr(config, part):
            raise SystemExit(f"{folder} has other settings: {part} is {getattr(found, part)}")
    networks: dict[str, nn.Module] = {}
    for when, file in (("before", "erm"), ("after", "model")):
        networks[when] = SmallCNN(num_classes=4).eval()
        networks[when].load_state_dict(load_file(folder / f"{file}.safetensors"))
    return networks


def _describe(model: nn.Module, apart: Data, when: str, settings: Settings, seed: int) -> list[Figure]:
    samples, tests = (
        {"class": as_examples(split, split.labels), "attribute": as_examples(split, _colours(split))}
        for split in (apart.train, apart.test)
    )
    # After PruSC the network may know the colour no better than chance, which is the point.
    config = replace(settings.masks, require_skill=False)
    masks, again = (
        learn_function_masks(model, samples, config, generator=stage_generator(seed, f"{when} {number}"))
        for number in (1, 2)
    )
    figures = []
    for name, data in tests.items():
        for mask_name, mask in (("no mask", None), *masks.masks.items()):
            right = judge_samples(predict_outputs(model, mask, data, name=name), data.labels)
            figures.append(share_figure(f"{when}/accuracy/{mask_name}/{name}", right))
    comparison = compare_masks(masks)
    for o in comparison.overlaps:
        figures.append(Figure(f"{when}/iou/{o.layer}", o.iou, *o.iou_ci95, o.num_either))
        figures.append(Figure(f"{when}/subsetness/{o.layer}", o.subsetness, *o.subsetness_ci95))
    figures += [
        Figure(f"{when}/stability/{o.layer}/{o.first}", o.iou, *o.iou_ci95, o.num_either)
        for o in stability(masks, again)
    ]
    figures += [
        Figure(f"{when}/density/{share.layer}/{share.name}", share.density, num=share.num_weights)
        for share in comparison.shares
    ]
    return figures


def as_examples(split: Split, labels: torch.Tensor) -> Examples:
    """Return the normalised images of a split, with these labels."""
    transform = split.transform or InputTransform((0.5,) * 3, (0.5,) * 3)
    return Examples(transform(take_inputs(split.inputs, torch.arange(len(split)))), labels)


def _colours(split: Split) -> torch.Tensor:
    """Return the colour of each sticker, whose number is that of the class that it goes with."""
    assert split.attributes is not None
    return split.attributes[:, 0]
