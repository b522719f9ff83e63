"""What is known of samples besides image, class and attributes: unused columns, and properties of image files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from prusc.data.images import ImageSource


@dataclass(frozen=True)
class ImageFacts:
    """Facts of the samples of a split.

    Attributes:
        images: The images.
        columns: Columns of the table that serve nothing else, as text by name.
    """

    images: tuple[ImageSource, ...]
    columns: Mapping[str, Sequence[str]]

    def __call__(self, indices: Sequence[int]) -> dict[str, list[str]]:
        """Return the facts of some samples; only the heads of their files are read.

        Args:
            indices: Indices of the samples.

        Returns:
            Text by column; empty where it is missing or the file cannot be read.
        """
        found = {name: [str(texts[index]) for index in indices] for name, texts in self.columns.items()}
        files = [_describe_file(self.images[index]) for index in indices]
        if any(any(row.values()) for row in files):
            found |= {name: [row[name] for row in files] for name in files[0]}
        return found


def _describe_file(source: ImageSource) -> dict[str, str]:
    names = ("width in pixels", "height in pixels", "width / height", "bytes per pixel of the file", "file format")
    missing = dict.fromkeys((*names, "channels of the file"), "")
    if not isinstance(source, str | Path):
        return missing
    path = Path(source)
    try:
        with Image.open(path) as image:
            width, height = image.size
            kind, mode = image.format or "", image.mode
        size = path.stat().st_size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return missing
    shape, density = f"{width / height:.4f}", f"{size / (width * height):.4f}"
    return dict(zip(missing, (str(width), str(height), shape, density, kind, mode), strict=True))
