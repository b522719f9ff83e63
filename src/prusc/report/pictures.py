"""Pictures of samples on a page, as data URLs, with the predictions of the networks."""

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

# Dark to bright, so that colour-blind readers can read it: black, violet, red, orange, pale yellow.
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
_HEAT_SIDE = 112
_LOSSLESS_SIDE = 32


@dataclass(frozen=True)
class Prediction:
    """The prediction of one network for one sample.

    Attributes:
        name: Name of the predicted class.
        is_right: Whether it is the class of the sample.
    """

    name: str
    is_right: bool


@dataclass(frozen=True)
class Portrait:
    """A sample with its picture.

    Attributes:
        sample_id: Name of the sample.
        label: Name of its class.
        attributes: Value of each attribute by name.
        before: Prediction of the ERM network.
        after: Prediction of the chosen network; ``None`` if there is none.
        address: Its picture as a data URL; empty if the picture is missing.
        heat_before: Picture with the Grad-CAM of the ERM network on top; empty without Grad-CAM.
        heat_after: Picture with the Grad-CAM of the chosen network on top; empty without Grad-CAM.
    """

    sample_id: str
    label: str
    attributes: dict[str, str]
    before: Prediction
    after: Prediction | None
    address: str
    heat_before: str = ""
    heat_after: str = ""


def make_portrait(row: "pd.Series[str]", class_names: Sequence[str], samples: SampleRecord) -> Portrait:
    """Return a sample of the table with its picture.

    Args:
        row: Its row of `SampleRecord.table`.
        class_names: Name of each label.
        samples: Holds the pictures and the attention.

    Returns:
        The sample; without the pictures that are missing.
    """
    label = int(row["label"])
    predictions = [
        Prediction(class_names[predicted], predicted == label)
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
        before=predictions[0],
        after=predictions[1] if len(predictions) > 1 else None,
        address="" if pixels is None else address_of(pixels),
        heat_before=heats[0],
        heat_after=heats[1],
    )


def address_of(pixels: NDArray[np.uint8]) -> str:
    """Return a picture [height, width, 3] as a data URL without metadata."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return f"data:image/webp;base64,{_base64(encode_picture(image, lossless=max(image.size) <= _LOSSLESS_SIDE))}"


def sheet_addresses(pictures: Pictures) -> list[str]:
    """Return the sheets as data URLs; a missing sheet gives an empty string."""
    return ["" if sheet is None else f"data:image/webp;base64,{_base64(sheet[0])}" for sheet in pictures.sheets]


def lay_over(pixels: NDArray[np.uint8], attention: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend a map of attention with a gray copy of a picture.

    Args:
        pixels: Picture, [height, width, 3].
        attention: Values in [0, 1], [rows, columns], at any resolution; higher values become brighter.

    Returns:
        The picture [height, width, 3], enlarged by a whole factor until its longer side has at least 112 pixels.
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
