"""Every setting of a run and its default, and nowhere else; the command line is made from these classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prusc.errors import ConfigError, nearest_names

ConfigT = TypeVar("ConfigT")

# TOML has no word for it, and leaving a setting out means its default.
_NONE = "none"

# Data options that say how images are used, whatever layout they come from.
USE_OPTIONS = ("memory_limit_gib", "crop_size")


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {expected}, found {value!r}")


def _require_rate(name: str, rate: float) -> None:
    # Far beyond any use; on a larger one an optimiser overflows.
    _require(0 < rate <= 1e30, name, rate, "in (0, 1e30]")


@dataclass(frozen=True)
class StickerConfig:
    """Coloured patches to lay on images that have none, so that there is a shortcut of known strength.

    Attributes:
        train_shares: Share of the training images of each class that get one, such as 0.5 0.03; none if not given.
        val_shares: The same for validation; as in training if not given.
        test_shares: The same for test; half of each class if not given.
        size: Mean diameter, as a share of the image's side.
        mask_folder: Where the masks of lesions lie that stickers keep off, from the data's folder; masks if there is
            one.
    """

    train_shares: tuple[float, ...] | None = None
    val_shares: tuple[float, ...] | None = None
    test_shares: tuple[float, ...] | None = None
    size: float = 0.3
    mask_folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("train_shares", "val_shares", "test_shares"):
            shares = getattr(self, name)
            _require(all(0 <= share <= 1 for share in shares or ()), f"stickers.{name}", shares, "shares in [0, 1]")
        _require(0 < self.size < 1, "stickers.size", self.size, "in (0, 1)")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from. Which options apply depends on the layout (docs/data.md).

    Attributes:
        correlation: fashion-stickers and cub: share of the training images whose sticker or background agrees with the
            class.
        data_seed: Decides splits, stickers and backgrounds that are made; the run's seed if not given.
        target: Column or attribute of the class.
        attributes: Columns or attributes held back for evaluation.
        image_size: Side of the square images in pixels; what a timm network was made for, else the data set's own, if
            not given.
        memory_limit_gib: Decoded images are kept in memory up to this size; beyond it they are decoded as needed.
        classes: Tables: the values that the class may have, in their order; those that occur if not given.
        file_column: Tables: column that names the image.
        split_column: Tables: column of the split; none to have splits made although there is one.
        keep_together: Tables: column such as lesion_id, whose equal values no two splits may share.
        image_folder: Tables: where the names of the images begin, from the table's folder.
        variant: aligned-folders: which share of bias-conflicting images, such as 0.5pct.
        val_share: Share of the images that become validation where that split is missing; 0.2 if not given.
        test_share: The same for test.
        land_backgrounds: cub: folder of photographs of land.
        water_backgrounds: cub: folder of photographs of water.
        stickers: Patches to lay on the images.
        crop_size: Side of what the network is shown: the central square of so many pixels or, in training with random
            crops (erm.min_crop_scale), crops of the whole image; the whole image if not given.
        source: Data sets of docs/benchmark-data.md: folder of the original images.
        cifar_source: dominoes: folder of CIFAR-10, if it is not in the source.
        download: The same data sets: download the original images into the source if they are not there.
        num_train: The same: number of training images, the classes in the same shares; all if not given.
        conflict_share: colored-mnist, corrupted-cifar10 and dominoes: share of the training images whose attribute
            contradicts the class.
        label_noise: colored-mnist-irm: share of wrong labels.
        magnitude: spuco-mnist: how much of the background is coloured.
        variance: spuco-mnist: how far coloured pixels are strewn, instead of magnitude.
        strength: spuco-mnist: share of the training images whose colour agrees with the class.
        num_classes: dominoes: 2 or 10.
    """

    correlation: float | None = None
    data_seed: int | None = None
    target: str | None = None
    attributes: tuple[str, ...] | None = None
    image_size: int | None = None
    memory_limit_gib: float = 4.0
    classes: tuple[str, ...] | None = None
    file_column: str | None = None
    split_column: str | None = None
    keep_together: str | None = None
    image_folder: str | None = None
    variant: str | None = None
    val_share: float | None = None
    test_share: float | None = None
    land_backgrounds: Path | None = None
    water_backgrounds: Path | None = None
    stickers: StickerConfig = field(default_factory=StickerConfig)
    crop_size: int | None = None
    source: Path | None = None
    cifar_source: Path | None = None
    download: bool | None = None
    num_train: int | None = None
    conflict_share: float | None = None
    label_noise: float | None = None
    magnitude: Literal["small", "medium", "large"] | None = None
    variance: Literal["low", "medium", "high"] | None = None
    strength: float | None = None
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _require(self.crop_size is None or self.crop_size >= 1, "crop_size", self.crop_size, "at least 1")
        _require(self.memory_limit_gib >= 0, "memory_limit_gib", self.memory_limit_gib, "at least 0")

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name, but for how images are used."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in USE_OPTIONS}
        return {name: value for name, value in values.items() if value is not None and value != StickerConfig()}


