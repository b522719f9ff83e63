"""Settings of the stages of a run and their defaults."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from prusc.config.checks import require, require_rate

# So many images are enough for masks of any network that was tried; a large data set does not cost more.
_MAX_MASK_IMAGES = 150_000
_MAX_FINETUNE_IMAGES = 50_000
# How far Adam can move a mask logit: its learning rate times the number of steps.
_LOGIT_PATH = 40.0


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
        checkpoint: Epoch of the ERM training whose network gives the representations. ``early`` is the network before
            any training (0) if it starts from published weights, otherwise that of epoch 1. None is the final network,
            which may hide the shortcut, because it has memorised the samples that contradict it. If you give a trained
            network, prusc retrains its architecture for this many epochs.
        from_csv: CSV file with your own clusters of the training split, in the columns index, label, cluster_assign.
            They replace the clusters that prusc would find.
        num_restarts: Number of k-means starts per K. The best one counts.
        fit_samples: Largest number of samples that k-means is fitted on, drawn at random; the others get the nearest
            centre.
        silhouette_samples: Number of samples that the silhouette is computed on.
        strong_silhouette: Silhouette from which the structure of the clusters is strong. It counts if some K above the
            number of classes reaches it. K is then the one with the best silhouette, but at least the number of
            classes; otherwise K is the largest candidate. The default is that of Kaufman and Rousseeuw 1990.
        weak_silhouette: Silhouette below which the structure of the clusters is weak, so that the classes judge alone.
            The default is that of Kaufman and Rousseeuw 1990.
    """

    num_clusters: int | None = None
    candidates: tuple[int, ...] = (2, 4, 8, 16)
    checkpoint: int | Literal["early"] | None = "early"
    from_csv: Path | None = None
    num_restarts: int = 2
    fit_samples: int = 10_000
    silhouette_samples: int = 2000
    strong_silhouette: float = 0.7
    weak_silhouette: float = 0.5

    def __post_init__(self) -> None:
        for k in self.candidates if self.num_clusters is None else (self.num_clusters,):
            require(k >= 2, "clustering: the number of clusters", k, "at least 2")
        require(len(self.candidates) > 0, "clustering.candidates", self.candidates, "at least one number")
        require(self.num_restarts >= 1, "clustering.num_restarts", self.num_restarts, "at least 1")
        require(self.fit_samples >= 10, "clustering.fit_samples", self.fit_samples, "at least 10")
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
        flip: Flip drawn images horizontally at random. If not given, it is `erm.flip`.
        min_crop_scale: Smallest share of the image's area that a random crop of a drawn image shows. If not given, it
            is `erm.min_crop_scale`.
    """

    split: Literal["train", "val"] = "train"
    cell_exponent: float = 0.0
    min_cell_size: int = 1
    flip: bool | None = None
    min_crop_scale: float | None = None

    def __post_init__(self) -> None:
        require(0 <= self.cell_exponent <= 1, "debiasing_set.cell_exponent", self.cell_exponent, "in [0, 1]")
        require(self.min_cell_size >= 1, "debiasing_set.min_cell_size", self.min_cell_size, "at least 1")
        scale = 1.0 if self.min_crop_scale is None else self.min_crop_scale
        require(0 < scale <= 1, "debiasing_set.min_crop_scale", scale, "in (0, 1]")


@dataclass(frozen=True)
class MaskConfig:
    """Mask learning: cross-entropy + beta * contrastive loss + sparsity, with the mask logits as the only parameters.

    Attributes:
        steps: Number of optimiser steps. If not given, they see half as many images as the ERM training, though no
            more than 150,000.
        batch_size: Samples per step, summed over all processes. If not given, it is `erm.batch_size`.
        learning_rate: Learning rate of Adam on the mask logits. If not given, it is 40 / steps, so that a logit can
            move as far whatever the number of steps.
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
        head: Mask the head too, as the paper does. It is refitted afterwards, so by default it stays whole.
        reestimate_batch_norm: Re-estimate the BatchNorm statistics under the fixed mask.
        granularity: What a mask logit stands for: one weight, or one output channel (in transformers an attention head
            or a hidden unit of an MLP). Networks without some of their channels can be exported as smaller ones. If
            not given, it is weight, or channel with `budget_flops`.
        budget_flops: Largest share of the operations of the original that the chosen network may need, above 0 and at
            most 1. The best network within it is chosen, even if the original is better.
    """

    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
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
    head: bool = False
    reestimate_batch_norm: bool = True
    granularity: Literal["weight", "channel"] | None = None
    budget_flops: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None:
            require(self.steps >= 1, "masks.steps", self.steps, "at least 1")
            require(1 <= self.snapshots <= self.steps, "masks.snapshots", self.snapshots, "in 1..steps")
        if self.batch_size is not None:
            require(self.batch_size >= 2, "masks.batch_size", self.batch_size, "at least 2")
        if self.learning_rate is not None:
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
        require(self.snapshots >= 1, "masks.snapshots", self.snapshots, "at least 1")
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

    def fill(self, num_samples: int, erm: ERMConfig) -> "FilledMaskConfig":
        """Return the settings with numbers for what was not given.

        Args:
            num_samples: Number of training samples.
            erm: The ERM training.
        """
        batch_size = erm.batch_size if self.batch_size is None else self.batch_size
        images = min(num_samples * erm.epochs // 2, _MAX_MASK_IMAGES)
        steps = max(self.snapshots, images // batch_size) if self.steps is None else self.steps
        rate = _LOGIT_PATH / steps if self.learning_rate is None else self.learning_rate
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return FilledMaskConfig(**values | {"steps": steps, "batch_size": batch_size, "learning_rate": rate})


@dataclass(frozen=True)
class FilledMaskConfig(MaskConfig):
    """Settings of mask learning without an open number."""

    steps: int = 600
    batch_size: int = 128
    learning_rate: float = 0.05


@dataclass(frozen=True)
class FinetuneConfig:
    """Heads and weights that are trained on the de-biasing set after the mask, or without a mask.

    Attributes:
        head_l2: L2 strengths of a refitted head. Each is a candidate; without any, no head is refitted.
        head_folds: Number of folds for heads that are fitted on the validation split; 0, or at least 2. No network has
            memorised that split. It is drawn as the de-biasing set is, and heads are scored by k-fold
            cross-validation. With 0, or if the de-biasing set is drawn from validation, heads are fitted on it.
        learning_rates: Peak learning rates of training all surviving weights. Each is a candidate; without any, no
            weights are trained.
        steps: Number of optimiser steps of that training. If not given, they see a tenth of the images of the ERM
            training, but at most 50,000.
        batch_size: Samples per step, summed over all processes. If not given, it is `erm.batch_size`.
        weight_decay: Weight decay of AdamW.
    """

    head_l2: tuple[float, ...] = (1.0, 0.1, 0.01, 0.001)
    head_folds: int = 5
    learning_rates: tuple[float, ...] = (3e-4,)
    steps: int | None = None
    batch_size: int | None = None
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for l2 in self.head_l2:
            require(l2 > 0, "finetune.head_l2", l2, "greater than 0")
        require(
            self.head_folds == 0 or self.head_folds >= 2, "finetune.head_folds", self.head_folds, "0, or at least 2"
        )
        for rate in self.learning_rates:
            require_rate("finetune.learning_rates", rate)
        if self.steps is not None:
            require(self.steps >= 1, "finetune.steps", self.steps, "at least 1")
        if self.batch_size is not None:
            require(self.batch_size >= 2, "finetune.batch_size", self.batch_size, "at least 2")
        require(self.weight_decay >= 0, "finetune.weight_decay", self.weight_decay, "at least 0")

    def count_steps(self, num_samples: int, erm: ERMConfig) -> tuple[int, int]:
        """Return the number of steps and the batch size, for a number of training samples and an ERM training."""
        batch_size = erm.batch_size if self.batch_size is None else self.batch_size
        images = min(num_samples * erm.epochs // 10, _MAX_FINETUNE_IMAGES)
        return (max(1, images // batch_size) if self.steps is None else self.steps), batch_size


@dataclass(frozen=True)
class SelectionConfig:
    """How candidates are judged on the validation split.

    Attributes:
        rule: Groups that judge. ``pseudo-groups``: of each class the samples that conflict with the pseudo-attribute,
            and the others. ``class-accuracy``: the classes. ``validation-groups``: the true groups, for comparison
            only, because they are unknown in practice.
        significance: Level of the test, over all candidates together, from which a candidate replaces the ERM network.
            Chance alone replaces it up to twice as often, because the test is only approximate for many candidates; so
            the default keeps this below 5 % (scripts/simulate_verdicts.py).
        num_permutations: Number of permutations of the test.
    """

    rule: Literal["pseudo-groups", "class-accuracy", "validation-groups"] = "pseudo-groups"
    significance: float = 0.02
    num_permutations: int = 999

    def __post_init__(self) -> None:
        require(0 < self.significance < 1, "selection.significance", self.significance, "in (0, 1)")
        require(self.num_permutations >= 1, "selection.num_permutations", self.num_permutations, "at least 1")


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
