"""What a run or an audit kept of single samples, as a report sees it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.runs.samples.attention import RegionAttention
from prusc.runs.samples.contact_sheets import TILES_PER_SHEET, TileSize, cut_tile


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of samples, by position, on sheets; a sheet that is gone leaves a gap.

    Attributes:
        sheets: Each file and its pixels [height, width, 3]; ``None`` for one that is missing or damaged.
        size: Of every tile.
        why_not: Why there are none.
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
    """What a run kept of single samples.

    Attributes:
        table: One row per sample that was predicted, see `prusc.runs.samples.table`.
        map_before: Principal components [samples on the map, components] by the original network; ``None`` if missing.
        map_after: By the network that was handed back; ``None`` of an audit too.
        explained_variance: Of each map's two axes.
        attention: Grad-CAM ``before`` and, but for an audit, ``after``, [samples, rows, columns]; empty if missing.
        why_no_attention: Why there is no Grad-CAM; empty if there is.
        regions: How much attention falls inside the regions that are known.
        num_unreadable: Samples whose regions could not be read, of those that were drawn.
        per_side: Of each cluster so many samples have pictures that are nearest to its centre, on either side.
        thumbnails: By position on the map.
        pictures: By their own position.
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

    @property
    def attribute_names(self) -> list[str]:
        """The attributes that evaluation knows."""
        return [name.removeprefix("attribute/") for name in map(str, self.table) if name.startswith("attribute/")]

    @property
    def has_after(self) -> bool:
        """Whether there is a second network: an audit has none."""
        return "prediction/subnetwork" in self.table
