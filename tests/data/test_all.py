"""The contract that every layout and every packaged data set keeps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor

from prusc.data import LAYOUT_NAMES, PACKAGED_NAMES, Data, check_data, load_data
from prusc.data.batches import take_inputs
from prusc.data.images import ImageFiles
from prusc.data.transforms import InputTransform
from tests.data.folders import write_class_folders, write_image, write_table, write_waterbirds
from tests.data.synthetic.files import write_cifar_files, write_idx_files

SIZE = 8


def write_celeba(root: Path) -> dict[str, Any]:
    names = [f"{number:06d}.jpg" for number in range(12)]
    for number, name in enumerate(names):
        write_image(root / "img_align_celeba" / name, number)
    rows = [f"{name} {2 * (number % 2) - 1} {2 * (number // 2 % 2) - 1}" for number, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text("12\nBlond_Hair Male\n" + "\n".join(rows))
    partitions = [f"{name} {number // 4}" for number, name in enumerate(names)]
    (root / "list_eval_partition.txt").write_text("\n".join(partitions))
    return {}


def write_cub(root: Path) -> dict[str, Any]:
    names = [f"{'001.Gull' if number % 2 else '002.Crow'}/{number}.png" for number in range(32)]
    for number, name in enumerate(names):
        write_image(root / "images" / name, number)
        write_image(root / "segmentations" / name, 34)
    (root / "images.txt").write_text("\n".join(f"{number} {name}" for number, name in enumerate(names)))
    (root / "train_test_split.txt").write_text("\n".join(f"{number} {int(number < 24)}" for number in range(32)))
    backgrounds = {}
    for kind in ("land", "water"):
        backgrounds[f"{kind}_backgrounds"] = root.parent / kind
        write_image(root.parent / kind / "photograph.png", 20)
    return backgrounds


def write_huggingface(root: Path) -> dict[str, Any]:
    paths = [str(write_image(root.parent / "originals" / f"{number}.png", number)) for number in range(20)]
    names = datasets.ClassLabel(names=["owl", "duck"])
    columns = {"image": paths, "label": [number % 2 for number in range(20)], "place": ["sea", "land"] * 10}
    features = datasets.Features({"image": datasets.Image(), "label": names, "place": datasets.Value("string")})
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(root)
    return {"attributes": ("place",)}


def write_aligned_folders(root: Path) -> dict[str, Any]:
    for part in ("1pct/align", "1pct/conflict", "valid", "test"):
        for number in range(4):
            write_image(root / part / f"{number}_{number % 2}_{number // 2}.png", number + 5 * len(part))
    return {}


def write_isic(root: Path) -> dict[str, Any]:
    rows = []
    for number in range(20):
        write_image(root / "images" / f"ISIC_{number}.jpg", number)
        kind = "malignant" if number % 2 else "benign"
        rows.append({"isic_id": f"ISIC_{number}", "benign_malignant": kind, "patches": number // 2 % 2})
    write_table(root / "metadata.csv", rows)
    return {}


def write_rows(root: Path) -> dict[str, Any]:
    rows = []
    for number in range(12):
        write_image(root / f"{number}.png", number)
        rows.append(
            {"file": f"{number}.png", "label": "ab"[number % 2], "split": ("train", "val", "test")[number // 4]}
        )
    write_table(root / "rows.csv", rows)
    return {}


def write_birds(root: Path) -> dict[str, Any]:
    write_waterbirds(root)
    return {}


def write_pets(root: Path) -> dict[str, Any]:
    write_class_folders(root, 10)
    return {}


FOLDERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "celeba": write_celeba,
    "cub": write_cub,
    "huggingface": write_huggingface,
    "aligned-folders": write_aligned_folders,
    "waterbirds": write_birds,
    "isic": write_isic,
    "table": write_rows,
    "imagefolder": write_pets,
}
# Options of each packaged data set; a text is a folder of `originals`.
PACKAGED: dict[str, dict[str, Any]] = {
    "fashion-stickers": {},
    "colored-mnist": {"source": "digits", "conflict_share": 0.1},
    "colored-mnist-irm": {"source": "digits"},
    "spuco-mnist": {"source": "digits", "strength": 0.9},
    "corrupted-cifar10": {"source": "photographs", "conflict_share": 0.1},
    "dominoes": {"source": "digits", "cifar_source": "photographs", "conflict_share": 0.1},
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    write_idx_files(root / "digits", num_train=600, num_test=200)
    write_cifar_files(root / "photographs")
    return root


def packaged_options(name: str, originals: Path) -> dict[str, Any]:
    return {key: originals / value if isinstance(value, str) else value for key, value in PACKAGED[name].items()}


def check_valid(data: Data) -> None:
    """What every stage relies on."""
    num_classes, num_attributes = len(data.class_names), len(data.attribute_names)
    assert len(set(data.class_names)) == num_classes >= 2
    assert len(set(data.attribute_names)) == len(data.attribute_values) == num_attributes
    assert all(len(set(values)) == len(values) >= 1 for values in data.attribute_values)
    sizes = {tuple(take_inputs(split.inputs, torch.arange(2)).shape[1:]) for split in data.splits.values()}
    assert len(sizes) == 1
    for split in data.splits.values():
        inputs = take_inputs(split.inputs, torch.arange(len(split)))
        assert isinstance(inputs, Tensor)
        assert (inputs.dtype, inputs.ndim, inputs.shape[:2]) == (torch.uint8, 4, (len(split), 3))
        # Images can be told apart, so that a decoder that repeats one would be noticed.
        assert len(inputs.flatten(1).unique(dim=0)) > len(split) // 2
        assert (split.labels.dtype, split.labels.shape) == (torch.int64, (len(split),))
        assert set(split.labels.tolist()) == set(range(num_classes))
        assert len(set(split.sample_ids)) == len(split.sample_ids) == len(split)
        assert all(isinstance(name, str) and name for name in split.sample_ids)
        assert (split.attributes is None) == (num_attributes == 0)
        for position, values in enumerate(data.attribute_values):
            assert split.attributes is not None
            column = split.attributes[:, position]
            assert column.dtype == torch.int64
            assert 0 <= int(column.min()) <= int(column.max()) < len(values)
        if split.regions is not None:
            for region in split.regions(0).values():
                assert (region.dtype, region.shape) == (torch.bool, inputs.shape[2:])
    assert torch.isfinite(InputTransform(data.mean, data.std)(inputs)).all()
    assert json.loads(json.dumps(data.origin)) == data.origin
    assert data.skipped == ()


def check_equal(first: Data, second: Data) -> None:
    for one, other in zip(first.splits.values(), second.splits.values(), strict=True):
        everything = torch.arange(len(one))
        assert torch.equal(take_inputs(one.inputs, everything), take_inputs(other.inputs, everything))
        assert torch.equal(one.labels, other.labels)
        assert one.sample_ids == other.sample_ids
        assert (one.attributes is None) == (other.attributes is None)
        assert one.attributes is None or torch.equal(one.attributes, other.attributes)
    assert first.origin == second.origin


def global_random_state() -> list[object]:
    """The state of torch and numpy; the type checks that run in tests draw from Python's own."""
    legacy = np.random.get_state()  # noqa: NPY002 -- it is global, so it must stay as it was
    return [torch.get_rng_state().tolist(), legacy[1].tolist(), legacy[2]]


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_registered_name_is_tested() -> None:
    assert tuple(FOLDERS) == LAYOUT_NAMES
    assert tuple(PACKAGED) == PACKAGED_NAMES


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_a_layout_is_recognised_and_gives_valid_data(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    options = FOLDERS[layout](root)
    before, random_state = contents(tmp_path), global_random_state()
    said: list[str] = []
    data = load_data(str(root), default_image_size=SIZE, log=said.append, **options)
    check_valid(data)
    assert data.origin["layout"] == layout
    assert data.train.inputs.shape[1:] == (3, SIZE, SIZE)
    assert said[0].startswith(f"data: layout {layout} (recognised), {sum(map(len, data.splits.values()))} images")
    assert contents(tmp_path) == before
    assert global_random_state() == random_state


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_a_layout_gives_the_same_data_from_files_and_by_its_name(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    options = FOLDERS[layout](root)
    settings: dict[str, Any] = {"default_image_size": SIZE, "default_seed": 3, **options}
    data = load_data(str(root), **settings)
    in_files = load_data(str(root), memory_limit_bytes=0, **settings)
    assert all(isinstance(split.inputs, ImageFiles) for split in in_files.splits.values())
    check_equal(data, in_files)
    check_equal(data, load_data(str(root), layout=layout, **settings))


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
def test_a_check_counts_what_is_loaded(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    options = FOLDERS[layout](root)
    data = load_data(str(root), default_image_size=SIZE, **options)
    report = check_data(str(root), default_image_size=SIZE, **options)
    assert [problem.message for problem in report.problems if problem.kind != "shared"] == []
    assert report.layout == layout
    assert report.num_by_split == {name: len(split) for name, split in data.splits.items()}
    for name, split in data.splits.items():
        counts = torch.bincount(split.labels, minlength=data.num_classes).tolist()
        assert report.num_by_class[name] == dict(zip(data.class_names, counts, strict=True))


@pytest.mark.parametrize("name", PACKAGED_NAMES)
def test_a_packaged_data_set_is_valid_and_its_seed_decides(name: str, originals: Path) -> None:
    options = packaged_options(name, originals)
    random_state = global_random_state()
    data = load_data(name, default_seed=1, **options)
    check_valid(data)
    assert len(data.attribute_names) == 1
    check_equal(data, load_data(name, data_seed=1, **options))
    other = load_data(name, data_seed=2, **options)
    assert other.train.sample_ids != data.train.sample_ids
    assert global_random_state() == random_state


@pytest.mark.parametrize("name", PACKAGED_NAMES)
def test_no_image_of_a_packaged_data_set_is_in_two_splits(name: str, originals: Path) -> None:
    data = load_data(name, **packaged_options(name, originals))
    ids = [set(split.sample_ids) for split in data.splits.values()]
    assert not ids[0] & ids[1]
    assert not ids[2] & (ids[0] | ids[1])
