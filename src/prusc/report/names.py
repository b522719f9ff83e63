"""The names of suspects as the page shows them: differences in words, mean pictures, and a map of the difference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prusc.report.pictures import address_of, lay_over
from prusc.report.record import RunRecord
from prusc.runs.samples.names import SuspectName
from prusc.stages.audit.class_probe import ClassProbe
from prusc.stages.audit.naming import Difference

_MEAN_SIDE = 112
# A longer list hides the first ones, and names.json has all.
_MAX_ALONE, _MAX_FOLLOWING = 8, 12


@dataclass(frozen=True)
class NameView:
    """What the samples of one suspect share.

    Attributes:
        num_inside: Number of its samples that were compared.
        num_compared: Number of all samples that were compared.
        alone: Differences that stand alone, the largest first.
        given: Differences in the known attributes.
        following: Further differences, each with the name of the one that it follows from.
        num_hidden: Number of differences that the page leaves out.
        mean_here: Mean picture of the suspect as a data URL; empty without pictures.
        mean_rest: Mean picture of the rest of its classes.
        heat: The mean picture with the map of the difference on top; empty if no place differs clearly.
    """

    num_inside: int
    num_compared: int
    alone: tuple[Difference, ...]
    given: tuple[Difference, ...]
    following: tuple[Difference, ...]
    num_hidden: int
    mean_here: str
    mean_rest: str
    heat: str


def view_names(run: RunRecord) -> dict[int, NameView]:
    """Return what the samples of each suspect share, by cluster."""
    names = None if run.samples is None else run.samples.names
    if names is None:
        return {}
    found = {}
    for position, suspect in enumerate(names.suspects):
        here = rest = heat = ""
        if names.maps is not None and names.means is not None:
            pixels, strength = names.means[position].numpy(), names.maps[position].numpy()
            here, rest = (address_of(_enlarge(picture)) for picture in pixels)
            heat = address_of(lay_over(_enlarge(pixels[0]), strength / strength.max())) if strength.any() else ""
        found[suspect.value] = _view(suspect, names.num_compared, here, rest, heat)
    return found


def _view(suspect: SuspectName, num_compared: int, here: str, rest: str, heat: str) -> NameView:
    alone = [item for item in suspect.differences if item.follows is None]
    following = [item for item in suspect.differences if item.follows is not None]
    given = [item for item in suspect.given if item.follows is None]
    shown = len(alone[:_MAX_ALONE]) + len(following[:_MAX_FOLLOWING])
    return NameView(
        num_inside=suspect.num_inside,
        num_compared=num_compared,
        alone=tuple(alone[:_MAX_ALONE]),
        given=tuple(given[:_MAX_ALONE]),
        following=tuple(following[:_MAX_FOLLOWING]),
        num_hidden=len(suspect.differences) - shown,
        mean_here=here,
        mean_rest=rest,
        heat=heat,
    )


def list_probes(run: RunRecord) -> tuple[ClassProbe, ...]:
    """Return how well border and background alone tell the class."""
    names = None if run.samples is None else run.samples.names
    return () if names is None else names.probes


def warn_of_probes(run: RunRecord) -> list[str]:
    """Return a sentence for each part of the picture that should not tell the class and does."""
    where = {
        "border": "The border alone tells the class",
        "background": "The background alone tells the class",
    }
    return [
        f"{where[probe.part]}: a logistic regression on the colours of {_PART_TEXTS[probe.part]} reaches a balanced "
        f"accuracy of {100 * probe.accuracy:.1f} % ({100 * probe.ci95[0]:.1f} to {100 * probe.ci95[1]:.1f}), where "
        f"guessing has {100 * probe.chance:.1f} %. A network can use that as a shortcut."
        for probe in list_probes(run)
        if probe.tells_class
    ]


_PART_TEXTS = {
    "border": "the outer sixteenth on each side",
    "background": "all but the central half of each side",
}


def describe_part(part: str) -> str:
    """Return where a part of a picture lies."""
    return _PART_TEXTS[part]


def tell_name(view: NameView | None) -> str:
    """Return the name of a suspect in a few words; empty if nothing was found."""
    return "" if view is None else "; ".join(item.text for item in (*view.alone[:3], *view.given[:2]))


_HUNDREDTHS = "of 100 units "
"""Colours are kept as shares of 100 units, and shown in units."""


def amount(difference: Difference) -> str:
    """Return the size of a difference with its interval, in the unit of the feature."""
    (low, high), size, unit = difference.ci95, difference.difference, difference.unit
    if unit.startswith(_HUNDREDTHS):
        low, high, size, unit = 100 * low, 100 * high, 100 * size, f"units {unit.removeprefix(_HUNDREDTHS)}"
    if difference.unit == "of the samples":
        text = (
            f"{100 * difference.inside:.0f}\N{NO-BREAK SPACE}% here, {100 * difference.outside:.0f}\N{NO-BREAK SPACE}% "
            f"elsewhere; difference {100 * low:+.0f} to {100 * high:+.0f} points"
        )
    else:
        text = f"{_short(size)} {unit}, 95 % interval {_short(low)} to {_short(high)}"
    return text.replace("-", "−")


def _short(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 100 else f"{value:+.0f}"


def _enlarge(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture [3, rows, columns] of intensities in [0, 1] as pixels, its longer side at least 112."""
    pixels = (255 * picture.transpose(1, 2, 0)).round().clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    scale = max(1, -(-_MEAN_SIDE // max(image.size)))
    return np.asarray(image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC))
