"""What a run keeps of single samples, so that a report can show them without the data and the networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from prusc.candidates import Setting
from prusc.choice import Choice
from prusc.contact_sheets import SUFFIX, are_pictures, make_tiles, write_sheets
from prusc.data.batches import take_inputs
from prusc.data.table import Data
from prusc.grad_cam import find_feature_map, grad_cam, spread_over_image
from prusc.models import to_device
from prusc.run_folder import RunFolder

FOLDER = "samples"
TABLE, ABOUT, MAP, ATTENTION = (
    f"{FOLDER}/{name}" for name in ("samples.csv", "about.json", "map.safetensors", "attention.safetensors")
)

# Points that a browser still draws smoothly.
MAX_MAP_SAMPLES = 5_000
# What a report of 12 MB holds beside the map's thumbnails.
MAX_PICTURES = 400
MAX_PICTURES_PER_CELL_SIDE = 12
MAX_ATTENTION_SAMPLES = 24

_THUMBNAIL_SIDE = 48
_PICTURE_SIDE = 112
_NUM_COMPONENTS = 50


@dataclass(frozen=True)
class Shown:
    """Validation samples that can be looked at, each list a subset of the one before.

    Attributes:
        on_map: With a thumbnail and a place on the map.
        pictures: With a larger picture.
        attention: With a map of where the networks look.
    """

    on_map: tuple[int, ...]
    pictures: tuple[int, ...]
    attention: tuple[int, ...]


def write_samples(folder: RunFolder | None, choice: Choice, setting: Setting) -> None:
    """Write the predictions for every validation and test sample, and what there is to see of some of them.

    Group attributes go into the table, for those who look; nothing is chosen by them.

    Args:
        folder: Where the clusters were written before; ``None`` in all processes but the main one.
        choice: The networks and their predictions.
        setting: The data and where to compute; every process of a run has to call this.
    """
    data, runtime = setting.data, setting.runtime
    val_clusters = None if folder is None else _read_val_clusters(folder)
    shown = runtime.broadcast(None if val_clusters is None else choose_shown(val_clusters, choice, setting))
    assert shown is not None, "the main process has a folder"
    split = data.val.subset(torch.tensor(shown.on_map))
    before, after = choice.networks["erm"], choice.networks["subnetwork"]
    values = {"before": setting.represent(before, split).values}
    values["after"] = setting.represent(after, split).values if choice.verdict == "improved" else values["before"]
    if folder is None or val_clusters is None:
        return
    components = {name: find_components(value) for name, value in values.items()}
    folder.write_tensors(MAP, {name: torch.from_numpy(found) for name, (found, _) in components.items()})
    about = {
        "split": "val",
        "explained_variance": {name: shares[:2].tolist() for name, (_, shares) in components.items()},
        "thumbnails": _write_pictures(folder, "thumbnails", data, shown.on_map, _THUMBNAIL_SIDE, setting),
        "pictures": _write_pictures(folder, "pictures", data, shown.pictures, _PICTURE_SIDE, setting),
        "attention": _write_attention(folder, choice, setting, shown.attention),
    }
    folder.write_csv(TABLE, _make_table(choice, data, shown, val_clusters))
    folder.write_json(ABOUT, about)


def _read_val_clusters(folder: RunFolder) -> pd.DataFrame:
    """Return cluster and similarity of each validation sample; a run begun by an older prusc has no similarities."""
    table = pd.read_csv(folder.path / "clusters.csv", usecols=lambda name: name != "sample_id")
    table = table[table["split"] == "val"].sort_values("index").reset_index(drop=True)
    return table if "similarity" in table else table.assign(similarity=0.0)


def choose_shown(val_clusters: pd.DataFrame, choice: Choice, setting: Setting) -> Shown:
    """Choose whom to show: of each cluster its typical samples and those of its other classes, then at random.

    Args:
        val_clusters: Columns ``label``, ``cluster_assign`` and ``similarity``, one row per validation sample.
        choice: Its cells say which class is a cluster's main one, and where the original does worst.
        setting: Seeds the random part.

    Returns:
        Indices into the validation split.
    """
    main_class: dict[int, int] = {}
    for cell in choice.cells:  # The largest of each cluster comes first.
        main_class.setdefault(cell.cluster, cell.label)
    per_side = max(1, min(MAX_PICTURES_PER_CELL_SIDE, MAX_PICTURES // (2 * max(len(main_class), 1))))
    nearest = val_clusters.sort_values("similarity", ascending=False, kind="stable")
    typical, others = {}, {}
    for cluster in sorted(nearest["cluster_assign"].unique()):
        members = nearest[nearest["cluster_assign"] == cluster]
        is_main = members["label"] == main_class.get(int(cluster), -1)
        typical[cluster] = members.index[is_main][:per_side].tolist()
        others[cluster] = members.index[~is_main][:per_side].tolist()
    pictures = list(_in_turns([*others.values(), *typical.values()]))[:MAX_PICTURES]
    # Of those that contradict their cluster first the ones on which something changed.
    before, after = (choice.predictions[name]["val"] for name in ("erm", "subnetwork"))
    first = sorted(_in_turns(others.values()), key=lambda index: bool(before[index] == after[index]))
    attention = [*first[: 2 * MAX_ATTENTION_SAMPLES // 3], *_in_turns(typical.values())][:MAX_ATTENTION_SAMPLES]
    rest = np.random.default_rng(setting.config.seed).permutation(len(val_clusters)).tolist()
    on_map = list(dict.fromkeys([*attention, *pictures, *rest]))[:MAX_MAP_SAMPLES]
    num_pictures = len({*attention, *pictures})
    return Shown(tuple(on_map), tuple(on_map[:num_pictures]), tuple(attention))


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
    folder: RunFolder, name: str, data: Data, indices: tuple[int, ...], side: int, setting: Setting
) -> dict[str, object]:
    """Write sheets of pictures and return what a reader has to know of them."""
    if not are_pictures(data.val.inputs):
        return {"num_files": 0, "why_not": "the inputs of this data set are no images"}
    workers = setting.runtime.config.num_workers
    tiles = list(make_tiles(data.val.inputs, torch.tensor(indices), largest_side=side, num_workers=workers))
    num_files = 0
    for num_files, content in enumerate(write_sheets(tiles), start=1):
        folder.write_bytes(f"{FOLDER}/{name}-{num_files - 1:03d}{SUFFIX}", content)
    return {"num_files": num_files, "width": tiles[0].width, "height": tiles[0].height}


def _write_attention(
    folder: RunFolder, choice: Choice, setting: Setting, indices: tuple[int, ...]
) -> dict[str, str | None]:
    """Write Grad-CAM of the class that each network predicts, and return why not where it is not possible."""
    before, after = choice.networks["erm"], choice.networks["subnetwork"]
    if not are_pictures(setting.data.val.inputs):
        return {"why_not": "the inputs of this data set are no images"}
    pictures = take_inputs(setting.data.val.inputs, torch.tensor(indices))
    assert isinstance(pictures, Tensor), "they can be shown"
    images = setting.transform(pictures)
    share = images.shape[-1] / pictures.shape[-1]
    images = to_device(images, setting.runtime.device, channels_last=setting.runtime.config.channels_last)
    try:
        feature_map = find_feature_map(before, images[:1])
        if feature_map is None:
            return {"why_not": "this network has no convolution in the second half of its layers"}
        maps = {
            name: spread_over_image(
                grad_cam(network, feature_map, images, choice.predictions[family]["val"][list(indices)]),
                share,
            )
            for name, family, network in (("before", "erm", before), ("after", "subnetwork", after))
        }
    except RuntimeError as error:
        # Nobody knows all networks; that one of them cannot be looked into must not cost the run.
        return {"why_not": f"this network does not let gradients reach its features: {str(error).splitlines()[0]}"}
    folder.write_tensors(ATTENTION, maps)
    return {"why_not": None, "feature_map": feature_map}


def _make_table(choice: Choice, data: Data, shown: Shown, val_clusters: pd.DataFrame) -> pd.DataFrame:
    """Return one row per validation and test sample; ``-1`` where a sample has no cluster or is not shown."""
    tables = []
    for name in ("val", "test"):
        split = data.splits[name]
        columns: dict[str, object] = {
            "split": name,
            "index": range(len(split)),
            "sample_id": split.sample_ids,
            "label": split.labels.numpy(),
            "cluster": val_clusters["cluster_assign"] if name == "val" else -1,
        }
        if split.attributes is not None:
            for column, attribute in enumerate(data.attribute_names):
                values = np.array(data.attribute_values[column], dtype=object)
                columns[f"attribute/{attribute}"] = values[split.attributes[:, column].numpy()]
        columns |= {f"prediction/{family}": found[name].numpy() for family, found in choice.predictions.items()}
        columns |= _positions(shown if name == "val" else Shown((), (), ()), len(split))
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _positions(shown: Shown, num_samples: int) -> Mapping[str, NDArray[np.int64]]:
    """Return for each sample its position among those on the map, with a picture, with a map of attention."""
    columns = {}
    for name, indices in (("map", shown.on_map), ("picture", shown.pictures), ("attention", shown.attention)):
        columns[name] = np.full(num_samples, -1)
        columns[name][list(indices)] = np.arange(len(indices))
    return columns
