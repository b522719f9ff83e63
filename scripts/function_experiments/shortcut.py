"""Does the class share its weights with the shortcut, before and after PruSC?"""

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from make_generalisation import make_tasks
from torch import nn

import prusc
from function_experiments.measuring import Figure, Place, Settings, share_figure
from prusc.config import ERMConfig, FinetuneConfig, MaskConfig, RuntimeConfig, read_config
from prusc.data import Data, load_data
from prusc.data.table import Split
from prusc.engine.progress import SilentProgress
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError, RunFolderError
from prusc.models.build import SmallCNN
from prusc.models.checkpoints import read_weights
from prusc.models.head import find_head
from prusc.runs.session import Session, open_session
from prusc.stages.candidates import CandidateContext, try_heads, try_training
from prusc.stages.cells import Cells
from prusc.stages.cross_fitting import make_folds
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.mask_learning import learn_masks
from prusc.stages.modularity import (
    ALL_LAYERS,
    Overlap,
    Part,
    compare_masks,
    learn_function_masks,
    stability,
)
from prusc.stages.modularity.comparison import pool_overlaps
from prusc.stages.modularity.functions import FunctionData
from prusc.stages.modularity.prediction import judge_samples, predict_outputs
from prusc.stages.selection.judge import make_judge

ISIC_TASK, ISIC_APART = "moles with stickers", "moles with stickers that say nothing"
Functions = Mapping[str, FunctionData]


