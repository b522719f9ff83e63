from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from prusc.data import load_data, load_huggingface
from prusc.data.huggingface import list_dataset, open_dataset
from prusc.data.images import ImageFiles, decode_image
from prusc.data.listing import Problems
from prusc.errors import ConfigError, DataError
from tests.data.folders import write_image


def make_rows(folder: Path, num_rows: int = 10, start: int = 0) -> Any:
    paths = [str(write_image(folder / f"{number}.png", number)) for number in range(start, start + num_rows)]
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "picture": datasets.Image(),
            "label": datasets.ClassLabel(names=["owl", "duck"]),
            "place": datasets.Value("string"),
        }
    )
    columns = {
        "id": [Path(path).stem for path in paths],
        "picture": paths,
        "label": [number % 2 for number in range(num_rows)],
        "place": [("sea", "land", None)[number % 3] for number in range(num_rows)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture
def splits(tmp_path: Path) -> Any:
    rows = {name: make_rows(tmp_path / name, 6, start) for start, name in enumerate(("train", "validation", "test"))}
    return datasets.DatasetDict(rows)


def test_an_object_with_splits_is_loaded(splits: Any, tmp_path: Path) -> None:
    data = load_huggingface(splits, attributes=("place",), image_size=8)
    assert data.class_names == ("owl", "duck")
    assert data.attribute_values == (("land", "sea", "unknown"),)
    assert data.val.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.test.attributes[:, 0].tolist() == [1, 0, 2, 1, 0, 2]
    assert torch.equal(data.val.inputs[3], decode_image(tmp_path / "validation" / "4.png", 8))
    in_files = load_huggingface(splits, image_size=8, memory_limit_bytes=0)
    assert isinstance(in_files.val.inputs, ImageFiles)
    assert torch.equal(in_files.val.inputs[3], data.val.inputs[3])


def test_an_object_without_splits_gets_some(tmp_path: Path) -> None:
    data = load_huggingface(make_rows(tmp_path, 20), image_size=8, seed=1)
    assert [len(split) for split in data.splits.values()] == [12, 4, 4]
    assert sorted(torch.cat([split.labels for split in data.splits.values()]).tolist()) == [0] * 10 + [1] * 10


def test_a_folder_of_save_to_disk_is_recognised_and_needs_no_other_file(splits: Any, tmp_path: Path) -> None:
    expected = load_huggingface(splits, image_size=8)
    splits.save_to_disk(tmp_path / "saved")
    for name in splits:
        for path in (tmp_path / name).iterdir():
            path.unlink()
    said: list[str] = []
    data = load_data(str(tmp_path / "saved"), attributes=("place",), image_size=8, log=said.append)
    assert torch.equal(data.train.inputs, expected.train.inputs)
    assert said[0].startswith("data: layout huggingface (recognised), 18 images, classes owl, duck, attributes place")


def test_bad_rows_and_images_are_named(tmp_path: Path) -> None:
    rows = make_rows(tmp_path)
    labels = [0, 1, None, 1, 0, 1, 0, 1, 0, 1]
    broken = rows.remove_columns("label").add_column("label", labels)
    with pytest.raises(DataError, match="huggingface, row 2: column 'label' has no value"):
        list_dataset(broken, Problems())
    problems = Problems(collect=True)
    assert len(list_dataset(broken, problems)) == 9
    assert [problem.kind for problem in problems.found] == ["label"]
    (tmp_path / "4.png").write_text("hello")
    with pytest.raises(DataError, match=r"4\.png is not an image"):
        load_huggingface(rows, image_size=8)
    data = load_huggingface(rows, image_size=8, skip_bad=True)
    assert [(skipped.sample_id, skipped.problem.split(" is ")[-1][:8]) for skipped in data.skipped] == [
        ("row 4", "not an i")
    ]
    undone = rows.cast_column("picture", datasets.Image(decode=False)).map(
        lambda row, index: {"picture": None} if index == 1 else {}, with_indices=True
    )
    with pytest.raises(DataError, match="row 1 has no image"):
        load_huggingface(undone.cast_column("picture", datasets.Image()), image_size=8)


def test_columns_and_splits_that_are_not_there_are_named(splits: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column 'lable' \(target\); did you mean label"):
        list_dataset(splits, Problems(), target="lable")
    with pytest.raises(ConfigError, match="no usual column of images; they have id, label, place"):
        list_dataset(splits.remove_columns("picture"), Problems())
    with pytest.raises(DataError, match="split 'extra' is unknown; expected one of 0, train"):
        list_dataset(datasets.DatasetDict({"train": splits["train"], "extra": splits["test"]}), Problems())
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="cannot be opened"):
        open_dataset(str(tmp_path / "saved"))


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install prusc\[hf\]"):
        open_dataset("hf:somebody/something")


def test_each_split_has_class_names_of_its_own(tmp_path: Path) -> None:
    def make(names: list[str], labels: list[int], start: int) -> Any:
        paths = [str(write_image(tmp_path / f"{start + n}.png", start + n)) for n in range(len(labels))]
        known = datasets.ClassLabel(names=names)
        features = datasets.Features({"image": datasets.Image(), "label": known, "place": known})
        return datasets.Dataset.from_dict({"image": paths, "label": labels, "place": labels}, features=features)

    parts = {
        "train": make(["ant", "bee", "zebra"], [0, 1, 2, 0, 1, 2], 0),
        "val": make(["zebra", "bee", "ant"], [0, 1, 2], 10),
        "test": make(["ant", "zebra"], [1, 1, 0], 20),
    }
    options: dict[str, Any] = {"target": "label", "attributes": ("place",), "image_size": 4}
    data = load_huggingface(datasets.DatasetDict(parts), **options)
    assert data.class_names == ("ant", "bee", "zebra")
    assert data.val.labels.tolist() == [2, 1, 0]
    assert data.test.labels.tolist() == [2, 2, 0]
    assert data.test.attributes[:, 0].tolist() == [2, 2, 0]
    # A class of one split only has no training images.
    parts["test"] = make(["ant", "wasp"], [1, 1, 0], 20)
    with pytest.raises(DataError, match="class 'wasp' has no usable training image, yet images of test"):
        load_huggingface(datasets.DatasetDict(parts), **options)
    parts["test"] = parts["val"].remove_columns("place")
    with pytest.raises(DataError, match="split test: column 'place' is missing"):
        load_huggingface(datasets.DatasetDict(parts), **options)
    # datasets writes -1 where a class is not known.
    parts["test"] = make(["ant", "zebra"], [1, 0, -1], 20)
    with pytest.raises(DataError, match="row 2: column 'label' has no value"):
        load_huggingface(datasets.DatasetDict(parts), **options)
    unknown = parts["test"].remove_columns("label").add_column("label", ["ant", "zebra", "ant"])
    parts["test"] = unknown.cast_column("place", parts["test"].features["place"])
    data = load_huggingface(datasets.DatasetDict(parts), **options)
    assert data.attribute_values == (("ant", "bee", "zebra", "unknown"),)
    assert data.test.attributes[:, 0].tolist() == [2, 0, 3]
