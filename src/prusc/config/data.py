"""Every setting of the data and its default."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from prusc.config.checks import require

# Data options that say how images are used, whatever layout they come from.
USE_OPTIONS = ("memory_limit_gib", "crop_size")


@dataclass(frozen=True)
class StickerConfig:
    """Coloured patches to lay on images that have none, so that there is a shortcut of known strength.

    Attributes:
        train_shares: Share of the training images of each class that get one, such as 0.5 0.03; none if not given.
        val_shares: The same for validation; as in training if not given.
        test_shares: The same for test; half of each class if not given.
        size: Mean diameter, as a share of the image's side.
        mask_folder: Where the masks lie that stickers keep off, from the data's folder; those of the data
            (data_options.mask_folder) if not given.
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
    """Where the images come from. Which options apply depends on the layout (docs/how-to/data.md).

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
        mask_folder: Where there is a mask of the object for each image or some, white inside, from the data's folder;
            masks if there is one. The report says how much of a network's attention falls inside.
        land_backgrounds: cub: folder of photographs of land.
        water_backgrounds: cub: folder of photographs of water.
        stickers: Patches to lay on the images.
        crop_size: Side of what the network is shown: the central square of so many pixels or, in training with random
            crops (erm.min_crop_scale), crops of the whole image; the whole image if not given.
        source: Data sets of docs/reference/benchmark-data.md: folder of the original images.
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
        require(self.memory_limit_gib >= 0, "memory_limit_gib", self.memory_limit_gib, "at least 0")

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name, but for how images are used."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in USE_OPTIONS}
        return {name: value for name, value in values.items() if value is not None and value != StickerConfig()}
