"""Every setting of the stages of a run and its default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prusc.config.checks import require, require_rate


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
        require(self.epochs >= 1, "erm.epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "erm.batch_size", self.batch_size, "at least 2")
        require_rate("erm.learning_rate", self.learning_rate)
        require(self.weight_decay >= 0, "erm.weight_decay", self.weight_decay, "at least 0")
        require(0 < self.min_crop_scale <= 1, "erm.min_crop_scale", self.min_crop_scale, "in (0, 1]")


@dataclass(frozen=True)
class ClusteringConfig:
    """Cosine k-means over the representations of all classes together.

    Attributes:
        num_clusters: K; chosen by silhouette over `candidates` if not given.
        candidates: The K to try; also where K is given, to see whether anything stands apart.
        checkpoint: Epoch of the ERM training whose network gives the representations, the final network if not given:
            a network that has memorised the samples that contradict its shortcut no longer shows them. Where a trained
            network is given, one of its kind is trained anew for so many epochs. 0 is the network before any training,
            which says something where that started from ImageNet's weights.
        from_csv: Clusters of the training split from elsewhere, with columns index, label, cluster_assign.
        num_restarts: Starts of k-means per K; the best one counts.
        silhouette_samples: Samples that the silhouette is computed on.
        strong_silhouette: From this one on, at some K above the number of classes, the structure of the clusters is
            strong, and K is the one with the best silhouette, but no fewer than the classes. Else K is the largest of
            the candidates.
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
            require(k >= 2, "clustering: the number of clusters", k, "at least 2")
        require(len(self.candidates) > 0, "clustering.candidates", self.candidates, "at least one number")
        require(self.num_restarts >= 1, "clustering.num_restarts", self.num_restarts, "at least 1")
        require(self.silhouette_samples >= 10, "clustering.silhouette_samples", self.silhouette_samples, "at least 10")
        ordered = self.weak_silhouette <= self.strong_silhouette
        require(ordered, "clustering.weak_silhouette", self.weak_silhouette, "at most strong_silhouette")


@dataclass(frozen=True)
class DebiasingSetConfig:
    """How samples are drawn so that the cluster says little about the class.

    Attributes:
        split: Which split they come from.
        cell_exponent: A cell's share within its class is its size to this power: 0 is the same for every cell, 1 leaves
            the class as it is.
        min_cell_size: Cells with fewer samples are left out, so that a handful of images is not shown too often.
        border_share: Share of all samples that is left out because it lies nearest to the border between two clusters.
        final_clusters: So many clusters of the final network cut every cell once more where samples are drawn; 0 cuts
            none. Few samples of a class lie where that network puts another class, and each such cell gets as much as
            the others.
        flip: Mirror at random what is drawn; as in the ERM training if not given.
        min_crop_scale: Smallest share of the image that a random crop of what is drawn shows; that of the ERM training
            if not given.
    """

    split: Literal["train", "val"] = "train"
    cell_exponent: float = 0.0
    min_cell_size: int = 1
    border_share: float = 0.0
    final_clusters: int = 0
    flip: bool | None = None
    min_crop_scale: float | None = None

    def __post_init__(self) -> None:
        require(0 <= self.cell_exponent <= 1, "debiasing_set.cell_exponent", self.cell_exponent, "in [0, 1]")
        require(self.min_cell_size >= 1, "debiasing_set.min_cell_size", self.min_cell_size, "at least 1")
        require(0 <= self.border_share < 1, "debiasing_set.border_share", self.border_share, "in [0, 1)")
        require(
            self.final_clusters == 0 or self.final_clusters >= 2,
            "debiasing_set.final_clusters",
            self.final_clusters,
            "0, or at least 2",
        )
        scale = 1.0 if self.min_crop_scale is None else self.min_crop_scale
        require(0 < scale <= 1, "debiasing_set.min_crop_scale", scale, "in (0, 1]")


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

    steps: int = 600
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
        require(self.steps >= 1, "masks.steps", self.steps, "at least 1")
        require(self.batch_size >= 2, "masks.batch_size", self.batch_size, "at least 2")
        require_rate("masks.learning_rate", self.learning_rate)
        require(self.mask_temperature > 0, "masks.mask_temperature", self.mask_temperature, "greater than 0")
        require(self.beta >= 0, "masks.beta", self.beta, "at least 0")
        require(
            self.contrastive_temperature > 0,
            "masks.contrastive_temperature",
            self.contrastive_temperature,
            "greater than 0",
        )
        require(self.sparsity >= 0, "masks.sparsity", self.sparsity, "at least 0")
        require(1 <= self.snapshots <= self.steps, "masks.snapshots", self.snapshots, "in 1..steps")