def fashion_stickers(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Masks for the class and for the colour of the sticker, over the ERM network and the chosen network.

    Here the steps of training are epochs, and the limit is the number of steps of PruSC's mask learning.

    Args:
        settings: Of the run and the masks.
        seed: Of the run and the masks.
        place: Its source is the parent of finished run folders with these settings, ``seed-0`` and so on; without one,
            PruSC is run.
    """
    # The same images, with stickers that say nothing about the class: so the two functions are different ones.
    apart = load_data("fashion-stickers", correlation=0.25, data_seed=seed)
    config = prusc.RunConfig(
        seed=seed,
        controls=False,
        erm=ERMConfig(epochs=settings.training.steps, flip=True),
        masks=MaskConfig(steps=settings.limit, batch_size=settings.training.batch_size),
        finetune=FinetuneConfig(learning_rates=()),
        runtime=RuntimeConfig(device=place.device.type),  # type: ignore[arg-type]
    )
    functions, tests = ({"class": split, "attribute": _with_attribute(split)} for split in (apart.train, apart.test))
    figures = []
    for when, model in _make_networks(config, place.source).items():
        figures += _describe(model.to(place.device), functions, tests, when, settings, seed)
    return figures


def _make_networks(config: prusc.RunConfig, source: Path | None) -> dict[str, nn.Module]:
    """Return the ERM network and the network that PruSC chose."""
    if source is None:
        result = prusc.debias(config=config)
        return {"before": result.erm, "after": result.model}
    folder = find_run(source, config.seed)
    found = read_config(folder / "config.toml")
    for part in ("data", "model", "seed", "erm", "clustering", "debiasing_set", "masks", "finetune", "selection"):
        if getattr(found, part) != getattr(config, part):
            raise RunFolderError(f"{folder} has other settings: {part} is {getattr(found, part)}")
    networks: dict[str, nn.Module] = {}
    for when, file in (("before", "erm"), ("after", "model")):
        networks[when] = SmallCNN(num_classes=4).eval()
        networks[when].load_state_dict(read_weights(folder / f"{file}.safetensors").tensors)
    return networks


# --------------------------------------------------------------------------------------------------------------- ISIC


def isic(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Masks for the class and for the sticker, over the ERM network and the subnetwork of finished runs on moles.

    The masks learn from images whose stickers say nothing. Each class with and without sticker counts the same there,
    so chance is one half for both functions. Layers are summed up by block: the network has 53 of them.

    Args:
        settings: Of the masks; the training is that of the run.
        seed: Of the run and the masks.
        place: Its source is the parent of the run folders of ``make_generalisation.py --tasks "moles with stickers"``.
    """
    if place.source is None:
        raise RunFolderError(
            "shortcut-isic reads finished runs; make them with PRUSC_DATA=DIR python scripts/make_generalisation.py "
            f'--tasks "{ISIC_TASK}", and give the parent of their folders with --source'
        )
    folder = find_run(place.source, seed)
    images = Path(os.environ.get("PRUSC_DATA", "data"))
    tasks = make_tasks(images)
    config = _check_isic_run(read_config(folder / "config.toml"), tasks[ISIC_TASK][1], folder)
    begin = replace(
        config,
        data=str(images / "isic"),
        # The weights are those of the run, so the ones that it began with are not needed.
        weights=None,
        runtime=replace(config.runtime, device=place.device.type),
    )
    session = open_session(None, None, begin, out=None, force=False, progress=None)
    options = tasks[ISIC_APART][1].data_options.given()
    apart = load_data(begin.data, default_seed=seed, **options)
    apart = replace(apart, mean=session.data.mean, std=session.data.std)
    functions, tests = _balanced(apart.train, repeat=True), _balanced(apart.test, repeat=False)
    networks = {"before": session.runtime.place(session.network)}
    networks["before"].load_state_dict(read_weights(folder / "erm.safetensors").tensors)
    networks["after"], figures = _find_subnetwork(folder, networks["before"], session)
    for when, model in networks.items():
        figures += _describe(model.eval(), functions, tests, when, settings, seed, block_of=_block_of)
    return figures


def find_run(source: Path, seed: int) -> Path:
    """Return the folder of the run with a seed: ``seed-0``, or any name that ends in ``-0`` if there is only one.

    Raises:
        RunFolderError: If there is none, or several, or it lacks a file.
    """
    found = [path for path in sorted(source.glob(f"*-{seed}")) if (path / "config.toml").is_file()]
    if len(found) != 1:
        raise RunFolderError(
            f"{source} has {len(found)} run folders whose names end in -{seed}; expected one, such as seed-{seed}"
        )
    for file in ("erm.safetensors", "model.safetensors"):
        if not (found[0] / file).is_file():
            raise RunFolderError(f"run folder {found[0]} has no {file}; let the run finish first")
    return found[0]


def _check_isic_run(found: prusc.RunConfig, expected: prusc.RunConfig, folder: Path) -> prusc.RunConfig:
    """Return the settings of a run, if its data and its network are those of the task."""
    for part in ("model", "data_options", "erm"):
        if getattr(found, part) != getattr(expected, part):
            raise RunFolderError(
                f"run folder {folder} is no run of {ISIC_TASK!r}: {part} is {getattr(found, part)}, expected "
                f"{getattr(expected, part)}"
            )
    return found


def _find_subnetwork(folder: Path, erm: nn.Module, session: Session) -> tuple[nn.Module, list[Figure]]:
    """Return the network that a run handed back; if that is the ERM network, its best candidate with a mask.

    Finished runs keep the masks of no candidate, so they are learned again, as the run did. The best candidate is that
    of the highest score, which needs no group label.
    """
    state = read_weights(folder / "model.safetensors").tensors
    own = erm.state_dict()
    handed_back = any(not torch.equal(value.cpu(), own[name].cpu()) for name, value in state.items())
    figures = [Figure("after/handed back", float(handed_back))]
    if handed_back:
        network = copy.deepcopy(erm)
        network.load_state_dict(state)
        return network, figures
    data, config = session.data, session.config
    cells = _read_cells(folder / "clusters.csv", data)
    folds = make_folds(
        cells["val"],
        config.debiasing_set,
        num_folds=config.finetune.head_folds,
        generator=stage_generator(config.seed, "folds of validation"),
    )
    context = CandidateContext(
        model=erm,
        head_name=find_head(erm, session.feed.take(torch.arange(2)), data.num_classes),
        data=data,
        feed=session.feed,
        draws=session.draw_feed(data.train),
        debiasing_set=build_debiasing_set(cells["train"], config.debiasing_set),
        folds=folds,
        config=replace(config, evaluate_candidates=False),
        progress=SilentProgress(),
    )
    learned = learn_masks(
        erm,
        context.draws,
        context.debiasing_set,
        context.masks,
        head_name=context.head_name,
        generator=stage_generator(config.seed, "masks"),
    )
    judge = make_judge(cells["val"], config.selection)
    candidates = [c for step, mask in learned.masks.items() for c in try_heads(f"mask@{step}", mask, context)]
    if config.finetune.learning_rates:
        base = judge.choose(candidates).base_name
        candidates += try_training(base, learned.masks[int(base.removeprefix("mask@"))], context)
    best = judge.choose(candidates)
    print(f"seed {config.seed}: the run handed back the ERM network; here stands {best.name}", flush=True)
    return context.make_again(best), figures


def _read_cells(path: Path, data: Data) -> dict[str, Cells]:
    """Return class and pseudo-attribute of the training and validation samples of a finished run."""
    if not path.is_file():
        raise RunFolderError(
            f"{path} does not exist, but the run handed back the ERM network; let the run finish first"
        )
    table = pd.read_csv(path)
    clusters = {name: torch.tensor(table[table.split == name].cluster_assign.to_numpy()) for name in ("train", "val")}
    num_values = int(table.cluster_assign.max()) + 1
    return {name: Cells(data.splits[name].labels, own, data.num_classes, num_values) for name, own in clusters.items()}


def _balanced(split: Split, *, repeat: bool) -> Functions:
    """Return class and attribute of a split in which each class with each value of the attribute counts the same.

    Args:
        split: Images with one attribute.
        repeat: Whether images of small groups stand in it several times; otherwise large groups are cut.

    Raises:
        DataError: If a group is empty.
    """
    attribute = _with_attribute(split)
    groups = [
        ((split.labels == label) & (attribute.labels == value)).nonzero()[:, 0]
        for label in split.labels.unique()
        for value in attribute.labels.unique()
    ]
    sizes = [len(group) for group in groups]
    if not all(sizes):
        raise DataError(f"a class has no image with one value of the attribute (sizes {sizes}); expected some of each")
    size = max(sizes) if repeat else min(sizes)
    # Groups are cut evenly over their order.
    indices = torch.cat([group[(torch.arange(size) * len(group)).div(size, rounding_mode="floor")] for group in groups])
    return {"class": Part(split, indices), "attribute": Part(attribute, indices)}


def _block_of(layer: str) -> str:
    """Return the block of a layer: ``features.3`` of ``features.3.conv.0.0.weight``."""
    return ".".join(layer.split(".")[:2])


def _with_attribute(split: Split) -> Split:
    """Return a split whose labels are the values of its attribute.

    The colour of a sticker of ``fashion-stickers`` has the number of the class that it goes with.
    """
    assert split.attributes is not None
    return replace(split, labels=split.attributes[:, 0])


# --------------------------------------------------------------------------------------------------------------- masks


def _describe(
    model: nn.Module,
    functions: Functions,
    tests: Functions,
    when: str,
    settings: Settings,
    seed: int,
    *,
    block_of: Callable[[str], str] = str,
) -> list[Figure]:
    """Learn both masks twice; return accuracies, overlaps and densities."""
    # After PruSC the network may know the attribute no better than chance, which is the point.
    config = replace(settings.masks, require_skill=False)
    masks, again = (
        learn_function_masks(model, functions, config, generator=stage_generator(seed, f"{when} {number}"))
        for number in (1, 2)
    )
    figures = []
    for name, data in tests.items():
        for mask_name, mask in (("no mask", None), *masks.masks.items()):
            right = judge_samples(predict_outputs(model, mask, data, name=name), data.labels)
            figures.append(share_figure(f"{when}/accuracy/{mask_name}/{name}", right))
    comparison = compare_masks(masks)
    for o in _pool(comparison.overlaps, block_of):
        figures.append(Figure(f"{when}/iou/{o.layer}", o.iou, *o.iou_ci95, o.num_either))
        figures.append(Figure(f"{when}/subsetness/{o.layer}", o.subsetness, *o.subsetness_ci95))
    figures += [
        Figure(f"{when}/stability/{o.layer}/{o.first}", o.iou, *o.iou_ci95, o.num_either)
        for o in _pool(stability(masks, again), block_of)
    ]
    figures += [
        Figure(f"{when}/density/{share.layer}/{share.name}", share.density, num=share.num_weights)
        for share in comparison.shares
        if block_of is str or share.layer == ALL_LAYERS
    ]
    return figures


def _pool(overlaps: Iterable[Overlap], block_of: Callable[[str], str]) -> tuple[Overlap, ...]:
    """Sum up the layers of each block."""
    return pool_overlaps([[o if o.layer == ALL_LAYERS else replace(o, layer=block_of(o.layer)) for o in overlaps]])