@dataclass(frozen=True)
class ERMConfig:
    """Ordinary training of the dense network.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Samples per step, over all processes together.
        learning_rate: Peak of the one-cycle cosine schedule.
        weight_decay: Of AdamW.
        flip: Mirror images at random.
        min_crop_scale: Smallest share of the image that a random crop shows; 1 crops nothing.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    flip: bool = False
    min_crop_scale: float = 1.0

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "erm.epochs", self.epochs, "at least 1")
        _require(self.batch_size >= 2, "erm.batch_size", self.batch_size, "at least 2")
        _require_rate("erm.learning_rate", self.learning_rate)
        _require(self.weight_decay >= 0, "erm.weight_decay", self.weight_decay, "at least 0")
        _require(0 < self.min_crop_scale <= 1, "erm.min_crop_scale", self.min_crop_scale, "in (0, 1]")


@dataclass(frozen=True)
class ClusteringConfig:
    """Cosine k-means over the representations of all classes together.

    Attributes:
        num_clusters: K; chosen by silhouette over `candidates` if not given.
        candidates: The K to try; also where K is given, to see whether anything stands apart.
        checkpoint: Epoch of the ERM training whose network gives the representations; the final network if not given,
            or if a trained network is given, which has no epochs. A network that has memorised the samples that
            contradict its shortcut no longer shows them.
        from_csv: Clusters of the training split from elsewhere, with columns index, label, cluster_assign.
        num_restarts: Starts of k-means per K; the best one counts.
        silhouette_samples: Samples that the silhouette is computed on.
        strong_silhouette: From this one on, at some K above the number of classes, the structure of the clusters is
            strong: K is the one with the best silhouette, and the cells judge before the classes. Else K is the
            largest of the candidates, and the classes judge first.
        weak_silhouette: Below this one the structure is weak, and the classes judge alone. Both thresholds are those
            of Kaufman and Rousseeuw 1990.
    """

    num_clusters: int | None = None
    candidates: tuple[int, ...] = (2, 4, 6, 8, 12, 16)
    checkpoint: int | None = 1
    from_csv: Path | None = None
    num_restarts: int = 4
    silhouette_samples: int = 2000
    strong_silhouette: float = 0.7
    weak_silhouette: float = 0.5

    def __post_init__(self) -> None:
        for k in self.candidates if self.num_clusters is None else (self.num_clusters,):
            _require(k >= 2, "clustering: the number of clusters", k, "at least 2")
        _require(len(self.candidates) > 0, "clustering.candidates", self.candidates, "at least one number")
        _require(self.num_restarts >= 1, "clustering.num_restarts", self.num_restarts, "at least 1")
        _require(self.silhouette_samples >= 10, "clustering.silhouette_samples", self.silhouette_samples, "at least 10")
        ordered = self.weak_silhouette <= self.strong_silhouette
        _require(ordered, "clustering.weak_silhouette", self.weak_silhouette, "at most strong_silhouette")


@dataclass(frozen=True)
class DebiasingSetConfig:
    """How samples are drawn so that the cluster says little about the class.

    Attributes:
        split: Which split they come from.
        cell_exponent: A cell's share within its class is its size to this power: 0 is the same for every cell, 1 leaves
            the class as it is.
        min_cell_size: Cells with fewer samples are left out, so that a handful of images is not shown too often.
    """

    split: Literal["train", "val"] = "train"
    cell_exponent: float = 0.0
    min_cell_size: int = 1

    def __post_init__(self) -> None:
        _require(0 <= self.cell_exponent <= 1, "debiasing_set.cell_exponent", self.cell_exponent, "in [0, 1]")
        _require(self.min_cell_size >= 1, "debiasing_set.min_cell_size", self.min_cell_size, "at least 1")


@dataclass(frozen=True)
class MaskConfig:
    """Mask learning: cross-entropy + beta * contrastive loss + sparsity, on the logits of the masks alone.

    Attributes:
        steps: Optimiser steps.
        batch_size: Samples per step, over all processes together.
        learning_rate: Of Adam on the mask logits.
        initial_logit: Where the mask logits start.
        mask_temperature: Of the Gumbel-sigmoid.
        beta: Weight of the contrastive loss.
        contrastive_temperature: Divides the cosine similarities.
        negatives: Other classes of the same cluster, or (as in the public code) the whole cluster.
        sparsity_term: What is pushed down: the mean keep-probability, or (as in the paper) the sum of the logits.
        sparsity: Weight of that term.
        snapshots: Masks taken at evenly spaced steps, each a candidate of its own density.
        include: Shell patterns of the parameter names that are masked.
        exclude: Shell patterns of the parameter names that are left whole.
        reestimate_batch_norm: Gather the statistics of BatchNorm anew under the fixed mask.
    """

    steps: int = 300
    batch_size: int = 256
    learning_rate: float = 0.1
    initial_logit: float = 0.0
    mask_temperature: float = 1.0
    beta: float = 1.0
    contrastive_temperature: float = 0.07
    negatives: Literal["other-class", "cluster"] = "other-class"
    sparsity_term: Literal["mean-probability", "sum-of-logits"] = "mean-probability"
    sparsity: float = 1.0
    snapshots: int = 2
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    reestimate_batch_norm: bool = True

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "masks.steps", self.steps, "at least 1")
        _require(self.batch_size >= 2, "masks.batch_size", self.batch_size, "at least 2")
        _require_rate("masks.learning_rate", self.learning_rate)
        _require(self.mask_temperature > 0, "masks.mask_temperature", self.mask_temperature, "greater than 0")
        _require(self.beta >= 0, "masks.beta", self.beta, "at least 0")
        _require(
            self.contrastive_temperature > 0,
            "masks.contrastive_temperature",
            self.contrastive_temperature,
            "greater than 0",
        )
        _require(self.sparsity >= 0, "masks.sparsity", self.sparsity, "at least 0")
        _require(1 <= self.snapshots <= self.steps, "masks.snapshots", self.snapshots, "in 1..steps")


@dataclass(frozen=True)
class FinetuneConfig:
    """What is tried on a network after the mask (or without one), on draws of the de-biasing set.

    Attributes:
        head_l2: Strengths of the regularisation of a refitted head; each is a candidate, none refits no head.
        learning_rates: Peaks of the schedule for training all surviving weights; each is a candidate, none trains none.
        steps: Optimiser steps of that training.
        batch_size: Samples per step, over all processes together.
        weight_decay: Of AdamW.
    """

    head_l2: tuple[float, ...] = (100.0, 10.0, 1.0, 0.1, 0.01)
    learning_rates: tuple[float, ...] = (1e-3, 3e-4)
    steps: int = 200
    batch_size: int = 256
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for l2 in self.head_l2:
            _require(l2 > 0, "finetune.head_l2", l2, "greater than 0")
        for rate in self.learning_rates:
            _require_rate("finetune.learning_rates", rate)
        _require(self.steps >= 1, "finetune.steps", self.steps, "at least 1")
        _require(self.batch_size >= 2, "finetune.batch_size", self.batch_size, "at least 2")
        _require(self.weight_decay >= 0, "finetune.weight_decay", self.weight_decay, "at least 0")


@dataclass(frozen=True)
class SelectionConfig:
    """How candidates are judged on a validation split.

    Attributes:
        rule: What judges: pseudo-groups, the cells (class x cluster) or the classes, as the structure of the clusters
            says; the classes alone; or, to compare with what cannot be known, the true groups.
        min_cell_size: Cells with fewer samples are put together, class by class.
        prior_strength: How many samples the mean over the cells counts for in the accuracy of each.
        tolerance: Where the classes judge: so many standard errors below the best mean accuracy over them count as no
            difference. The plainest base network is chosen (whole before pruned), then the plainest that was made of
            it: new heads, strongly regularised before weakly, before trained weights. It replaces the original where
            that is more than one error below the best.
        significance: Chance of taking luck for an improvement of the mean over the cells, over all candidates together.
    """

    rule: Literal["pseudo-groups", "class-accuracy", "validation-groups"] = "pseudo-groups"
    min_cell_size: int = 10
    prior_strength: float = 10.0
    tolerance: float = 2.0
    significance: float = 0.05

    def __post_init__(self) -> None:
        _require(self.min_cell_size >= 1, "selection.min_cell_size", self.min_cell_size, "at least 1")
        _require(self.prior_strength >= 0, "selection.prior_strength", self.prior_strength, "at least 0")
        _require(self.tolerance >= 0, "selection.tolerance", self.tolerance, "at least 0")
        _require(0 < self.significance < 1, "selection.significance", self.significance, "in (0, 1)")


@dataclass(frozen=True)
class AuditConfig:
    """How an audit decides which clusters are suspects.

    Attributes:
        min_others: A suspect has at least so many samples of classes other than its main one.
        num_permutations: Shuffles of the permutation test.
        significance: Chance of a suspect where accuracy has nothing to do with the cluster.
        silhouette_samples: Samples that the silhouette is computed on.
    """

    min_others: int = 5
    num_permutations: int = 999
    significance: float = 0.05
    silhouette_samples: int = 5000

    def __post_init__(self) -> None:
        _require(self.min_others >= 1, "audit.min_others", self.min_others, "at least 1")
        _require(self.num_permutations >= 1, "audit.num_permutations", self.num_permutations, "at least 1")
        _require(0 < self.significance < 1, "audit.significance", self.significance, "in (0, 1)")
        _require(self.silhouette_samples >= 10, "audit.silhouette_samples", self.silhouette_samples, "at least 10")


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how to compute.

    Attributes:
        device: Kind of device.
        precision: Of the forward and backward passes; weights stay in 32 bits.
        channels_last: Memory layout of images and convolutions.
        num_workers: Processes that decode images which are not kept in memory.
        eval_batch_size: Samples per batch where no gradient is needed.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    num_workers: int = 2
    eval_batch_size: int = 256

    def __post_init__(self) -> None:
        _require(self.num_workers >= 0, "runtime.num_workers", self.num_workers, "at least 0")
        _require(self.eval_batch_size >= 1, "runtime.eval_batch_size", self.eval_batch_size, "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        data: ``fashion-stickers``, another name in docs/benchmark-data.md, or a folder or table of images of any layout
            in docs/data.md.
        layout: Name of the layout; recognised if not given.
        skip_bad: Go on without images that cannot be read, and list them in the run folder.
        model: ``small-cnn``, any name that timm knows, ``torchvision/NAME``, or ``module:function`` for a function of
            yours that is given the number of classes.
        weights: Weights to start training from, such as ImageNet's; the head may be for other classes.
        pretrained: Start training from the weights that timm or torchvision publish, downloaded if need be.
        trained: Weights of a trained classifier; nothing is trained by ERM then.
        method: The remedy: ``prusc``, or another one to compare it with (docs/methods.md).
        method_options: Settings of that other remedy, such as ``upweight=50``, in place of those it would try.
        tuning_budget: How many settings of that other remedy are tried at most.
        seed: Decides everything random.
        controls: Also refit the dense network's head and fine-tune all its weights, by the same procedures.
        evaluate_candidates: Evaluate every candidate on the test split too, to measure the choice, never to make it.
        data_options: Where the images come from.
        erm: Ordinary training.
        clustering: Clusters of representations.
        debiasing_set: How samples are drawn.
        masks: Mask learning.
        finetune: What follows the mask.
        selection: How candidates are judged.
        audit: How clusters become suspects; prusc audit only.
        runtime: Where to compute.
    """

    data: str = "fashion-stickers"
    layout: str | None = None
    skip_bad: bool = False
    model: str = "small-cnn"
    weights: Path | None = None
    pretrained: bool = False
    trained: Path | None = None
    method: str = "prusc"
    method_options: tuple[str, ...] = ()
    tuning_budget: int = 4
    seed: int = 0
    controls: bool = True
    evaluate_candidates: bool = False
    data_options: DataConfig = field(default_factory=DataConfig)
    erm: ERMConfig = field(default_factory=ERMConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    debiasing_set: DebiasingSetConfig = field(default_factory=DebiasingSetConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        _require(self.tuning_budget >= 1, "tuning_budget", self.tuning_budget, "at least 1")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2**63-1")
        _require(
            self.trained is None or self.weights is None,
            "weights",
            str(self.weights),
            "absent when trained is given: a trained network is not trained again",
        )
        given = self.weights is not None or self.trained is not None
        _require(not (self.pretrained and given), "pretrained", True, "absent when weights or trained are given")
        if self.clustering.checkpoint is not None:
            _require(
                1 <= self.clustering.checkpoint <= self.erm.epochs,
                "clustering.checkpoint",
                self.clustering.checkpoint,
                f"in 1..erm.epochs ({self.erm.epochs})",
            )


def config_to_dict(config: Any) -> dict[str, Any]:
    """Turn a config into plain values that TOML can hold.

    A setting that is ``None`` is left out if that is its default, and else written as ``"none"``.
    """
    plain: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            plain[item.name] = config_to_dict(value)
        elif isinstance(value, Path):
            plain[item.name] = str(value)
        elif isinstance(value, tuple):
            plain[item.name] = list(value)
        elif value is not None:
            plain[item.name] = value
        elif item.default is not None:
            plain[item.name] = _NONE
    return plain


def config_from_dict(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "") -> ConfigT:
    """Turn what `config_to_dict` gave back into a config; settings that are absent have their defaults.

    Args:
        kind: Class of the config.
        values: Plain values.
        where: What to put before a setting's name in an error.

    Returns:
        The config.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
    """
    types = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown setting {where}{name}{nearest_names(name, known)}")
        expected = types[name]
        if isinstance(expected, type) and is_dataclass(expected):
            if not isinstance(value, Mapping):
                raise ConfigError(f"setting {where}{name} must be a table of settings, found {value!r}")
            arguments[name] = config_from_dict(expected, value, where=f"{where}{name}.")
        else:
            arguments[name] = _convert(value, expected, f"{where}{name}")
    return kind(**arguments)


def _convert(value: Any, expected: Any, name: str) -> Any:
    """Check one plain value against its annotation, and turn lists into tuples and strings into paths."""
    origin, options = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        inner = next(option for option in options if option is not type(None))
        return None if value == _NONE and inner not in (str, Path) else _convert(value, inner, name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(item, options[0], name) for item in value)
    if origin is Literal and value in options:
        return value
    if expected is Path and isinstance(value, str | Path):
        return Path(value)
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(expected, type) and type(value) is expected:
        return value
    wanted = f"one of {', '.join(map(repr, options))}" if origin is Literal else getattr(expected, "__name__", expected)
    raise ConfigError(f"setting {name} must be {wanted}, found {value!r}")
