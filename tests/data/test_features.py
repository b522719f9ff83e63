"""Features from arrays and files, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from prusc.data.features import Features, read_features
from prusc.data.rows import StoredRows
from prusc.errors import PruscError

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(40, 5)).astype(np.float32)
LABELS = np.arange(40) % 2
SPLIT = np.array(["train"] * 20 + ["Validation"] * 10 + ["test"] * 10)
LOGITS = RNG.normal(size=(40, 2)).astype(np.float32)


def columns(**changes: Any) -> dict[str, Any]:
    found = {"representations": VALUES, "labels": LABELS, "logits": LOGITS, "split": SPLIT} | changes
    return {name: value for name, value in found.items() if value is not None}


def test_a_file_of_either_kind_gives_the_same_features(tmp_path: Path) -> None:
    more = {"ids": np.array([f"s{index}" for index in range(40)]), "attribute/place": LABELS[::-1].copy()}
    np.savez(tmp_path / "f.npz", **columns(**more))
    table = {name: list(value) for name, value in columns(**more).items()}
    pd.DataFrame(table).to_parquet(tmp_path / "f.parquet")
    for name in ("f.npz", "f.parquet"):
        found = read_features(tmp_path / name)
        assert [len(split) for split in found.data.splits.values()] == [20, 10, 10]
        assert torch.equal(found.data.val.inputs, torch.from_numpy(VALUES[20:30]))  # type: ignore[arg-type]
        assert torch.equal(found.logits["test"], torch.from_numpy(LOGITS[30:]))
        assert found.data.val.sample_ids[0] == "s20"
        assert found.data.val.labels.tolist() == LABELS[20:30].tolist()
        assert found.data.attribute_names == ("place",)
        assert found.data.val.attributes is not None
        assert found.data.val.attributes[:, 0].tolist() == LABELS[::-1][20:30].tolist()
        assert found.has_logits
        assert "f" in repr(found)


def test_predictions_stand_in_for_logits() -> None:
    found = Features.from_arrays(VALUES, ["cat", "dog"] * 20, predictions=["dog", "dog"] * 20, split=SPLIT)
    assert not found.has_logits
    assert found.logits["val"].tolist() == [[0.0, 1.0]] * 10
    with pytest.raises(PruscError, match="the prediction 'cow' is no class of the labels; they have cat, dog"):
        Features.from_arrays(VALUES, ["cat", "dog"] * 20, predictions=["cow", "dog"] * 20)


def test_rows_stay_together_where_splits_are_made() -> None:
    marked = np.arange(40.0)[:, None] + np.zeros((1, 5))
    found = Features.from_arrays(marked, LABELS, logits=np.arange(40.0)[:, None] + np.zeros((1, 2)))
    for name, split in found.data.splits.items():
        rows = [int(sample_id) for sample_id in split.sample_ids]
        assert split.inputs[:, 0].tolist() == rows  # type: ignore[index]
        assert found.logits[name][:, 0].tolist() == rows
        assert split.labels.tolist() == [row % 2 for row in rows]
    assert found.data.origin["made_splits"] == ["val", "test"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": None}, "found neither of logits and predictions"),
        ({"predictions": LABELS}, "found both of logits and predictions"),
        ({"labels": None}, "has no labels; it has representations, logits, split"),
        ({"representations": None}, "has no representations"),
        ({"labels": LABELS[:39]}, "'labels': 39"),
        ({"representations": np.where(VALUES > 3, np.nan, VALUES) * np.inf}, "not finite, the first is row 0"),
        ({"representations": VALUES[:, 0]}, r"the representations have the shape \[40\]"),
        ({"logits": LOGITS[:, [0, 1, 1, 1]][:, :1]}, "logits have 1 columns, and a label is 1"),
        ({"split": np.array(["trian"] * 40)}, "split 'trian' is unknown"),
        ({"split": np.array(["val"] * 40)}, "split names no training samples"),
        ({"ids": np.array(["a"] * 40)}, "the id 'a' occurs more than once"),
        ({"place": LABELS}, "has 'place'.*call an attribute attribute/place"),
        ({"label": LABELS}, "has labels under two names"),
        ({"labels": LABELS + 0.5}, "value 0.5 at index 0 is no class"),
        ({"labels": np.array([object()] * 40)}, "cannot be read .*without Python objects"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "f.npz", **columns(**changes))
    with pytest.raises(PruscError, match=message):
        read_features(tmp_path / "f.npz")


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PruscError, match="does not exist"):
        read_features(tmp_path / "f.npz")
    for name, message in (("f.csv", "ends in '.csv'; expected .npz or .parquet"), ("f.npz", "cannot be read")):
        (tmp_path / name).write_text("a,b")
        with pytest.raises(PruscError, match=message):
            read_features(tmp_path / name)


def write_folder(folder: Path, **changes: Any) -> Path:
    for name, column in columns(**changes).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", column)
    return folder


def test_a_folder_of_arrays_is_as_a_file_and_stays_on_disk_above_the_limit(tmp_path: Path) -> None:
    more = {"attribute/place": LABELS[::-1].copy(), "class_names": np.array(["cat", "dog"])}
    np.savez(tmp_path / "f.npz", **columns(**more))
    folder = write_folder(tmp_path / "f", **more)
    expected = read_features(tmp_path / "f.npz")
    for path in (folder, folder / "representations.npy"):
        for limit in (2.0, 0.0):
            found = read_features(path, memory_limit_gib=limit)
            assert found.data.class_names == ("cat", "dog")
            for name, split in found.data.splits.items():
                assert isinstance(split.inputs, StoredRows) is (limit == 0)
                assert torch.equal(split.inputs[:], expected.data.splits[name].inputs)  # type: ignore[index, arg-type]
                assert torch.equal(split.labels, expected.data.splits[name].labels)
                assert list(split.sample_ids) == list(expected.data.splits[name].sample_ids)
                assert torch.equal(split.attributes, expected.data.splits[name].attributes)  # type: ignore[arg-type]
                assert torch.equal(found.logits[name], expected.logits[name])


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PruscError, match=r"holds no \.npy file"):
        read_features(tmp_path / "empty")
    folder = write_folder(tmp_path / "f", labels=np.array([object()] * 40))
    with pytest.raises(PruscError, match=r"labels.npy cannot be read .*without Python objects"):
        read_features(folder)
    bad = np.where(np.arange(40)[:, None] == 7, np.nan, VALUES)
    with pytest.raises(PruscError, match="representations of 1 samples are not finite, the first is row 7"):
        read_features(write_folder(tmp_path / "g", representations=bad), memory_limit_gib=0)


def test_splits_of_numbers_and_of_any_case_are_read() -> None:
    for split in (np.arange(40) % 3, ["TRAIN", "Val", "test", "te", "dev"] * 8):
        found = Features.from_arrays(VALUES, LABELS, predictions=LABELS, split=split)
        assert len(found.data.train) == sum(str(word).lower() in ("0", "train") for word in split)
    with pytest.raises(PruscError, match="the prediction 2 is no class of the labels"):
        Features.from_arrays(VALUES, LABELS, predictions=LABELS + 1)
