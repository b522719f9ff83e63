"""Every setting of a run and its default; the command line is made from these classes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prusc.config.checks import require
from prusc.config.data import DataConfig
from prusc.config.stages import (
    AuditConfig,
    ClusteringConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    SelectionConfig,
)


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
        require(self.num_workers >= 0, "runtime.num_workers", self.num_workers, "at least 0")
        require(self.eval_batch_size >= 1, "runtime.eval_batch_size", self.eval_batch_size, "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        data: ``fashion-stickers``, another name in docs/reference/benchmark-data.md, or a folder or table of images of
            any layout in docs/how-to/data.md.
        layout: Name of the layout; recognised if not given.
        skip_bad: Go on without images that cannot be read, and list them in the run folder.
        model: ``small-cnn``, any name that timm knows, ``torchvision/NAME``, or ``module:function`` for a function of
            yours that is given the number of classes.
        weights: Weights to start training from, such as ImageNet's; the head may be for other classes.
        pretrained: Start training from the weights that timm or torchvision publish, downloaded if need be.
        trained: Weights of a trained classifier; nothing is trained by ERM then, but what `clustering.checkpoint` asks
            for, which starts from `weights` or `pretrained` as the classifier did.
        method: The remedy: ``prusc``, or another one to compare it with (docs/reference/remedies.md).
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
        audit: How clusters become suspects.
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
        require(self.tuning_budget >= 1, "tuning_budget", self.tuning_budget, "at least 1")
        require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2**63-1")
        require(not (self.pretrained and self.weights is not None), "pretrained", True, "absent when weights are given")
        if self.finetune.head_folds:
            # Half of the validation split would have taught the masks whose heads the whole of it judges.
            require(self.debiasing_set.split == "train", "debiasing_set.split", "val", "train with finetune.head_folds")
        if self.clustering.checkpoint is not None:
            require(
                0 <= self.clustering.checkpoint <= self.erm.epochs,
                "clustering.checkpoint",
                self.clustering.checkpoint,
                f"in 0..erm.epochs ({self.erm.epochs})",
            )

    @property
    def trains_on_validation(self) -> bool:
        """Whether PruSC fits weights to validation samples, which is an advantage over what does not."""
        return self.finetune.head_folds > 0 or self.debiasing_set.split == "val"
