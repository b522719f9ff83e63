"""The experiments: settings at both scales, and what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from function_experiments import arithmetic, scan
from function_experiments.images import permute_pixels, read_images, take_few
from function_experiments.measuring import (
    Figure,
    Place,
    Settings,
    describe_masks,
    learn_twice,
    make,
    share_figure,
    train,
)
from function_experiments.networks import FNN, LSTMTranslator, ResNet, StepLSTM, TransformerTranslator
from function_experiments.transfer import learn_in_turn
from prusc.config import FunctionMaskConfig
from prusc.engine.runtime import stage_generator
from prusc.models.build import SmallCNN
from prusc.stages.modularity import (
    ALL_LAYERS,
    CONTROL,
    Examples,
    FunctionMasks,
    compare_masks,
    cross_accuracy,
    learn_function_masks,
    make_removal_functions,
    measure_class_removal,
    stability,
)
from prusc.stages.modularity.prediction import judge_samples, predict_outputs

Scale = Literal["published", "scaled"]
Run = Callable[[Settings, int, Place], list[Figure]]


@dataclass(frozen=True)
class Experiment:
    """One experiment of the paper.

    Attributes:
        title: What it is about.
        network: Its network.
        settings: Settings by scale.
        seeds: Seeds of the scaled runs of docs/results/modularity.md.
        run: Returns the figures of one seed, given settings, seed and place.
    """

    title: str
    network: str
    settings: Mapping[Scale, Settings]
    seeds: tuple[int, ...]
    run: Run


def masks_of(
    steps: int, sparsity: float, *, rate: float = 1e-2, batch: int = 128, samples: int = 4
) -> FunctionMaskConfig:
    """Return settings of mask learning."""
    return FunctionMaskConfig(
        steps=steps, batch_size=batch, mask_samples=samples, learning_rate=rate, sparsity=sparsity, require_skill=True
    )


# --------------------------------------------------------------------------------------------------------- arithmetic


def add_and_multiply_fnn(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Two operations, an FNN."""
    functions = arithmetic.two_operations(as_sequence=False)
    model = make(FNN, 42, settings.width, settings.num_layers, 2, 10, seed=seed, device=place.device)
    return _two_operations(model, functions, settings, seed)


