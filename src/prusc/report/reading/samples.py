"""Reading of the record of single samples."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors

from prusc.report.reading.optional import OptionalFiles, read_json
from prusc.report.sample_record import Pictures, SampleRecord
from prusc.runs.samples.attention import MeanShare, RegionAttention
from prusc.runs.samples.contact_sheets import SUFFIX, TileSize
from prusc.runs.samples.files import ABOUT, ATTENTION, FOLDER, MAP, NAME_MAPS, NAMES, TABLE
from prusc.runs.samples.names import Names, names_from_dict
from prusc.runs.samples.shown import MAX_PICTURES_PER_CELL_SIDE


def read_samples(files: OptionalFiles) -> SampleRecord | None:
    """Return the record of single samples; ``None`` if one of its tables cannot be read."""
    table = files.read(TABLE, _read_table, "pictures, map and Grad-CAM (runs of an older prusc have none)")
    about = None if table is None else files.read(ABOUT, read_json, "pictures, map and Grad-CAM")
    if table is None or about is None:
        return None
    maps = files.read(MAP, load_file, "the map of the representations") or {}
    why_no_attention = about["attention"].get("why_not") or ""
    attention = {} if why_no_attention else files.read(ATTENTION, load_file, "Grad-CAM") or {}
    if not attention and not why_no_attention:
        why_no_attention = f"{ATTENTION} is missing"
    num_on_map = int(table["map"].max()) + 1
    names = ("before", "after") if "prediction/subnetwork" in table else ("before",)
    if any(len(maps.get(name, ())) != num_on_map for name in names):
        maps = {}
    return SampleRecord(
        table=table,
        map_before=maps.get("before"),
        map_after=maps.get("after"),
        explained_variance={name: (pair[0], pair[1]) for name, pair in about["explained_variance"].items()},
        attention=attention,
        why_no_attention=why_no_attention,
        regions=tuple(_read_region(region) for region in about["attention"].get("regions", ())),
        num_unreadable=about["attention"].get("num_unreadable", 0),
        per_side=about.get("per_side", MAX_PICTURES_PER_CELL_SIDE),
        thumbnails=_read_pictures(files, "thumbnails", about["thumbnails"]),
        pictures=_read_pictures(files, "pictures", about["pictures"]),
        names=_read_names(files),
    )


def _read_names(files: OptionalFiles) -> Names | None:
    values = files.read(NAMES, read_json, "")  # Runs of an older prusc have none.
    if values is None:
        return None
    maps = files.read(NAME_MAPS, load_tensors, "") or {}
    return files.read(NAMES, lambda _: names_from_dict(values, maps), "the names of the suspects")


def _read_pictures(files: OptionalFiles, name: str, about: Mapping[str, Any]) -> Pictures:
    if not about["num_files"]:
        return Pictures((), TileSize(1, 1), about["why_not"])
    sheets = tuple(
        files.read(f"{FOLDER}/{name}-{number:03d}{SUFFIX}", _read_sheet, f"some {name}")
        for number in range(about["num_files"])
    )
    return Pictures(sheets, TileSize(about["width"], about["height"]))


def _read_region(values: Mapping[str, Any]) -> RegionAttention:
    def share(found: Mapping[str, Any] | None) -> MeanShare | None:
        if found is None:
            return None
        limits = found["ci95"]
        return MeanShare(found["mean"], None if limits is None else (limits[0], limits[1]))

    before = share(values["before"])
    assert before is not None
    return RegionAttention(
        region=values["region"],
        num_samples=values["num_samples"],
        area=values["area"],
        before=before,
        after=share(values["after"]),
        change=share(values["change"]),
    )


def _read_table(path: Path) -> pd.DataFrame:
    # As text, because a sample may be named NA or 007.
    columns = pd.read_csv(path, nrows=0).columns
    whole = ("index", "label", "cluster", "map", "picture", "attention", "suggested")
    shares = ("similarity",)
    kinds = {
        name: "int64"
        if name in whole or name.startswith("prediction/")
        else "float64"
        if name in shares or name.startswith("confidence/")
        else "str"
        for name in columns
    }
    table = pd.read_csv(path, keep_default_na=False, dtype=kinds)
    if "similarity" not in table:  # an older prusc gave positions in the order of similarity
        table["similarity"] = -table["picture"].astype("float64")
    return table


def _read_sheet(path: Path) -> tuple[bytes, NDArray[np.uint8]]:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        return content, np.asarray(image.convert("RGB"))
