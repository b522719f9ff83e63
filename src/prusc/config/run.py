"""Settings of a run and their defaults. The command line is generated from these classes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prusc.config.checks import require
from prusc.config.data import DataConfig
from prusc.config.modularity import ModularityConfig
from prusc.config.sources import PseudoAttributeConfig
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
    """Device, precision and memory layout of all computations.

    Attributes:
        device: Device to compute on. ``auto`` takes a GPU where there is one, else the CPU.
        precision: Precision of the forward and backward passes. Weights stay in 32 bits.
        channels_last: Store images and the weights of convolutions with the channels last.
        num_workers: Number of threads in training, and of processes elsewhere, that load inputs which are not kept in
            memory.
        eval_batch_size: Samples per batch where no gradient is needed.
        representation_gib: Size in GiB, in 32 bits, up to which the representations of a split are kept in memory.
            Larger ones are written to disk and read block by block.
        representation_bits: Bits of a number of representations on disk. 16 take half the space, and round each number
            to three digits; with 32, results do not depend on where representations lie.
        scratch: Folder of representations on disk. They are gone when the run ends. If not given, it is the system's
            folder for temporary files (TMPDIR).
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    num_workers: int = 2
    eval_batch_size: int = 256
    representation_gib: float = 2.0
    representation_bits: Literal[16, 32] = 32
    scratch: Path | None = None

    def __post_init__(self) -> None:
        require(self.num_workers >= 0, "runtime.num_workers", self.num_workers, "at least 0")
        require(self.eval_batch_size >= 1, "runtime.eval_batch_size", self.eval_batch_size, "at least 1")
        size = self.representation_gib
        require(size >= 0, "runtime.representation_gib", size, "at least 0")


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Attributes:
        data: Data set: ``fashion-stickers``, another name in docs/reference/benchmark-data.md, or the path of a folder
            or table of images. docs/how-to/data.md lists the layouts.
        layout: Name of the layout. If not given, prusc recognises it.
        skip_bad: Leave out images that cannot be read or are in another split too, and list them in the run folder,
            instead of stopping.
        model: Architecture: ``small-cnn``, any name in timm, ``torchvision/NAME``, ``local-dir:FOLDER`` (saved by timm
            or transformers), or ``module:function`` or ``FILE.py:function``. Your function takes the number of classes
            and returns the network.
        weights: File of weights that training starts from, such as ImageNet's. Its head may have other classes.
        pretrained: Start training from the weights that timm or torchvision publish. They are downloaded if needed.
        trained: File with the weights of your trained classifier, or its folder. prusc then trains nothing by ERM,
            except the network that `clustering.checkpoint` needs. That one starts from `weights` or `pretrained`, as
            the classifier did.
        trained_key: Name of the state dict in that file, such as ``state_dict_ema``. Without ``trained`` it is that in
            the file of `weights`. If not given, prusc takes the usual one.
        features: File of representations and predictions (NPZ or Parquet, or a folder of NPY files), in place of data
            and network. Only prusc audit takes it; it also fits heads (docs/how-to/features.md).
        method: Remedy: ``prusc``, or another one to compare it with (docs/reference/remedies.md).
        method_options: Settings of the other remedy, such as ``upweight=50``. They replace those that prusc would try.
        tuning_budget: Largest cost of all settings of the other remedy that prusc tries, in trainings as long as ERM's.
            The ERM network counts if the remedy starts from it. The first setting is always tried.
        max_settings: Largest number of settings of the other remedy that prusc tries.
        may_keep_erm: Whether a run may return the ERM network where nothing is better on validation. If not, it
            returns the best of what it made.
        seed: Seed of everything random.
        controls: Also fine-tune all weights of the whole network, which is a candidate then, and show the best new head
            and the best fine-tuned network of it beside the chosen one.
        evaluate_candidates: Evaluate every candidate on the test split too. This measures the choice and never
            influences it.
        data_options: Where the images come from.
        erm: Ordinary training.
        pseudo_attribute: What stands in for the spurious attribute.
        clustering: Clusters of representations.
        debiasing_set: How samples are drawn.
        masks: Mask learning.
        finetune: What follows the mask.
        selection: How candidates are judged.
        audit: How clusters become suspects.
        modularity: Masks of single functions.
        runtime: Device and precision.
    """

    data: str = "fashion-stickers"
    layout: str | None = None
    skip_bad: bool = False
    model: str = "small-cnn"
    weights: Path | None = None
    pretrained: bool = False
    trained: Path | None = None
    trained_key: str | None = None
    features: Path | None = None
    method: str = "prusc"
    method_options: tuple[str, ...] = ()
    tuning_budget: float = 5.0
    max_settings: int = 16
    may_keep_erm: bool = True
    seed: int = 0
    controls: bool = True
    evaluate_candidates: bool = False
    data_options: DataConfig = field(default_factory=DataConfig)
    erm: ERMConfig = field(default_factory=ERMConfig)
    pseudo_attribute: PseudoAttributeConfig = field(default_factory=PseudoAttributeConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    debiasing_set: DebiasingSetConfig = field(default_factory=DebiasingSetConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    modularity: ModularityConfig = field(default_factory=ModularityConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        require(self.tuning_budget > 0, "tuning_budget", self.tuning_budget, "greater than 0")
        require(self.max_settings >= 1, "max_settings", self.max_settings, "at least 1")
        require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2**63-1")
        require(not (self.pretrained and self.weights is not None), "pretrained", True, "absent when weights are given")
        if self.masks.budget_flops is not None:
            require(self.method == "prusc", "masks.budget_flops", self.masks.budget_flops, "absent with other methods")
        if isinstance(self.clustering.checkpoint, int):
            require(
                0 <= self.clustering.checkpoint <= self.erm.epochs,
                "clustering.checkpoint",
                self.clustering.checkpoint,
                f"in 0..erm.epochs ({self.erm.epochs})",
            )

    @property
    def early_epoch(self) -> int | None:
        """Epoch of the ERM training whose network the pseudo-attribute comes from; ``None`` is the final one.

        Before its training, a network with published weights knows enough; a random one needs an epoch.
        """
        if self.clustering.checkpoint == "early":
            return 0 if self.pretrained or self.weights is not None else 1
        return self.clustering.checkpoint

    @property
    def trains_on_validation(self) -> bool:
        """Whether PruSC fits weights to validation samples, which is an advantage over methods that do not."""
        return self.head_folds > 0 or self.debiasing_set.split == "val"

    @property
    def head_folds(self) -> int:
        """Number of folds for heads on the validation split; 0 if they are fitted on the de-biasing set.

        If that set is drawn from half of the validation split, the other half judges.
        """
        return self.finetune.head_folds if self.debiasing_set.split == "train" else 0


def is_function_name(name: str) -> bool:
    """Whether a model's name refers to a function of the user, rather than to a network that prusc knows."""
    # Names of timm may start with hf-hub: or local-dir:.
    return ":" in name and not name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
