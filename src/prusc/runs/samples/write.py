"""Writing of the record of single samples, so that a report needs neither the data nor the networks."""

from functools import partial
from typing import Any

import pandas as pd
import torch

from prusc.runs.folder import RunFolder
from prusc.runs.samples.attention_maps import compute_attention, load_images
from prusc.runs.samples.components import find_components
from prusc.runs.samples.contact_sheets import SUFFIX, are_pictures, make_tiles, write_sheets
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.files import ABOUT, ATTENTION, FOLDER, MAP, TABLE
from prusc.runs.samples.grad_cam import find_feature_map
from prusc.runs.samples.regions import measure_regions
from prusc.runs.samples.shown import choose_shown
from prusc.runs.samples.table import make_table
from prusc.stages.representations import extract_representations

_THUMBNAIL_SIDE = 48
_PICTURE_SIDE = 112


def write_samples(folder: RunFolder | None, exhibit: Exhibit) -> None:
    """Write the predictions for every sample, and pictures, map and attention for some validation samples.

    Group attributes go into the table for the reader. No choice depends on them. Every process of a run has to call
    this function.

    Args:
        folder: Run folder that already has ``clusters.csv``; ``None`` in all processes but the main one.
        exhibit: What the run can show.
    """
    data, runtime = exhibit.data, exhibit.feed.runtime
    val_clusters = None if folder is None else _read_val_clusters(folder)
    shown = runtime.broadcast(None if val_clusters is None else choose_shown(val_clusters, exhibit))
    assert shown is not None, "the main process has a folder"
    split = data.val.subset(torch.tensor(shown.on_map))
    represent = partial(extract_representations, data=exhibit.feed.of(split), head_name=exhibit.head_name)
    original = exhibit.networks["before"]
    values = {"before": represent(original).values}
    if "after" in exhibit.networks:
        after = exhibit.networks["after"]
        values["after"] = values["before"] if after is original else represent(after).values
    if folder is None or val_clusters is None:
        return
    # Files of an earlier audit are removed first, because a mix of both would mislabel samples.
    folder.remove_folder(FOLDER)
    components = {name: find_components(value) for name, value in values.items()}
    folder.write_tensors(MAP, {name: torch.from_numpy(found) for name, (found, _) in components.items()})
    about = {
        "split": "val",
        "explained_variance": {name: shares[:2].tolist() for name, (_, shares) in components.items()},
        "thumbnails": _write_pictures(folder, "thumbnails", shown.on_map, _THUMBNAIL_SIDE, exhibit),
        "pictures": _write_pictures(folder, "pictures", shown.pictures, _PICTURE_SIDE, exhibit),
        "per_side": shown.per_side,
        "attention": _write_attention(folder, exhibit, shown.attention),
    }
    folder.write_csv(TABLE, make_table(exhibit, shown, val_clusters))
    folder.write_json(ABOUT, about)


def _read_val_clusters(folder: RunFolder) -> pd.DataFrame:
    """Return cluster and similarity of each validation sample; similarity is 0 if an older prusc began the run."""
    table = pd.read_csv(folder.path / "clusters.csv", usecols=lambda name: name != "sample_id")
    table = table[table["split"] == "val"].sort_values("index").reset_index(drop=True)
    return table if "similarity" in table else table.assign(similarity=0.0)


def _write_pictures(
    folder: RunFolder, name: str, indices: tuple[int, ...], side: int, exhibit: Exhibit
) -> dict[str, object]:
    """Write sheets of pictures and return their number and tile size."""
    inputs = exhibit.data.val.inputs
    if not are_pictures(inputs):
        return {"num_files": 0, "why_not": "the inputs of this data set are not images"}
    workers = exhibit.feed.runtime.config.num_workers
    tiles = list(make_tiles(inputs, torch.tensor(indices), largest_side=side, num_workers=workers))
    num_files = 0
    for num_files, content in enumerate(write_sheets(tiles), start=1):
        folder.write_bytes(f"{FOLDER}/{name}-{num_files - 1:03d}{SUFFIX}", content)
    return {"num_files": num_files, "width": tiles[0].width, "height": tiles[0].height}


def _write_attention(folder: RunFolder, exhibit: Exhibit, indices: tuple[int, ...]) -> dict[str, Any]:
    """Write the Grad-CAM of the predicted class of each network, or return why that is not possible."""
    if not are_pictures(exhibit.data.val.inputs):
        return {"why_not": "the inputs of this data set are not images"}
    try:
        feature_map = find_feature_map(exhibit.networks["before"], load_images(exhibit, indices[:1])[0])
        if feature_map is None:
            return {"why_not": "this network has no convolution in the second half of its layers"}
        folder.write_tensors(ATTENTION, compute_attention(exhibit, feature_map, indices))
        regions = measure_regions(folder, exhibit, feature_map)
    except RuntimeError as error:
        # Grad-CAM cannot support every user network, and its failure must not end the run.
        return {"why_not": f"gradients do not reach the feature map of this network: {str(error).splitlines()[0]}"}
    return {"why_not": None, "feature_map": feature_map, **regions}
