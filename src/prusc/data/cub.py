"""Waterbirds, composed from CUB-200-2011: birds, cut out by their segmentations, in front of land or water."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.image_root import ImageRoot
from prusc.data.images import IMAGE_SUFFIXES, MadeImage, decode_source
from prusc.data.listing import Listing, Problems
from prusc.errors import ConfigError, DataError

CLASS_NAMES = ("landbird", "waterbird")
BACKGROUND_NAMES = ("land", "water")
WATERBIRDS = (
    "albatross", "auklet", "cormorant", "frigatebird", "fulmar", "gadwall", "grebe", "guillemot", "gull", "jaeger",
    "kittiwake", "mallard", "merganser", "pacific_loon", "pelican", "puffin", "tern",
)  # fmt: skip
"""A species is a waterbird if its name, in small letters, contains one of these.

So the Eastern Towhee and two Western birds are waterbirds too ("tern"). The published data have the same flaw: their
group counts cannot be reproduced without these species.
"""
DEFAULT_CORRELATION = 0.95

_IMAGES, _SPLITS = "images.txt", "train_test_split.txt"
# Share of CUB's training samples that are validation in the published data, for each class.
_VAL_SHARES = (933 / 4615, 266 / 1379)


def is_cub(root: Path) -> bool:
    """Whether a folder holds CUB-200-2011."""
    return (root / _IMAGES).is_file() and (root / _SPLITS).is_file()


@dataclass(frozen=True)
class ComposedImage(MadeImage):
    """A bird in front of another background, composed at the requested size.

    Attributes:
        bird: Photograph of the bird.
        mask: Segmentation, white where the bird is; shades of grey blend.
        background: Photograph that is seen elsewhere.
    """

    bird: Path
    mask: Path
    background: Path

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3]."""
        bird, mask, background = (decode_source(path, size) for path in (self.bird, self.mask, self.background))
        if bird.shape != mask.shape:
            raise DataError(f"mask {self.mask} does not have the size of {self.bird}")
        share = mask / 255
        return (bird * share + background * (1 - share)).round().astype(np.uint8)

    def find_regions(self, size: int) -> dict[str, NDArray[np.bool_]]:
        """Return the region of the bird."""
        return {"bird": decode_source(self.mask, size)[:, :, 0] >= 128}