@dataclass(frozen=True)
class FinetuneConfig:
    """What is tried on a network after the mask (or without one), on draws of the de-biasing set.

    Attributes:
        head_l2: Strengths of the regularisation of a refitted head; each is a candidate, none refits no head.
        head_views: So many random views of each sample (flips and crops of `debiasing_set`) are what a head is fitted
            on: a network knows by heart the images that it was trained on, other views of them less. With 0 it is the
            images as they are.
        head_folds: With at least 2, heads are fitted on the validation split, which no network knows by heart, drawn as
            the de-biasing set is; what judges a head are the answers that heads fitted without a fold of the samples
            give for that fold, so many folds. With 0 heads are fitted on the de-biasing set.
        learning_rates: Peaks of the schedule for training all surviving weights; each is a candidate, none trains none.
        steps: Optimiser steps of that training.
        batch_size: Samples per step, over all processes together.
        weight_decay: Of AdamW.
    """

    head_l2: tuple[float, ...] = (100.0, 10.0, 1.0, 0.1, 0.01, 0.001)
    head_views: int = 0
    head_folds: int = 0
    learning_rates: tuple[float, ...] = (1e-3, 3e-4)
    steps: int = 200
    batch_size: int = 256
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for l2 in self.head_l2:
            require(l2 > 0, "finetune.head_l2", l2, "greater than 0")
        require(self.head_views >= 0, "finetune.head_views", self.head_views, "at least 0")
        require(
            self.head_folds == 0 or self.head_folds >= 2, "finetune.head_folds", self.head_folds, "0, or at least 2"
        )
        if self.head_folds:
            require(self.head_views == 0, "finetune.head_views", self.head_views, "0 with finetune.head_folds")
        for rate in self.learning_rates:
            require_rate("finetune.learning_rates", rate)
        require(self.steps >= 1, "finetune.steps", self.steps, "at least 1")
        require(self.batch_size >= 2, "finetune.batch_size", self.batch_size, "at least 2")
        require(self.weight_decay >= 0, "finetune.weight_decay", self.weight_decay, "at least 0")


@dataclass(frozen=True)
class SelectionConfig:
    """How candidates are judged on a validation split.

    Attributes:
        rule: What judges: pseudo-groups, the cells (class x cluster) and the classes, in the order that
            docs/decisions/0004-who-judges.md says; the classes alone; or, to compare with what cannot be known, the
            true groups.
        prior_strength: How many samples the mean over the pseudo-groups counts for in the accuracy of each.
        tolerance: So many standard errors below the best score count as no difference. Where the classes judge, the
            plainest base network is chosen (whole before pruned), then the plainest that was made of it: new heads,
            strongly regularised before weakly, before trained weights. It replaces the original where that is more than
            one error below the best. Where the cells judge, the best pruned network is chosen before the whole one.
        significance: Chance of taking luck for an improvement of the mean over the cells, over all candidates together.
    """

    rule: Literal["pseudo-groups", "class-accuracy", "validation-groups"] = "pseudo-groups"
    prior_strength: float = 10.0
    tolerance: float = 2.0
    significance: float = 0.05

    def __post_init__(self) -> None:
        require(self.prior_strength >= 0, "selection.prior_strength", self.prior_strength, "at least 0")
        require(self.tolerance >= 0, "selection.tolerance", self.tolerance, "at least 0")
        require(0 < self.significance < 1, "selection.significance", self.significance, "in (0, 1)")


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
        require(self.min_others >= 1, "audit.min_others", self.min_others, "at least 1")
        require(self.num_permutations >= 1, "audit.num_permutations", self.num_permutations, "at least 1")
        require(0 < self.significance < 1, "audit.significance", self.significance, "in (0, 1)")
        require(self.silhouette_samples >= 10, "audit.silhouette_samples", self.silhouette_samples, "at least 10")