def add_and_multiply_lstm(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Two operations, an LSTM."""
    functions = arithmetic.two_operations(as_sequence=True)
    model = make(StepLSTM, 22, settings.width, (2, 3), seed=seed, device=place.device)
    return _two_operations(model, functions, settings, seed)


def _two_operations(model: nn.Module, functions: dict[str, Examples], settings: Settings, seed: int) -> list[Figure]:
    # Training and test are the same: there are no other pairs of two-digit numbers.
    train(model, arithmetic.concatenate(functions), settings.training, seed=seed)
    masks, again = learn_twice(model, functions, settings.masks, seed=seed)
    return describe_masks(model, masks, again, functions, seed=seed)


def double_addition_fnn(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Two additions at once, an FNN."""
    model = make(FNN, 80, settings.width, settings.num_layers, 4, 10, seed=seed, device=place.device)
    return _double_addition(model, "vector", settings, seed)


def double_addition_lstm(mode: str, num_heads: int) -> Run:
    """Two additions, one after the other, an LSTM."""

    def run(settings: Settings, seed: int, place: Place) -> list[Figure]:
        num_inputs = 40 if mode == "same output" else 20
        model = make(StepLSTM, num_inputs, settings.width, (2, 3, 6, 7), num_heads, seed=seed, device=place.device)
        return _double_addition(model, mode, settings, seed)

    return run


def _double_addition(model: nn.Module, mode: str, settings: Settings, seed: int) -> list[Figure]:
    samples = arithmetic.double_addition(settings.num_samples, stage_generator(seed, "samples"), mode)
    train(model, samples, settings.training, seed=seed)
    functions, tests = (
        {"pair 1": data.only_outputs(slice(0, 2)), "pair 2": data.only_outputs(slice(2, 4))}
        for data in (samples, arithmetic.double_addition(5000, stage_generator(seed, "test samples"), mode))
    )
    masks, again = learn_twice(model, functions, settings.masks, seed=seed)
    return describe_masks(model, masks, again, tests, seed=seed)


# -------------------------------------------------------------------------------------------------------------- images


def class_removal(data: str, network: str) -> Run:
    """Masks without one class, for a network on images."""

    def run(settings: Settings, seed: int, place: Place) -> list[Figure]:
        samples, test, names = read_images(data, place.source)
        channels = samples.inputs.shape[1]  # type: ignore[union-attr]
        samples = take_few(samples, settings.num_samples)
        if network == "small-cnn":
            model = make(SmallCNN, len(names), channels, seed=seed, device=place.device)
        else:
            sizes = settings.num_layers, len(names), channels, settings.width
            model = make(ResNet, *sizes, seed=seed, device=place.device)
        train(model, samples, settings.training, seed=seed)
        functions = make_removal_functions(samples, names)
        masks = learn_function_masks(model, functions, settings.masks, generator=stage_generator(seed, "masks 1"))
        again = learn_function_masks(
            model, {CONTROL: samples}, settings.masks, generator=stage_generator(seed, "masks 2")
        )
        return _describe_removal(model, masks, again, test, names)

    return run


def _describe_removal(
    model: nn.Module, masks: FunctionMasks, again: FunctionMasks, test: Examples, names: tuple[str, ...]
) -> list[Figure]:
    found = measure_class_removal(model, masks, test, names)
    figures = [
        Figure(f"accuracy/{entry.mask}/{entry.function}", entry.accuracy, *entry.ci95, entry.num_samples)
        for entry in cross_accuracy(model, {CONTROL: masks[CONTROL]}, {CONTROL: test}).entries
    ]
    for label, entry in enumerate(found.removed):
        figures.append(Figure(f"drop/{entry.name}", entry.drop, *entry.drop_ci95))
        figures.append(Figure(f"largest other drop/{entry.name}", entry.other_drop, *entry.other_drop_ci95))
        accuracy, interval = found.accuracy_after(label)
        figures.append(Figure(f"accuracy after/{entry.name}", accuracy, *interval, sum(entry.confusion[label])))
    comparison = compare_masks(masks, controls=(CONTROL,))
    figures += [
        Figure(f"iou/{ALL_LAYERS}/{o.first}/{o.second}", o.iou, *o.iou_ci95)
        for o in comparison.overlaps
        if o.layer == ALL_LAYERS and CONTROL in (o.first, o.second)
    ]
    figures += [
        Figure(f"stability/{o.layer}/{o.first}", o.iou, *o.iou_ci95)
        for o in stability({CONTROL: masks[CONTROL]}, again)
    ]
    return figures


def permuted_mnist(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Tasks in turn; used weights are frozen."""
    samples, test, _ = read_images("mnist", place.source)
    samples = take_few(samples, settings.num_samples)
    tasks = []
    for number in range(settings.limit):
        permutation = 0 if number == 0 else 1000 * seed + number
        parts = (permute_pixels(data, permutation) for data in (samples, test))
        tasks.append(tuple(parts))
    model = make(FNN, 784, settings.width, settings.num_layers, 1, 10, seed=seed, device=place.device)
    # A bias would be shared by all tasks, and no mask would cover it.
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_parameter("bias", None)
    learned = learn_in_turn(model, tasks, settings, seed=seed)  # type: ignore[arg-type]
    figures = [share_figure(f"accuracy/task {i}", task.right) for i, task in enumerate(learned, start=1)]
    for i, task in enumerate(learned[1:], start=2):
        for layer, kept in task.mask.tensors.items():
            shared, frozen = kept & task.was_frozen.tensors[layer], task.was_frozen.tensors[layer]
            figures.append(share_figure(f"re-used/{layer}/task {i}", shared[kept]))
            # What a mask of this size would share if it knew nothing of the earlier ones.
            figures.append(share_figure(f"frozen/{layer}/task {i}", frozen.flatten()))
    return figures


# ---------------------------------------------------------------------------------------------------------------- SCAN


def scan_split(network: str, split: str) -> Run:
    """Masks of all commands, then of the training part of a split."""

    def run(settings: Settings, seed: int, place: Place) -> list[Figure]:
        generator = stage_generator(seed, "split")
        longest = settings.limit
        commands = [pair for pair in scan.all_commands() if len(pair[1]) <= longest]
        everything, held_out = scan.split_simple(commands, generator)
        part, excluded = {
            "jump": lambda: scan.split_primitive(commands, ("jump",)),
            "turn left": lambda: scan.split_primitive(commands, ("turn", "left")),
            # As in the published split, the longest fifth is left out.
            "length": lambda: scan.split_length(commands, 22 if longest > 22 else round(longest * 22 / 48)),
        }[split]()
        kind = LSTMTranslator if network == "LSTM" else TransformerTranslator
        extra = {} if network == "LSTM" else {"num_layers": settings.num_layers}
        model = make(kind, scan.NUM_WORDS, scan.NUM_ACTIONS, settings.width, seed=seed, device=place.device, **extra)
        samples = scan.as_examples(everything, longest)
        train(model, samples, settings.training, seed=seed)
        functions = {"simple": samples, split: scan.as_examples(part, longest)}
        masks = learn_function_masks(model, functions, settings.masks, generator=stage_generator(seed, "masks 1"))
        tests = {
            "simple, test": scan.as_examples(held_out, longest),
            f"{split}, training part": scan.as_examples(take_every(part, 2000), longest),
            f"{split}, test": scan.as_examples(take_every(excluded, 2000), longest),
        }
        figures = []
        for name, mask in (("no mask", None), *masks.masks.items()):
            for test, data in tests.items():
                right = judge_samples(predict_outputs(model, mask, data, name=test), data.labels)
                figures.append(share_figure(f"accuracy/{name}/{test}", right))
        overlaps = compare_masks(masks).overlaps
        return figures + [Figure(f"iou/{o.layer}/{o.first}/{o.second}", o.iou, *o.iou_ci95) for o in overlaps]

    return run


def take_every(pairs: list[scan.Pair], most: int) -> list[scan.Pair]:
    """Return at most so many commands, evenly spaced."""
    step = max(1, -(-len(pairs) // most))
    return pairs[::step]
