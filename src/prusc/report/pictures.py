"""Pictures of samples on a page: re-encoded, as data addresses, with what the networks make of them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prusc.report.sample_record import Pictures, SampleRecord
from prusc.runs.samples.contact_sheets import encode_picture
from prusc.runs.samples.exhibit import FAMILY_OF

# Dark to bright, so that it can be read without seeing colours: black, violet, red, orange, pale yellow.
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
_HEAT_SIDE = 112
_LOSSLESS_SIDE = 32


@dataclass(frozen=True)
class Judgement:
    """What one network says of a sample.

    Attributes:
        name: Of the class that it predicts.
        is_right: Whether that is the sample's class.
    """

    name: str
    is_right: bool


@dataclass(frozen=True)
class Portrait:
    """A sample that can be looked at.

    Attributes:
        sample_id: Its name.
        label: Name of its class.
        attributes: Value of each attribute by name.
        before: What the original network says.
        after: What the network says that was handed back; ``None`` if there is none.
        address: Its picture as a data address; empty if the picture is missing.
        heat_before: The same with Grad-CAM of the original network laid over it; empty without.
        heat_after: The same of the network that was handed back.
    """

    sample_id: str
    label: str
    attributes: dict[str, str]
    before: Judgement
    after: Judgement | None
    address: str
    heat_before: str = ""
    heat_after: str = ""


def make_portrait(row: "pd.Series[str]", class_names: Sequence[str], samples: SampleRecord) -> Portrait:
    """Return a sample of the table with its picture.

    Args:
        row: Of `SampleRecord.table`.
        class_names: Name of each label.
        samples: Where the pictures are.
    """
    label = int(row["label"])
    judgements = [
        Judgement(class_names[predicted], predicted == label)
        for predicted in (
            int(row[f"prediction/{family}"]) for family in FAMILY_OF.values() if f"prediction/{family}" in row
        )
    ]
    pixels = samples.pictures.cut(int(row["picture"]))
    position = int(row["attention"])
    maps = [
        samples.attention[name][position] if name in samples.attention and position >= 0 else None for name in FAMILY_OF
    ]
    heats = [address_of(lay_over(pixels, found)) if pixels is not None and found is not None else "" for found in maps]
    return Portrait(
        sample_id=str(row["sample_id"]),
        label=class_names[label],
        attributes={name: str(row[f"attribute/{name}"]) for name in samples.attribute_names},
        before=judgements[0],
        after=judgements[1] if len(judgements) > 1 else None,
        address="" if pixels is None else address_of(pixels),
        heat_before=heats[0],
        heat_after=heats[1],
    )


def address_of(pixels: NDArray[np.uint8]) -> str:
    """Return a picture [height, width, 3] as a data address, without anything but its pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return f"data:image/webp;base64,{_base64(encode_picture(image, lossless=max(image.size) <= _LOSSLESS_SIDE))}"


def sheet_addresses(pictures: Pictures) -> list[str]:
    """Return the sheets as data addresses, an empty one for a sheet that is missing."""
    return ["" if sheet is None else f"data:image/webp;base64,{_base64(sheet[0])}" for sheet in pictures.sheets]


def lay_over(pixels: NDArray[np.uint8], attention: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a map of attention over a gray copy of a picture.

    Args:
        pixels: [height, width, 3].
        attention: Values in [0, 1], at any resolution; the brighter the more.

    Returns:
        The picture, its longer side at least 112 pixels.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = max(1, -(-_HEAT_SIDE // max(image.size)))
    size = (image.width * scale, image.height * scale)
    gray = np.asarray(image.convert("L").resize(size, Image.Resampling.NEAREST), dtype=np.float32)
    smooth = Image.fromarray(attention.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.asarray(smooth).clip(0, 1)
    steps = np.linspace(0, 1, len(_HEAT))
    heat = np.stack([np.interp(strength, steps, _HEAT[:, channel]) for channel in range(3)], axis=-1)
    return (0.4 * gray[..., None] + 0.6 * heat).clip(0, 255).astype(np.uint8)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
