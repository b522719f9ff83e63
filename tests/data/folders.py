"""Small data sets on disk in every layout, with images that can be told apart."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, number: int, size: tuple[int, int] = (14, 12)) -> Path:
    """A plain gray of a value of its own, with noise that makes the file differ from every other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 6, (size[1], size[0], 3))
    Image.fromarray((noise + number * 7 % 240).astype(np.uint8)).save(path)
    return path


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_waterbirds(root: Path, num_images: int = 16) -> Path:
    """Every combination of class, place and split."""
    rows = []
    for number in range(num_images):
        name = f"{number // 8:03d}.Species/bird_{number}.png"
        write_image(root / name, number)
        split = (0, 0, 1, 2)[number // 4 % 4]
        rows.append({"img_id": number, "img_filename": name, "y": number % 2, "split": split, "place": number // 2 % 2})
    write_table(root / "metadata.csv", rows)
    return root


def write_class_folders(
    root: Path, num_images: int = 5, classes: Sequence[str] = ("cat", "dog"), *, first: int = 0
) -> Path:
    for label, name in enumerate(classes):
        for number in range(num_images):
            write_image(root / name / f"{number}.png", 50 * label + number + first)
    return root
