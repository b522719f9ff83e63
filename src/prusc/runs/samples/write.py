"""Writing of the record of single samples, so that a report needs neither the data nor the networks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import torch

from prusc.engine.runtime import stage_generator
from prusc.runs.folder import RunFolder
from prusc.runs.samples.attention_maps import compute_attention, load_images
from prusc.runs.samples.components import find_components
from prusc.runs.samples.contact_sheets import SUFFIX, are_pictures, make_tiles, write_sheets
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.files import ABOUT, ATTENTION, FOLDER, LABEL_ISSUES, MAP, TABLE
from prusc.runs.samples.grad_cam import find_feature_map
from prusc.runs.samples.names import find_names, write_names
from prusc.runs.samples.regions import measure_regions
from prusc.runs.samples.shown import Shown, choose_shown
from prusc.runs.samples.table import list_label_issues, make_table
from prusc.runs.samples.verdicts import judge_samples
from prusc.stages.representations import Representations, extract_representations

_THUMBNAIL_SIDE = 48
_PICTURE_SIDE = 112


def write_samples(folder: RunFolder | None, exhibit: Exhibit) -> None:
    """Write what is said of every sample, the names of suspects, and pictures, map and attention of some samples.

    Group attributes go into the table and the names for the reader. No choice depends on them. Every process of a run
    has to call this function.

    Args:
        folder: Run folder that already has ``clusters.csv``; ``None`` in all processes but the main one.
        exhibit: What the run can show.
    """
    runtime = exhibit.feed.runtime
    seen = _represent(exhibit)
    if folder is not None:
        # Only the main process has the table of clusters.
        val_clusters = _read_val_clusters(folder)
        values = torch.tensor(val_clusters["cluster_assign"].tolist(), dtype=torch.long)
        verdicts = judge_samples(exhibit, values, seen, generator=stage_generator(exhibit.seed, "balanced heads"))
        shown = choose_shown(val_clusters, exhibit, verdicts.errors)
        _write(folder, exhibit, shown, seen)
        table = make_table(exhibit, shown, val_clusters, verdicts)
        folder.write_csv(TABLE, table)
        folder.write_csv(LABEL_ISSUES, list_label_issues(table, exhibit.data.class_names))
        suspects = [cluster.cluster for cluster in exhibit.clusters if cluster.is_suspect]
        generator = stage_generator(exhibit.seed, "names")
        workers = runtime.config.num_workers
        write_names(folder, find_names(exhibit.data, values, suspects, generator=generator, num_workers=workers))
    runtime.barrier()


def _represent(exhibit: Exhibit) -> dict[str, Representations]:
    """Return representations and logits of the validation split by network; every process takes part."""
    represent = partial(extract_representations, data=exhibit.feed, head_name=exhibit.head_name)
    original = exhibit.networks["before"]
    seen = {"before": exhibit.seen.get("before") or represent(original)}
    if "after" in exhibit.networks:
        after = exhibit.networks["after"]
        seen["after"] = seen["before"] if after is original else exhibit.seen.get("after") or represent(after)
    return seen


def _write(folder: RunFolder, exhibit: Exhibit, shown: Shown, seen: Mapping[str, Representations]) -> None:
    """Write pictures, map and attention."""
    # Files of an earlier audit are removed first, because a mix of both would mislabel samples.
    folder.remove_folder(FOLDER)
    components = {name: find_components(found.values[torch.tensor(shown.on_map)]) for name, found in seen.items()}
    folder.write_tensors(MAP, {name: torch.from_numpy(found) for name, (found, _) in components.items()})
    about = {
        "split": "val",
        "explained_variance": {name: shares[:2].tolist() for name, (_, shares) in components.items()},
        "thumbnails": _write_pictures(folder, "thumbnails", shown.on_map, _THUMBNAIL_SIDE, exhibit),
        "pictures": _write_pictures(folder, "pictures", shown.pictures, _PICTURE_SIDE, exhibit),
        "per_side": shown.per_side,
        "attention": _write_attention(folder, exhibit, shown.attention),
    }
    folder.write_json(ABOUT, about)


def _read_val_clusters(folder: RunFolder) -> pd.DataFrame:
    """Return cluster and similarity of each validation sample; similarity is 0 if an older prusc began the run."""
    path, rows_at_once = folder.path / "clusters.csv", 2**20
    with pd.read_csv(path, usecols=lambda name: name != "sample_id", chunksize=rows_at_once) as parts:
        table = pd.concat([part[part["split"] == "val"] for part in parts])
    table = table.sort_values("index").reset_index(drop=True)
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
