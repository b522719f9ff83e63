"""The record of single samples of a run or an audit, as a report uses it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.runs.samples.attention import RegionAttention
from prusc.runs.samples.contact_sheets import TILES_PER_SHEET, TileSize, cut_tile
from prusc.runs.samples.names import Names


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of samples by position, on sheets.

    Attributes:
        sheets: Content and pixels [height, width, 3] of each file; ``None`` for a missing or damaged file.
        size: Size of every tile.
        why_not: Why there are no pictures; empty if there are.
    """

    sheets: tuple[tuple[bytes, NDArray[np.uint8]] | None, ...]
    size: TileSize
    why_not: str = ""

    def cut(self, position: int) -> NDArray[np.uint8] | None:
        """Return the pixels [height, width, 3] of one picture; ``None`` if it is missing."""
        number, place = divmod(position, TILES_PER_SHEET)
        sheet = self.sheets[number] if 0 <= number < len(self.sheets) else None
        if sheet is None:
            return None
        tile = cut_tile(sheet[1], place, self.size)
        return tile if tile.shape == (self.size.height, self.size.width, 3) else None


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """The record of single samples of a run.

    Attributes:
        table: One row per predicted sample, see `prusc.runs.samples.table`.
        map_before: Principal components of the ERM network, [samples on the map, components]; ``None`` if missing.
        map_after: Principal components of the chosen network; ``None`` if missing, and for an audit.
        explained_variance: Share of the variance of the two axes of each map.
        attention: Grad-CAM ``before`` (ERM network) and ``after`` (chosen network), each [samples, rows, columns]. An
            audit has no ``after``. Empty if missing.
        why_no_attention: Why there is no Grad-CAM; empty if there is.
        regions: Share of the attention inside each known region.
        num_unreadable: Number of drawn samples whose regions could not be read.
        per_side: Number of pictures per cluster of the main class, and of the other classes.
        thumbnails: Pictures by position on the map.
        pictures: Larger pictures by their own position.
        names: What the samples of suspects share; ``None`` if an older prusc made the run.
    """

    table: pd.DataFrame
    map_before: NDArray[np.float32] | None
    map_after: NDArray[np.float32] | None
    explained_variance: Mapping[str, tuple[float, float]]
    attention: Mapping[str, NDArray[np.float32]]
    why_no_attention: str
    regions: tuple[RegionAttention, ...]
    num_unreadable: int
    per_side: int
    thumbnails: Pictures
    pictures: Pictures
    names: Names | None = None

    @property
    def attribute_names(self) -> list[str]:
        """Names of the attributes that the evaluation knows."""
        return [name.removeprefix("attribute/") for name in map(str, self.table) if name.startswith("attribute/")]

    @property
    def has_after(self) -> bool:
        """Whether there is a second network: an audit has none."""
        return "prediction/subnetwork" in self.table
