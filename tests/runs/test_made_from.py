"""A run folder is never continued with other data than it was begun with."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prusc import RunConfig
from prusc.config import ClusteringConfig
from prusc.data import Data, load_data
from prusc.data.table import Split
from prusc.errors import RunFolderError
from prusc.runs.artifacts import ERM_WEIGHTS
from prusc.runs.folder import RunFolder
from prusc.runs.made_from import check_made_from
from tests.data.folders import write_class_folders, write_image
from tests.networks import striped_data


def begun(folder: Path, data: Data, config: RunConfig | None = None) -> RunFolder:
    run = RunFolder(folder)
    check_made_from(run, data, config or RunConfig())
    run.write_tensors(ERM_WEIGHTS, {"w": torch.zeros(1)})
    return run


def changed(data: Data, name: str = "train", **changes: Any) -> Data:
    split = data.splits[name]
    parts = {"inputs": split.inputs, "labels": split.labels, "sample_ids": split.sample_ids} | changes
    return replace(data, **{name: Split(parts["inputs"], parts["labels"], split.attributes, parts["sample_ids"])})


def one_pixel(data: Data) -> Data:
    images = data.test.inputs.clone()  # type: ignore[union-attr]
    images[-1, -1, -1, -1] += 1
    return changed(data, "test", inputs=images)


CHANGES: dict[str, tuple[Callable[[Data], Data], str]] = {
    "labels": (lambda data: changed(data, labels=data.train.labels.flip(0)), "the labels of train changed"),
    "names": (
        lambda data: changed(data, "val", sample_ids=[f"x{n}" for n in range(12)]),
        "the names or the order of val",
    ),
    "rows": (lambda data: replace(data, test=data.test.subset(range(11))), "test had 12 samples, has 11"),
    "splits": (lambda data: replace(data, val=data.test, test=data.val), "of val changed"),
    "classes": (lambda data: replace(data, class_names=("a", "c", "b")), "the classes were a, b, c, are a, c, b"),
    "pixels": (one_pixel, "the inputs of test changed"),
    "normalisation": (lambda data: replace(data, mean=(0.4, 0.5, 0.5)), r"the normalisation was \[\[0.5"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_data_are_refused(name: str, tmp_path: Path) -> None:
    change, message = CHANGES[name]
    folder, data = begun(tmp_path, striped_data(12)), striped_data(12)
    check_made_from(folder, data, RunConfig())
    with pytest.raises(RunFolderError, match=rf"holds a run on other data \(.*{message}.*--force"):
        check_made_from(folder, change(data), RunConfig())


def test_group_labels_may_be_added_or_corrected(tmp_path: Path) -> None:
    """No stage before the evaluation reads them."""
    data = striped_data(12)
    folder = begun(tmp_path, data)
    val = Split(data.val.inputs, data.val.labels, None, data.val.sample_ids)
    check_made_from(folder, replace(data, val=val), RunConfig())


def test_before_the_first_stage_the_run_begins_anew(tmp_path: Path) -> None:
    data = striped_data(12)
    check_made_from(RunFolder(tmp_path), data, RunConfig())
    check_made_from(RunFolder(tmp_path), one_pixel(data), RunConfig())
    folder = begun(tmp_path, one_pixel(data))
    with pytest.raises(RunFolderError, match="the inputs of test changed"):
        check_made_from(folder, data, RunConfig())


def test_a_folder_of_an_older_prusc_is_believed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_tensors(ERM_WEIGHTS, {"w": torch.zeros(1)})
    check_made_from(folder, striped_data(12), RunConfig())


def test_files_are_known_by_place_and_told_of_when_they_are_written_anew(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        write_class_folders(tmp_path / "pets" / split, 3, first=10 * number)
    load = lambda: load_data(str(tmp_path / "pets"), image_size=8, memory_limit_bytes=0)  # noqa: E731
    folder = begun(tmp_path / "run", load())
    assert check_made_from(folder, load(), RunConfig()) == []
    path = write_image(tmp_path / "pets" / "val" / "cat" / "1.png", 7)
    os.utime(path, (1, 1))
    (told,) = check_made_from(folder, load(), RunConfig())
    assert told.startswith("image files of val were written anew since this run was begun; ")
    (tmp_path / "pets").rename(tmp_path / "moved")
    moved = load_data(str(tmp_path / "moved"), image_size=8, memory_limit_bytes=0)
    with pytest.raises(RunFolderError, match=r"the inputs of train changed"):
        check_made_from(folder, moved, RunConfig())


def test_files_that_the_settings_name_are_known_by_content(tmp_path: Path) -> None:
    clusters, weights = tmp_path / "clusters.csv", tmp_path / "w.pt"
    clusters.write_text("1")
    weights.write_text("2")
    data = striped_data(12)
    config = replace(RunConfig(), weights=weights, clustering=ClusteringConfig(from_csv=clusters))
    folder = begun(tmp_path / "run", data, config)
    check_made_from(folder, data, config)
    clusters.write_text("3")
    with pytest.raises(RunFolderError, match=r"the file of clustering.from_csv changed\)"):
        check_made_from(folder, data, config)
    clusters.write_text("1")
    weights.write_text("4")
    with pytest.raises(RunFolderError, match=r"the file of weights changed\)"):
        check_made_from(folder, data, config)