def list_cub(
    root: Path,
    problems: Problems,
    *,
    land_backgrounds: Path | None = None,
    water_backgrounds: Path | None = None,
    correlation: float = DEFAULT_CORRELATION,
    seed: int = 0,
) -> Listing:
    """List Waterbirds as it is composed from CUB.

    The test split is CUB's. A fifth of CUB's training images becomes validation, in the published shares of each class.
    In training, the share ``correlation`` of each class has its own background; in validation and test half of it has,
    rounded up. All of CUB gives the published group counts: 3498, 184, 56 and 1057 for training.

    Args:
        root: Folder of CUB-200-2011, with ``segmentations/`` in it or next to it.
        problems: Receives the problems of rows.
        land_backgrounds: Folder of photographs of land; sub-folders count too.
        water_backgrounds: Folder of photographs of water. A folder with fewer backgrounds than birds is reused.
        correlation: Share of the training birds with their own background, in [0.5, 1].
        seed: Seed of the validation split and of the backgrounds.

    Returns:
        The composed images in CUB's order, with the attribute ``place``.

    Raises:
        ConfigError: If a folder of backgrounds is missing or the correlation is out of range.
        DataError: If CUB's files are missing or malformed, or a row has a problem and problems are not collected.

    References:
        Sagawa et al. 2020, arXiv:1911.08731; Wah et al. 2011 (CUB-200-2011).
    """
    if not 0.5 <= correlation <= 1:
        raise ConfigError(f"correlation is {correlation}; expected a share from 0.5 (independent) to 1")
    backgrounds = [
        _find_backgrounds(name, folder)
        for name, folder in zip(BACKGROUND_NAMES, (land_backgrounds, water_backgrounds), strict=True)
    ]
    names = _read_pairs(root / _IMAGES)
    is_training = _read_pairs(root / _SPLITS)
    segmentations = next((f for f in (root / "segmentations", root.parent / "segmentations") if f.is_dir()), None)
    if segmentations is None:
        raise DataError(
            f"{root} has no folder segmentations, in it or next to it; expected CUB's masks: download them too"
        )
    birds, masks = ImageRoot(root), ImageRoot(segmentations)
    found: list[tuple[str, Path, Path, int, int, str]] = []
    for key, (name, line) in names.items():
        place = f"{root / _IMAGES}, line {line}"
        flag = is_training.get(key, ("", 0))[0]
        if flag not in ("0", "1"):
            problems.add(
                "split", f"{place}: image {key} is {flag!r} in {root / _SPLITS}; expected 0 (test) or 1 (training)"
            )
            continue
        try:
            bird, mask = birds.find(name), masks.find(str(Path(name).with_suffix(".png")))
        except DataError as error:
            problems.add("path", f"{place}: {error}")
            continue
        if mask is None or bird is None:
            what = segmentations / Path(name).with_suffix(".png") if bird is not None else root / "images" / name
            problems.add("missing", f"{place}: {what} does not exist; expected every bird and its segmentation")
            continue
        label = int(any(water in name.partition("/")[0].lower() for water in WATERBIRDS))
        found.append((name, bird, mask, label, 0 if flag == "1" else 2, place))
    if not found:
        raise DataError(f"{root / _IMAGES} names no usable images; expected birds with their segmentations")
    labels = np.array([row[3] for row in found], dtype=np.int64)
    rng = np.random.default_rng(seed)
    splits = _hold_out_val(labels, np.array([row[4] for row in found], dtype=np.int64), rng)
    values = choose_backgrounds(labels, splits, correlation, rng)
    chosen: dict[int, Path] = {}
    for value, files in enumerate(backgrounds):
        members = np.flatnonzero(values == value).tolist()
        order = rng.permutation(len(files)).tolist()
        chosen |= {index: files[order[number % len(files)]] for number, index in enumerate(members)}
    return Listing(
        name="waterbirds",
        layout="cub",
        root=root,
        source=str(root / _IMAGES),
        sample_ids=tuple(row[0] for row in found),
        images=tuple(ComposedImage(row[1], row[2], chosen[index]) for index, row in enumerate(found)),
        places=tuple(row[5] for row in found),
        labels=labels,
        class_names=CLASS_NAMES,
        splits=splits,
        attributes=values[:, None],
        attribute_names=("place",),
        attribute_values=(BACKGROUND_NAMES,),
        origin={
            "correlation": correlation,
            "land_backgrounds": str(land_backgrounds),
            "water_backgrounds": str(water_backgrounds),
            "num_backgrounds": [len(files) for files in backgrounds],
        },
    )


def choose_backgrounds(
    labels: NDArray[np.int64], splits: NDArray[np.int64], correlation: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose a background for each bird: its own for a share of training, and for half of validation and test.

    Args:
        labels: Class of each bird, 0 (landbird) or 1 (waterbird), [N].
        splits: Split of each bird, [N].
        correlation: Share of the training birds with their own background.
        rng: Source of the randomness.

    Returns:
        0 (land) or 1 (water) for each bird, [N].
    """
    values = 1 - labels
    for split in range(3):
        for label in range(2):
            members = np.flatnonzero((splits == split) & (labels == label))
            number = round(correlation * len(members)) if split == 0 else -(-len(members) // 2)
            values[rng.permutation(members)[:number]] = label
    return values


def _hold_out_val(labels: NDArray[np.int64], splits: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    splits = splits.copy()
    for label, share in enumerate(_VAL_SHARES):
        members = np.flatnonzero((splits == 0) & (labels == label))
        splits[rng.permutation(members)[: round(share * len(members))]] = 1
    return splits


def _find_backgrounds(name: str, folder: Path | None) -> list[Path]:
    option = f"--data-options.{name}-backgrounds"
    if folder is None or not folder.is_dir():
        raise ConfigError(
            f"{option} is {str(folder) if folder else 'missing'}; expected a folder of photographs of {name}"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ConfigError(f"{option}: {folder} holds no images; expected photographs of {name}")
    return files


def _read_pairs(path: Path) -> dict[str, tuple[str, int]]:
    """Read lines of a number and a value. Return the value and the line number by the number."""
    pairs: dict[str, tuple[str, int]] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as text ({error}); expected CUB's own file: download it again"
        ) from error
    for number, line in enumerate(lines, start=1):
        key, _, value = line.strip().partition(" ")
        if not line.strip():
            continue
        if not key.isdecimal() or not value:
            raise DataError(
                f"{path}, line {number}: found {line[:50]!r}; expected a number and a value, as in CUB's own file"
            )
        pairs[key] = (value, number)
    return pairs
