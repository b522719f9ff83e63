"""Every setting of a run and its default, and nowhere else; the command line is made from these classes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prusc.errors import ConfigError


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{name} must be {expected}, found {value!r}")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from.

    Attributes:
        correlation: fashion-stickers: share of the training and validation images whose sticker agrees with the class.
        seed: fashion-stickers: decides the splits and the stickers.
        target: CelebA: the attribute to predict.
        attributes: CelebA: the attributes held back for evaluation.
        image_size: Side of the square images in pixels; the data set's own if not given.
        memory_limit_gib: Decoded images are kept in memory up to this size; beyond it they are decoded as needed.
    """

    correlation: float | None = None
    seed: int | None = None
    target: str | None = None
    attributes: tuple[str, ...] | None = None
    image_size: int | None = None
    memory_limit_gib: float = 4.0


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

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    flip: bool = False
    min_crop_scale: float = 1.0

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "erm.epochs", self.epochs, "at least 1")
        _require(self.batch_size >= 2, "erm.batch_size", self.batch_size, "at least 2")
        _require(self.learning_rate > 0, "erm.learning_rate", self.learning_rate, "greater than 0")
        _require(self.weight_decay >= 0, "erm.weight_decay", self.weight_decay, "at least 0")
        _require(0 < self.min_crop_scale <= 1, "erm.min_crop_scale", self.min_crop_scale, "in (0, 1]")


@dataclass(frozen=True)
class ClusteringConfig:
    """Cosine k-means over the representations of all classes together.

    Attributes:
        num_clusters: K; chosen by silhouette over `candidates` if not given.
        candidates: The K to try.
        checkpoint: Epoch of the ERM network whose representations are clustered; the final one if not given.
        num_restarts: Starts of k-means per K; the best one counts.
        silhouette_samples: Samples that the silhouette is computed on.
    """

    num_clusters: int | None = 8
    candidates: tuple[int, ...] = (2, 4, 6, 8, 12, 16)
    checkpoint: int | None = None
    num_restarts: int = 4
    silhouette_samples: int = 2000

    def __post_init__(self) -> None:
        for k in self.candidates if self.num_clusters is None else (self.num_clusters,):
            _require(k >= 2, "clustering: the number of clusters", k, "at least 2")
        _require(len(self.candidates) > 0, "clustering.candidates", self.candidates, "at least one number")
        _require(self.num_restarts >= 1, "clustering.num_restarts", self.num_restarts, "at least 1")
        _require(self.silhouette_samples >= 10, "clustering.silhouette_samples", self.silhouette_samples, "at least 10")


@dataclass(frozen=True)
class DebiasingSetConfig:
    """How samples are drawn so that the cluster says little about the class.

    Attributes:
        split: Which split they come from.
        cell_exponent: A cell's share within its class is its size to this power: 0 is the same for every cell, 1 leaves
            the class as it is.
        min_cell_size: Cells with fewer samples are left out, so that a handful of images is not shown hundreds of times.
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
        snapshots: Masks taken at evenly spaced steps, each a candidate of its own density; the last one is the final mask.
        include: Shell patterns of the parameter names that are masked.
        exclude: Shell patterns of the parameter names that are left whole.
        reestimate_batch_norm: Gather the statistics of BatchNorm anew under the fixed mask.
    """

    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 0.1
    initial_logit: float = 0.0
    mask_temperature: float = 1.0
    beta: float = 1.0
    contrastive_temperature: float = 0.07
    negatives: Literal["other-class", "cluster"] = "other-class"
    sparsity_term: Literal["mean-probability", "sum-of-logits"] = "mean-probability"
    sparsity: float = 1.0
    snapshots: int = 4
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    reestimate_batch_norm: bool = True

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "masks.steps", self.steps, "at least 1")
        _require(self.batch_size >= 2, "masks.batch_size", self.batch_size, "at least 2")
        _require(self.learning_rate > 0, "masks.learning_rate", self.learning_rate, "greater than 0")
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
