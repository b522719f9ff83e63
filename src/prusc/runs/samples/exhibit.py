"""What a run or an audit keeps of single samples, so that a report shows them without the data and the networks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.data.batches import take_inputs
from prusc.data.table import Data, Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.models.calls import to_device
from prusc.runs.folder import RunFolder
from prusc.runs.samples.attention import share_inside, summarise_region
from prusc.runs.samples.contact_sheets import SUFFIX, are_pictures, make_tiles, write_sheets
from prusc.runs.samples.grad_cam import find_feature_map, grad_cam, spread_over_image
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.representations import extract_representations

FOLDER = "samples"
TABLE, ABOUT, MAP, ATTENTION, REGIONS = (
    f"{FOLDER}/{name}"
    for name in ("samples.csv", "about.json", "map.safetensors", "attention.safetensors", "regions.csv")
)

# What the networks that are shown are called among the predictions.
FAMILY_OF = {"before": "erm", "after": "subnetwork"}

# Points that a browser still draws smoothly.
MAX_MAP_SAMPLES = 5_000
# What a report of 12 MB holds beside the map's thumbnails.
MAX_PICTURES = 400
MAX_PICTURES_PER_CELL_SIDE = 12
MAX_ATTENTION_SAMPLES = 24
# So many give the share of attention inside a region to some 2 points.
MAX_REGION_SAMPLES = 500

_THUMBNAIL_SIDE = 48
_PICTURE_SIDE = 112
_NUM_COMPONENTS = 50
_ATTENTION_BATCH = 64


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What there is to show.

    Attributes:
        data: Of which the validation split is shown.
        networks: ``before`` and, of a run, ``after``: the same network if nothing was gained.
        predictions: By family of networks (see `FAMILY_OF`) and split, of which there is at least ``val``.
        clusters: Those of the validation split.
        look_at: Validation samples that need a picture whatever else is chosen.
        head_name: Module name of the head.
        transform: Normalisation.
        seed: Decides what is chosen at random.
        runtime: Where to compute.
    """

    data: Data
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    clusters: Sequence[ClusterAudit]
    look_at: Sequence[int]
    head_name: str
    transform: InputTransform
    seed: int
    runtime: Runtime

    def val_predictions(self, name: str) -> Tensor:
        """Return what a network, ``before`` or ``after``, says of the validation samples."""
        return self.predictions[FAMILY_OF[name]]["val"]


@dataclass(frozen=True)
class Shown:
    """Validation samples that can be looked at, each list a subset of the one before.

    Attributes:
        on_map: With a thumbnail and a place on the map.
        pictures: With a larger picture.
        attention: With a map of where the networks look.
        per_side: So many of each cluster's main class have pictures, those nearest to its centre, and of its others.
    """

    on_map: tuple[int, ...]
    pictures: tuple[int, ...]
    attention: tuple[int, ...]
    per_side: int


def write_samples(folder: RunFolder | None, exhibit: Exhibit) -> None:
    """Write the predictions for every sample, and what there is to see of some of the validation split.

    Group attributes go into the table, for those who look; nothing is chosen by them.

    Args:
        folder: Where the clusters were written before; ``None`` in all processes but the main one.
        exhibit: What there is to show; every process of a run has to call this.
    """
    data, runtime = exhibit.data, exhibit.runtime
    val_clusters = None if folder is None else _read_val_clusters(folder)
    shown = runtime.broadcast(None if val_clusters is None else choose_shown(val_clusters, exhibit))
    assert shown is not None, "the main process has a folder"
    split = data.val.subset(torch.tensor(shown.on_map))
    feed = Feed(split, exhibit.transform, runtime)
    represent = partial(extract_representations, data=feed, head_name=exhibit.head_name)
    original = exhibit.networks["before"]
    values = {"before": represent(original).values}
    if "after" in exhibit.networks:
        after = exhibit.networks["after"]
        values["after"] = values["before"] if after is original else represent(after).values
    if folder is None or val_clusters is None:
        return
    # What an audit left goes first: half of it and half of a run's would show one sample as another.
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
    folder.write_csv(TABLE, _make_table(exhibit, shown, val_clusters))
    folder.write_json(ABOUT, about)


def _read_val_clusters(folder: RunFolder) -> pd.DataFrame:
    """Return cluster and similarity of each validation sample; a run begun by an older prusc has no similarities."""
    table = pd.read_csv(folder.path / "clusters.csv", usecols=lambda name: name != "sample_id")
    table = table[table["split"] == "val"].sort_values("index").reset_index(drop=True)
    return table if "similarity" in table else table.assign(similarity=0.0)


