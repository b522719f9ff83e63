"""Attention of the networks inside the regions that the data set knows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.runs.folder import RunFolder
from prusc.runs.samples.attention import share_inside, summarise_region
from prusc.runs.samples.attention_maps import compute_attention
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.files import REGIONS

# This many samples give the share of the attention inside a region to about 2 points.
MAX_REGION_SAMPLES = 500


def measure_regions(folder: RunFolder, exhibit: Exhibit, feature_map: str) -> dict[str, Any]:
    """Write and return the share of the attention inside the regions of randomly drawn validation samples."""
    val = exhibit.data.val
    if val.regions is None:
        return {"regions": [], "num_unreadable": 0}
    drawn = np.random.default_rng(exhibit.seed).permutation(len(val))[:MAX_REGION_SAMPLES].tolist()
    found = _find_regions(val, drawn)
    members = {
        name: [index for index in found if name in found[index]]
        for name in sorted({name for regions in found.values() for name in regions})
    }
    with_any = [index for index in found if found[index]]
    place = {index: position for position, index in enumerate(with_any)}
    maps = compute_attention(exhibit, feature_map, with_any) if with_any else {}
    tables, summaries = [], []
    for name, own in members.items():
        inside = torch.stack([found[index][name] for index in own])
        areas = inside.double().mean(dim=(1, 2)).tolist()
        positions = [place[index] for index in own]
        shares = {network: share_inside(attention[positions], inside).tolist() for network, attention in maps.items()}
        ids = [val.sample_ids[index] for index in own]
        tables.append(pd.DataFrame({"region": name, "index": own, "sample_id": ids, "area": areas, **shares}))
        summaries.append(summarise_region(name, areas, shares["before"], shares.get("after")))
    if tables:
        folder.write_csv(REGIONS, pd.concat(tables, ignore_index=True))
    return {
        "regions": [asdict(item) for item in summaries if item is not None],
        "num_unreadable": len(drawn) - len(found),
    }


def _find_regions(split: Split, indices: Sequence[int]) -> dict[int, Mapping[str, Tensor]]:
    """Return the regions of the samples whose regions can be read and have the size of the image."""
    inputs = take_inputs(split.inputs, torch.tensor(indices[:1]))
    assert split.regions is not None
    assert isinstance(inputs, Tensor), "callers check that the inputs are images"
    found: dict[int, Mapping[str, Tensor]] = {}
    for index in indices:
        try:
            regions = split.regions(index)
            is_good = all(m.dtype == torch.bool and m.shape == inputs.shape[2:] for m in regions.values())
        except Exception:  # noqa: BLE001 -- regions come from files or user code, and the run does not depend on them
            continue
        if is_good:
            found[index] = regions
    return found
