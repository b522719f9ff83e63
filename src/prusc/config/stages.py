"""Settings of the stages of a run and their defaults."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prusc.config.checks import require, require_rate


@dataclass(frozen=True)
class ERMConfig:
    """Ordinary training (ERM) of the dense network.

    Attributes:
        epochs: Number of passes over the training split.
        batch_size: Samples per step, summed over all processes.
        learning_rate: Peak learning rate of the one-cycle cosine schedule.
        weight_decay: Weight decay of AdamW.
        flip: Flip images horizontally at random.
        min_crop_scale: Smallest share of the image's area that a random crop shows. 1 turns cropping off.
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
        num_clusters: Number of clusters K. If not given, the silhouettes of `candidates` decide.
        candidates: Numbers of clusters to try. They are also tried where K is given, because their silhouettes show
            whether any clusters stand apart.
        checkpoint: Epoch of the ERM training whose network gives the representations. If None, it is the final
            network, which may hide the shortcut, because it has memorised the samples that contradict it. If you give
            a trained network, prusc retrains its architecture for this many epochs. 0 is the network before any
            training, which helps if it starts from ImageNet weights.
        from_csv: CSV file with your own clusters of the training split, in the columns index, label, cluster_assign.
            They replace the clusters that prusc would find.
        num_restarts: Number of k-means starts per K. The best one counts.
        silhouette_samples: Number of samples that the silhouette is computed on.
        strong_silhouette: Silhouette from which the structure of the clusters is strong. It counts if some K above the
            number of classes reaches it. K is then the one with the best silhouette, but at least the number of
            classes; otherwise K is the largest candidate. The default is that of Kaufman and Rousseeuw 1990.
        weak_silhouette: Silhouette below which the structure of the clusters is weak, so that the classes judge alone.
            The default is that of Kaufman and Rousseeuw 1990.
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
    """How samples are drawn, so that the cluster says little about the class.

    Attributes:
        split: Split that samples are drawn from.
        cell_exponent: Exponent of a cell's size in its share of the class. 0 gives all cells the same share, 1 leaves
            the class as it is.
        min_cell_size: Smallest number of samples of a cell that is used. It keeps a handful of images from being drawn
            too often.
        border_share: Share of all samples that is left out, because they lie nearest to the border between two
            clusters.
        final_clusters: Number of clusters of the trained network that split each cell further; 0 turns it off. Few
            samples of a class lie where that network puts another class, and their cells get the same share as the
            others.
        flip: Flip drawn images horizontally at random. If not given, it is `erm.flip`.
        min_crop_scale: Smallest share of the image's area that a random crop of a drawn image shows. If not given, it
            is `erm.min_crop_scale`.
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
    """Mask learning: cross-entropy + beta * contrastive loss + sparsity, with the mask logits as the only parameters.

    Attributes:
        steps: Number of optimiser steps.
        batch_size: Samples per step, summed over all processes.
        learning_rate: Learning rate of Adam on the mask logits.
        initial_logit: Initial value of all mask logits.
        mask_temperature: Temperature of the Gumbel-sigmoid.
        beta: Weight of the contrastive loss.
        contrastive_temperature: Temperature that divides the cosine similarities.
        negatives: Negatives of an anchor: samples of other classes in its cluster, or (as in the public code) all other
            samples of its cluster.
        sparsity_term: Sparsity term: the mean keep-probability, or (as in the paper) the sum of the mask logits.
        sparsity: Weight of the sparsity term. If not given, it is 1, or 0.1 for channels, whose mean has fewer terms.
        snapshots: Number of masks taken at evenly spaced steps. Each is a candidate with its own density.
        include: Shell patterns of the names of the parameters that are masked.
        exclude: Shell patterns of the names of the parameters that are never masked.
        reestimate_batch_norm: Re-estimate the BatchNorm statistics under the fixed mask.
        granularity: What a mask logit stands for: one weight, or one output channel (in transformers an attention head
            or a hidden unit of an MLP). Networks without some of their channels can be exported as smaller ones. If
            not given, it is weight, or channel with `budget_flops`.
        budget_flops: Largest share of the operations of the original that the chosen network may need, above 0 and at
            most 1. The best network within it is chosen, even if the original is better.
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
    sparsity: float | None = None
    snapshots: int = 2
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    reestimate_batch_norm: bool = True
    granularity: Literal["weight", "channel"] | None = None
    budget_flops: float | None = None

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
        require(self.sparsity_weight >= 0, "masks.sparsity", self.sparsity, "at least 0")
        require(1 <= self.snapshots <= self.steps, "masks.snapshots", self.snapshots, "in 1..steps")
        if self.budget_flops is not None:
            require(0 < self.budget_flops <= 1, "masks.budget_flops", self.budget_flops, "in (0, 1]")
            require(self.granularity != "weight", "masks.granularity", "weight", "channel with masks.budget_flops")

    @property
    def sparsity_weight(self) -> float:
        """Weight of the sparsity term."""
        if self.sparsity is not None:
            return self.sparsity
        return 0.1 if self.by_channel else 1.0

    @property
    def by_channel(self) -> bool:
        """Whether there is one mask logit per channel."""
        return self.granularity == "channel" or self.budget_flops is not None


@dataclass(frozen=True)
class FinetuneConfig:
    """Heads and weights that are trained on the de-biasing set after the mask, or without a mask.

    Attributes:
        head_l2: L2 strengths of a refitted head. Each is a candidate; without any, no head is refitted.
        head_views: Number of random views (flips and crops of `debiasing_set`) of each sample that a head is fitted on.
            A network memorises its training images, but less so other views of them. 0 uses the images as they are.
        head_folds: Number of folds for heads that are fitted on the validation split; 0, or at least 2. No network has
            memorised that split. It is drawn as the de-biasing set is, and heads are scored by k-fold
            cross-validation. With 0, heads are fitted on the de-biasing set.
        learning_rates: Peak learning rates of training all surviving weights. Each is a candidate; without any, no
            weights are trained.
        steps: Number of optimiser steps of that training.
        batch_size: Samples per step, summed over all processes.
        weight_decay: Weight decay of AdamW.
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
    """How candidates are judged on the validation split.

    Attributes:
        rule: Who judges. ``pseudo-groups``: the cells (class x cluster) and the classes, in the order of
            docs/decisions/0004-who-judges.md. ``class-accuracy``: the classes alone. ``validation-groups``: the true
            groups, for comparison only, because they are unknown in practice.
        prior_strength: Number of samples that the mean over the pseudo-groups counts for in the accuracy of each.
        tolerance: Number of standard errors within which a score counts as equal to the best. Where the classes judge,
            the plainest of the equal networks is chosen (whole before pruned). Then the plainest candidate of that
            network is chosen: new heads, strongly regularised before weakly, before trained weights. It replaces the
            original if that scores more than one error below the best. Where the cells judge, the best pruned network
            is chosen before the whole one.
        significance: Probability, over all candidates together, that chance alone counts as a better mean over the
            cells.
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
        min_others: Smallest number of samples of other classes than its main one that a suspect has.
        num_permutations: Number of shuffles of the permutation test.
        significance: Probability that a cluster is a suspect although accuracy does not depend on it.
        silhouette_samples: Number of samples that the silhouette is computed on.
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