def choose_shown(val_clusters: pd.DataFrame, exhibit: Exhibit) -> Shown:
    """Choose whom to show: of each cluster its typical samples and those of its other classes, then at random.

    Args:
        val_clusters: Columns ``label``, ``cluster_assign`` and ``similarity``, one row per validation sample.
        exhibit: Says which class is a cluster's main one and where the networks differ, and seeds the random part.

    Returns:
        Indices into the validation split.
    """
    main_class = {cluster.cluster: cluster.main_label for cluster in exhibit.clusters}
    num_left = MAX_PICTURES - len(exhibit.look_at)
    per_side = max(1, min(MAX_PICTURES_PER_CELL_SIDE, num_left // (2 * max(len(main_class), 1))))
    nearest = val_clusters.sort_values("similarity", ascending=False, kind="stable")
    typical, others = {}, {}
    for cluster in sorted(nearest["cluster_assign"].unique()):
        members = nearest[nearest["cluster_assign"] == cluster]
        is_main = members["label"] == main_class.get(int(cluster), -1)
        typical[cluster] = members.index[is_main][:per_side].tolist()
        others[cluster] = members.index[~is_main][:per_side].tolist()
    pictures = [*exhibit.look_at, *list(_in_turns([*others.values(), *typical.values()]))[:num_left]]
    # Of those that contradict their cluster first the ones on which something changed, or else those that are wrong.
    before = exhibit.val_predictions("before")
    other = exhibit.val_predictions("after") if "after" in exhibit.networks else exhibit.data.val.labels
    first = sorted(_in_turns(others.values()), key=lambda index: bool(before[index] == other[index]))
    attention = [*first[: 2 * MAX_ATTENTION_SAMPLES // 3], *_in_turns(typical.values())][:MAX_ATTENTION_SAMPLES]
    rest = np.random.default_rng(exhibit.seed).permutation(len(val_clusters)).tolist()
    on_map = list(dict.fromkeys([*attention, *pictures, *rest]))[:MAX_MAP_SAMPLES]
    num_pictures = len({*attention, *pictures})
    return Shown(tuple(on_map), tuple(on_map[:num_pictures]), tuple(attention), per_side)


def _in_turns(lists: Iterable[list[int]]) -> Iterable[int]:
    """Yield the first of each list, then the second of each, and so on."""
    return (item for turn in zip_longest(*lists) for item in turn if item is not None)


def find_components(
    values: Float[Tensor, "samples dim"],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the first principal components of the representations' directions, and their shares of the variance.

    Two make a map; the rest is what t-SNE starts from.

    Args:
        values: Representations, any scale.

    Returns:
        Coordinates [samples, components], at least two, and one share for each component.
    """
    unit = F.normalize(values.double(), dim=1).numpy()
    num_components = min(_NUM_COMPONENTS, *unit.shape)
    with np.errstate(invalid="ignore"):  # Where all samples are alike there is no variance to share.
        found = PCA(num_components, random_state=0).fit(unit)
    missing = max(0, 2 - num_components)
    coordinates = np.pad(found.transform(unit), ((0, 0), (0, missing)))
    return coordinates.astype(np.float32), np.pad(np.nan_to_num(found.explained_variance_ratio_), (0, missing))


def _write_pictures(
    folder: RunFolder, name: str, indices: tuple[int, ...], side: int, exhibit: Exhibit
) -> dict[str, object]:
    """Write sheets of pictures and return what a reader has to know of them."""
    inputs = exhibit.data.val.inputs
    if not are_pictures(inputs):
        return {"num_files": 0, "why_not": "the inputs of this data set are no images"}
    workers = exhibit.runtime.config.num_workers
    tiles = list(make_tiles(inputs, torch.tensor(indices), largest_side=side, num_workers=workers))
    num_files = 0
    for num_files, content in enumerate(write_sheets(tiles), start=1):
        folder.write_bytes(f"{FOLDER}/{name}-{num_files - 1:03d}{SUFFIX}", content)
    return {"num_files": num_files, "width": tiles[0].width, "height": tiles[0].height}


def _write_attention(folder: RunFolder, exhibit: Exhibit, indices: tuple[int, ...]) -> dict[str, Any]:
    """Write Grad-CAM of the class that each network predicts, and return why not where it is not possible."""
    if not are_pictures(exhibit.data.val.inputs):
        return {"why_not": "the inputs of this data set are no images"}
    try:
        feature_map = find_feature_map(exhibit.networks["before"], _load_images(exhibit, indices[:1])[0])
        if feature_map is None:
            return {"why_not": "this network has no convolution in the second half of its layers"}
        folder.write_tensors(ATTENTION, _look(exhibit, feature_map, indices))
        regions = _measure_regions(folder, exhibit, feature_map)
    except RuntimeError as error:
        # Nobody knows all networks; that one of them cannot be looked into must not cost the run.
        return {"why_not": f"this network does not let gradients reach its features: {str(error).splitlines()[0]}"}
    return {"why_not": None, "feature_map": feature_map, **regions}


def _load_images(exhibit: Exhibit, indices: Sequence[int]) -> tuple[Tensor, float]:
    """Return what the network is shown of some pictures, and the share of their side that it sees."""
    inputs = take_inputs(exhibit.data.val.inputs, torch.tensor(indices))
    assert isinstance(inputs, Tensor), "only pictures are looked at"
    runtime = exhibit.runtime
    images: Tensor = to_device(exhibit.transform(inputs), runtime.device, channels_last=runtime.config.channels_last)
    return images, images.shape[-1] / inputs.shape[-1]


def _look(exhibit: Exhibit, feature_map: str, indices: Sequence[int]) -> dict[str, Tensor]:
    """Return the maps of attention of each network, [samples, rows, columns]."""
    found: dict[str, list[Tensor]] = {name: [] for name in exhibit.networks}
    for start in range(0, len(indices), _ATTENTION_BATCH):
        part = list(indices[start : start + _ATTENTION_BATCH])
        images, share = _load_images(exhibit, part)
        for name, network in exhibit.networks.items():
            classes = exhibit.val_predictions(name)[part]
            maps = grad_cam(network, feature_map, images, classes).cpu()
            found[name].append(spread_over_image(maps, share))
    return {name: torch.cat(maps) for name, maps in found.items()}


def _measure_regions(folder: RunFolder, exhibit: Exhibit, feature_map: str) -> dict[str, Any]:
    """Write and return how much attention falls inside the regions of validation samples drawn at random."""
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
    maps = _look(exhibit, feature_map, with_any) if with_any else {}
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
    """Return the regions of those samples whose regions can be read."""
    inputs = take_inputs(split.inputs, torch.tensor(indices[:1]))
    assert split.regions is not None
    assert isinstance(inputs, Tensor), "only pictures are looked at"
    found: dict[int, Mapping[str, Tensor]] = {}
    for index in indices:
        try:
            regions = split.regions(index)
            is_good = all(m.dtype == torch.bool and m.shape == inputs.shape[2:] for m in regions.values())
        except Exception:  # noqa: BLE001 -- a file or anybody's function; the run does not depend on it
            continue
        if is_good:
            found[index] = regions
    return found


def _make_table(exhibit: Exhibit, shown: Shown, val_clusters: pd.DataFrame) -> pd.DataFrame:
    """Return one row per sample that was predicted; ``-1`` where a sample has no cluster or is not shown."""
    tables = []
    data = exhibit.data
    for name in exhibit.predictions[FAMILY_OF["before"]]:
        split = data.splits[name]
        columns: dict[str, object] = {
            "split": name,
            "index": range(len(split)),
            "sample_id": split.sample_ids,
            "label": split.labels.numpy(),
            "cluster": val_clusters["cluster_assign"] if name == "val" else -1,
            "similarity": val_clusters["similarity"] if name == "val" else 0.0,
        }
        if split.attributes is not None:
            for column, attribute in enumerate(data.attribute_names):
                values = np.array(data.attribute_values[column], dtype=object)
                columns[f"attribute/{attribute}"] = values[split.attributes[:, column].numpy()]
        columns |= {f"prediction/{family}": found[name].numpy() for family, found in exhibit.predictions.items()}
        columns |= _positions(shown if name == "val" else Shown((), (), (), 0), len(split))
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _positions(shown: Shown, num_samples: int) -> Mapping[str, NDArray[np.int64]]:
    """Return for each sample its position among those on the map, with a picture, with a map of attention."""
    columns = {}
    for name, indices in (("map", shown.on_map), ("picture", shown.pictures), ("attention", shown.attention)):
        columns[name] = np.full(num_samples, -1)
        columns[name][list(indices)] = np.arange(len(indices))
    return columns
