"""Settings of the data and their defaults."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from prusc.config.checks import require

# Data options that configure how images are used. They apply to every layout.
USE_OPTIONS = ("memory_limit_gib", "crop_size", "mean", "std", "text_column", "num_tokens")

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class StickerConfig:
    """Coloured stickers, laid on images that have none, which create a shortcut of known strength.

    Attributes:
        train_shares: Share of the training images that get a sticker, one number per class, such as 0.5 0.03. If not
            given, no image gets a sticker.
        val_shares: Share of the validation images that get a sticker, one number per class. If not given, the shares
            are those of training.
        test_shares: Share of the test images that get a sticker, one number per class. If not given, half of each
            class gets one.
        size: Mean diameter of a sticker, as a share of the image's side.
        mask_folder: Folder of the object masks that stickers avoid, relative to the data's folder. If not given,
            stickers avoid the data's own masks (data_options.mask_folder).
    """

    train_shares: tuple[float, ...] | None = None
    val_shares: tuple[float, ...] | None = None
    test_shares: tuple[float, ...] | None = None
    size: float = 0.3
    mask_folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("train_shares", "val_shares", "test_shares"):
            shares = getattr(self, name)
            require(all(0 <= share <= 1 for share in shares or ()), f"stickers.{name}", shares, "shares in [0, 1]")
        require(0 < self.size < 1, "stickers.size", self.size, "in (0, 1)")


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from. The layout decides which of these options apply (docs/how-to/data.md).

    Attributes:
        correlation: fashion-stickers and cub: share of the training images whose sticker or background agrees with the
            class. If not given, it is 0.95.
        data_seed: Seed of the splits, stickers and backgrounds that prusc makes. If not given, it is the run's seed.
        target: Column or attribute that holds the class. If not given, the layout decides.
        attributes: Columns or attributes that only the evaluation reads. If not given, the layout decides.
        image_size: Side of the square images in pixels. If not given, it is the input size of the timm network, else
            the data set's own size.
        mean: Per-channel mean that the images are normalised with, of intensities in [0, 1], such as 0.485 0.456 0.406.
            If not given, it is that of the network's published weights (timm, torchvision, a folder of transformers),
            else ImageNet's.
        std: Per-channel standard deviation that goes with `mean`. If not given, it comes with the mean.
        interpolation: How images are resized. If not given, it is bilinear, or what a folder of transformers says.
        crop_pct: Share of the shorter side that the central square shows, as in timm. If not given, it is 1 (the whole
            side), or what a folder of transformers says.
        memory_limit_gib: Size in GiB up to which all decoded images are kept in memory. Larger data sets are decoded
            image by image, whenever one is needed.
        classes: Tables and class folders: all classes, in their order, such as the one a trained network has. If not
            given, all values that occur are classes, numbers in numerical order, folders and others in alphabetical
            order.
        file_column: Tables: column that names the image. If not given, prusc looks for a usual name.
        split_column: Tables: column of the split. If not given, prusc looks for a usual name; "none" ignores such a
            column and makes the splits.
        keep_together: Tables: column such as lesion_id. Rows with equal values in it stay in one split.
        image_folder: Tables: folder that the image names start from, relative to the table's folder. If not given, it
            is the table's folder.
        text_column: Tables: column of a text that the network reads in place of an image. The model is a folder of
            transformers, which holds the tokenizer (docs/tutorials/text.md). If not given, the network reads images.
        num_tokens: Texts: longer ones are cut to this number of tokens.
        variant: aligned-folders: folder with the share of bias-conflicting images, such as 0.5pct. It is required if
            there are several.
        val_share: Share of the images that become validation where that split is missing. If not given, it is 0.2.
        test_share: Share of the images that become test where that split is missing. If not given, it is 0.2.
        mask_folder: Folder of object masks, white inside, for all images or some, relative to the data's folder. If not
            given, prusc uses the folder masks where there is one. The report states how much of a network's attention
            falls inside the masks.
        land_backgrounds: cub: folder of photographs of land.
        water_backgrounds: cub: folder of photographs of water.
        stickers: Stickers to lay on the images.
        crop_size: Side in pixels of the images that the network sees: the central square of this size, or random crops
            of the whole image, resized, in training with erm.min_crop_scale below 1. If not given, the network sees
            the whole image.
        source: Data sets of docs/reference/benchmark-data.md: folder of the original images.
        cifar_source: dominoes: folder of CIFAR-10. If not given, it is the folder in source.
        download: The same data sets: download the original images into source if they are missing.
        num_train: The same data sets: number of training images. The classes keep their shares. If not given, all
            images that are not kept for validation are used.
        conflict_share: colored-mnist, corrupted-cifar10 and dominoes: share of the training images whose attribute
            contradicts the class. If not given, it is 0.05.
        label_noise: colored-mnist-irm: share of wrong labels. If not given, it is 0.25.
        magnitude: spuco-mnist: size of the coloured part of the background. If not given, it is large, unless variance
            is given.
        variance: spuco-mnist: how widely 49 coloured pixels are scattered; replaces magnitude.
        strength: spuco-mnist: share of the training images whose colour agrees with the class. If not given,
            it is 0.995.
        num_classes: dominoes: number of classes, 2 or 10. If not given, it is 2.
    """

    correlation: float | None = None
    data_seed: int | None = None
    target: str | None = None
    attributes: tuple[str, ...] | None = None
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation | None = None
    crop_pct: float | None = None
    memory_limit_gib: float = 4.0
    classes: tuple[str, ...] | None = None
    file_column: str | None = None
    split_column: str | None = None
    keep_together: str | None = None
    image_folder: str | None = None
    text_column: str | None = None
    num_tokens: int = 128
    variant: str | None = None
    val_share: float | None = None
    test_share: float | None = None
    mask_folder: str | None = None
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
        require(self.crop_size is None or self.crop_size >= 1, "crop_size", self.crop_size, "at least 1")
        require(self.crop_pct is None or 0 < self.crop_pct <= 1, "crop_pct", self.crop_pct, "in (0, 1]")
        require((self.mean is None) == (self.std is None), "mean and std", (self.mean, self.std), "given together")
        num_means, num_stds = len(self.mean or ()), len(self.std or ())
        require(num_means == num_stds, "mean and std", (self.mean, self.std), "one number each per channel")
        require(all(value > 0 for value in self.std or ()), "std", self.std, "greater than 0")
        require(self.num_tokens >= 1, "num_tokens", self.num_tokens, "at least 1")
        require(self.memory_limit_gib >= 0, "memory_limit_gib", self.memory_limit_gib, "at least 0")

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name, without those that configure how images are used."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in USE_OPTIONS}
        return {name: value for name, value in values.items() if value is not None and value != StickerConfig()}
