"""The modularity task: masks of a network's functions, and how much of their weights they share."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from prusc.config import RunConfig
from prusc.data import Data
from prusc.data.table import Split
from prusc.engine.display import describe_with_table
from prusc.engine.feed import Feed
from prusc.engine.progress import ProgressOption
from prusc.engine.runtime import stage_generator
from prusc.errors import ConfigError, DataError, RunFolderError, nearest_names
from prusc.masks import BinaryMask, left_out_parameters
from prusc.runs.artifacts import data_to_dict, told_versions
from prusc.runs.folder import FORMAT, MODULARITY, RunFolder
from prusc.runs.session import Session, open_session
from prusc.runs.start import train_or_load
from prusc.stages.modularity.accuracy import AccuracyTable, cross_accuracy
from prusc.stages.modularity.class_removal import (
    CONTROL,
    ClassRemoval,
    make_removal_functions,
    measure_class_removal,
)
from prusc.stages.modularity.comparison import (
    ALL_LAYERS,
    MaskComparison,
    Overlap,
    compare_masks,
    mean_iou,
    overlaps_to_frame,
    pool_overlaps,
    stability,
)
from prusc.stages.modularity.functions import FunctionData, Part, check_functions, check_samples
from prusc.stages.modularity.learning import check_skill, learn_function_masks

ALL_SAMPLES = "all samples"


@dataclass(frozen=True, eq=False, repr=False)
class ModularityResult:
    """Masks of a network's functions.

    Attributes:
        by: What divided the samples into functions.
        masks: The masks of each seed, by the function's name.
        control: Name of the function of all samples.
        accuracies: Test accuracy under each mask of the first seed, on each function.
        comparison: Comparison of the masks of the first seed.
        overlaps: Overlaps of different functions by layer, pooled over the seeds.
        stability: Overlaps of two seeds of one function by layer, pooled over the pairs of seeds: the yardstick.
        removal: What the network forgets without each class; ``None`` unless the functions are made by class.
        num_samples: Training and test samples of each function.
        left_out: Names of the parameters that no mask covers.
        model: The network.
    """

    by: str
    masks: tuple[Mapping[str, BinaryMask], ...]
    control: str
    accuracies: AccuracyTable
    comparison: MaskComparison
    overlaps: tuple[Overlap, ...]
    stability: tuple[Overlap, ...]
    removal: ClassRemoval | None
    num_samples: Mapping[str, tuple[int, int]]
    left_out: tuple[str, ...]
    model: nn.Module

    def __repr__(self) -> str:
        return f"ModularityResult(by {self.by}: {len(self.masks[0])} functions, {len(self.masks)} seeds)"

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """Return one row per function: density, and IoU with the others and with another seed, with 95 % intervals."""
        same = {o.first: o for o in self.stability if o.layer == ALL_LAYERS}
        rows = []
        for name, mask in self.masks[0].items():
            others = [o for o in self.overlaps if o.layer == ALL_LAYERS and name in (o.first, o.second)]
            mean, limits = mean_iou(others)
            rows.append(
                {
                    "function": name,
                    "density": mask.density,
                    "iou_with_others": mean,
                    "iou_with_others_low": limits[0],
                    "iou_with_others_high": limits[1],
                    "iou_with_another_seed": same[name].iou,
                    "iou_with_another_seed_low": same[name].iou_ci95[0],
                    "iou_with_another_seed_high": same[name].iou_ci95[1],
                }
            )
        return pd.DataFrame(rows)


def inspect_modularity(
    model: nn.Module | None = None,
    data: Data | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: ProgressOption = None,
) -> ModularityResult:
    """Learn masks for the functions of a network, and compare them.

    Args:
        model: A trained classifier, not changed. If ``None``, the network of the config is trained or loaded.
        data: The data it was trained on. If ``None``, the data of the config are loaded.
        config: All settings; the defaults if ``None``. ``config.modularity`` says what the functions are.
        out: Run folder; nothing is written if ``None``. An unfinished run with the same settings is resumed.
        force: Delete a previous run in the folder.
        progress: ``True`` shows lines and bars; or an object that progress is reported to.

    Returns:
        Masks, accuracies and overlaps.

    Raises:
        PruscError: If settings, data, network or run folder are not valid, a function has no samples or only one class,
            or the network is no better than chance on a function.

    References:
        Csordas et al. 2021, arXiv:2010.02066.
    """
    config = _name_column(config or RunConfig())
    if out is not None and RunFolder(Path(out)).has(MODULARITY) and not force:
        raise RunFolderError(
            f"run folder {out} holds finished masks of functions; read its {MODULARITY}, name another folder, or run "
            "it again with --force"
        )
    by = config.modularity.by
    check = partial(_check, by=by)
    session = open_session(model, data, config, out=out, force=force, progress=progress, check=check)
    if session.runtime.num_processes > 1:
        raise ConfigError("masks of functions are learned in one process; start prusc without torchrun")
    with session.stages.timed("erm"):
        network, _ = train_or_load(session)
    functions, control = make_functions(session.data, session.feed, by)
    masks = _learn(session, network, functions)
    with session.stages.timed("evaluation"):
        result = _evaluate(session, network, functions, control, masks)
    session.stages.write(result, partial(_write, session=session))
    session.stages.close()
    return result


def make_functions(data: Data, split: Split | Feed, by: str) -> tuple[dict[str, FunctionData], str]:
    """Divide a split into functions.

    Args:
        data: Names of classes and attributes.
        split: The samples, or their feed.
        by: As `ModularityConfig.by`.

    Returns:
        The samples of each function, the control first; and the name of the control.

    Raises:
        DataError: If there is no such attribute, or a class cannot be removed.
    """
    if by == "class":
        return make_removal_functions(split, data.class_names), CONTROL
    name = by.partition(":")[2]
    attributes = split.split.attributes if isinstance(split, Feed) else split.attributes
    if name not in data.attribute_names or attributes is None:
        known = ", ".join(data.attribute_names) or "none"
        raise DataError(
            f"data {data.name!r} have no attribute {name!r}{nearest_names(name, data.attribute_names)}; the known ones "
            f"are: {known}. --by column:{name} reads it from a column of the table"
        )
    position = data.attribute_names.index(name)
    values = data.attribute_values[position]
    if len(values) < 2:
        raise DataError(f"attribute {name!r} has only one value ({', '.join(values)}); functions need at least two")
    functions: dict[str, FunctionData] = {ALL_SAMPLES: split}
    for value, title in enumerate(values):
        functions[f"{name}: {title}"] = Part(split, (attributes[:, position] == value).nonzero()[:, 0])
    return functions, ALL_SAMPLES


def _name_column(config: RunConfig) -> RunConfig:
    """Let the data read the column that the functions are made by."""
    kind, _, name = config.modularity.by.partition(":")
    attributes = config.data_options.attributes or ()
    if kind != "column" or name in attributes:
        return config
    return replace(config, data_options=replace(config.data_options, attributes=(*attributes, name)))


def _check(data: Data, by: str) -> None:
    for name, check in (("train", check_functions), ("test", check_samples)):
        functions, _ = make_functions(data, data.splits[name], by)
        try:
            check(functions)
        except DataError as error:
            raise DataError(f"{name} split of data {data.name!r}: {error}") from error


def _learn(
    session: Session, network: nn.Module, functions: Mapping[str, FunctionData]
) -> tuple[dict[str, BinaryMask], ...]:
    """Learn the masks of all seeds; each one is a stage of its own, at which a killed run resumes."""
    config = session.config.modularity
    if config.masks.require_skill:
        for name, data in functions.items():
            check_skill(network, name, data)
    # All functions are skilled, so the learning need not ask again.
    settings = replace(config.masks, require_skill=False)
    found: tuple[dict[str, BinaryMask], ...] = tuple({} for _ in range(config.num_seeds))
    with session.stages.timed("masks"):
        for number, masks in enumerate(found, start=1):
            for position, (name, data) in enumerate(functions.items()):
                file = mask_file(number, position)

                def make(name: str = name, data: FunctionData = data, number: int = number) -> BinaryMask:
                    generator = stage_generator(session.config.seed, f"mask {number} of {name}")
                    learned = learn_function_masks(
                        network, {name: data}, settings, generator=generator, progress=session.stages
                    )
                    session.log(f"mask of {name}, seed {number}: density {learned[name].density:.3f}")
                    return learned[name]

                masks[name] = session.stages.make_or_read(
                    make, partial(_read_mask, name=file), partial(_write_mask, name=file)
                )
    return found


def mask_file(number: int, position: int) -> str:
    """Return the name of the file of a mask: names of functions may hold any characters."""
    return f"masks/seed-{number}/{position:03d}.safetensors"


def _read_mask(folder: RunFolder, name: str) -> BinaryMask | None:
    return BinaryMask(folder.read_tensors(name)) if folder.has(name) else None


def _write_mask(folder: RunFolder, mask: BinaryMask, name: str) -> None:
    folder.write_tensors(name, mask.tensors)


def _evaluate(
    session: Session,
    network: nn.Module,
    functions: Mapping[str, FunctionData],
    control: str,
    masks: Sequence[Mapping[str, BinaryMask]],
) -> ModularityResult:
    data, config = session.data, session.config.modularity
    test = session.feed.of(data.test)
    tests, _ = make_functions(data, test, config.by)
    removal = None
    shown: dict[str, FunctionData] = dict(tests)
    if config.by == "class":
        generator = stage_generator(session.config.seed, "class removal")
        removal = measure_class_removal(network, masks[0], test, data.class_names, generator=generator)
        # Under a mask without a class, the accuracy on each class tells more than that on all others together.
        shown = {control: test}
        for label, name in enumerate(data.class_names):
            shown[name] = Part(test, (data.test.labels == label).nonzero()[:, 0])
    accuracies = cross_accuracy(network, masks[0], shown)
    comparisons = [compare_masks(own, controls=(control,)) for own in masks]
    pairs = [stability(masks[i], masks[j]) for i in range(len(masks)) for j in range(i + 1, len(masks))]
    settings = config.masks
    return ModularityResult(
        by=config.by,
        masks=tuple(masks),
        control=control,
        accuracies=accuracies,
        comparison=comparisons[0],
        overlaps=pool_overlaps([comparison.overlaps for comparison in comparisons]),
        stability=pool_overlaps(pairs),
        removal=removal,
        num_samples={name: (len(functions[name]), len(tests[name])) for name in functions},
        left_out=left_out_parameters(network, include=settings.include, exclude=settings.exclude),
        model=network,
    )


def _write(folder: RunFolder, result: ModularityResult, session: Session) -> None:
    folder.write_csv("accuracies.csv", result.accuracies.to_frame())
    overlaps = overlaps_to_frame([*result.overlaps, *result.stability])
    overlaps.insert(0, "seeds", ["same"] * len(result.overlaps) + ["different"] * len(result.stability))
    folder.write_csv("overlaps.csv", overlaps)
    if result.removal is not None:
        folder.write_csv("removal.csv", result.removal.to_frame())
    folder.write_json(MODULARITY, _to_dict(result, session))


def _to_dict(result: ModularityResult, session: Session) -> dict[str, Any]:
    config = session.config
    return {
        "format": FORMAT,
        **told_versions(),
        **session.circumstances,
        "data": data_to_dict(session.data),
        "model": config.model,
        "seed": config.seed,
        "by": result.by,
        "control": result.control,
        "group_labels_used_for": [] if result.by == "class" else ["functions"],
        "functions": [
            {
                "name": name,
                "num_train": result.num_samples[name][0],
                "num_test": result.num_samples[name][1],
                "density": mask.density,
                "files": [mask_file(number, position) for number in range(1, len(result.masks) + 1)],
            }
            for position, (name, mask) in enumerate(result.masks[0].items())
        ],
        "layers": result.comparison.layers,
        "left_out": result.left_out,
        "num_weights": sum(weight.numel() for weight in next(iter(result.masks[0].values())).tensors.values()),
        "accuracies": [asdict(entry) for entry in result.accuracies.entries],
        "overlaps": [asdict(overlap) for overlap in result.overlaps],
        "stability": [asdict(overlap) for overlap in result.stability],
        "shares": [asdict(share) for share in result.comparison.shares],
        "removal": None if result.removal is None else asdict(result.removal),
        "num_threads": torch.get_num_threads(),
        "seconds": session.stages.seconds,
    }
