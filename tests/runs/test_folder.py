"""The files of a run: whole or not at all, and never somebody else's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from prusc import RunConfig
from prusc.config import MaskConfig
from prusc.errors import ConfigError, RunFolderError
from prusc.runs.folder import RunFolder, write_file

CONFIG = RunConfig(seed=3)


def opened(path: Path, config: RunConfig = CONFIG, *, force: bool = False) -> RunFolder:
    folder = RunFolder(path)
    folder.open(config, force=force)
    return folder


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# ----------------------------------------------------------------------------------------------------------- opening


def test_a_new_folder_holds_the_settings_and_can_be_opened_again(tmp_path: Path) -> None:
    folder = opened(tmp_path / "deep" / "run")
    assert folder.read_config() == CONFIG
    assert list(contents(folder.path)) == ["config.toml"]
    folder.append_log("a line")
    opened(folder.path)
    assert (folder.path / "log.txt").read_text() == "a line\n"


def test_an_empty_folder_may_be_taken_and_one_with_other_files_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    opened(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for force in (False, True):
        with pytest.raises(RunFolderError, match=r"full holds files but no config\.toml, so it is no run folder"):
            opened(tmp_path / "full", force=force)
    assert contents(tmp_path / "full") == {"notes": b"mine"}
    with pytest.raises(RunFolderError, match=r"run folder .*notes is a file; name another folder with --out"):
        opened(tmp_path / "full" / "notes")


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    other = replace(CONFIG, seed=4, masks=MaskConfig(steps=7), trained=Path("net.pt"))
    # Only what the trained network depends on is refused when a folder is opened.
    with pytest.raises(RunFolderError, match=r"other settings \(seed was 3, is 4; trained was None, is 'net\.pt'\)"):
        opened(folder.path, other)
    assert folder.read_config() == CONFIG
    expected = r"other settings \(masks\.steps was None, is 7; seed was 3, is 4; trained was None, is 'net\.pt'\)"
    with pytest.raises(RunFolderError, match=expected):
        folder.check_settings(other)
    many = replace(
        CONFIG, masks=MaskConfig(steps=1, batch_size=2, beta=0.5, sparsity=0.5, snapshots=1, initial_logit=1.0)
    )
    with pytest.raises(RunFolderError) as caught:
        folder.check_settings(many)
    assert str(caught.value).count(" was ") == 5, "no more than five are named"


def test_settings_that_cannot_be_read_are_not_overwritten(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    (folder.path / "config.toml").write_text("seed = [")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        opened(folder.path)
    assert (folder.path / "config.toml").read_text() == "seed = ["


def test_a_name_that_is_no_text_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"the settings hold a name that is no text"):
        opened(tmp_path / "run", replace(CONFIG, trained=Path("net\udcff.pt")))
    assert not (tmp_path / "run").exists()


def test_force_throws_away_the_run_and_nothing_else(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    for name in ("metrics.json", "stages/masks.json", "samples/about.json"):
        folder.write_json(name, {})
    for name in ("clusters.csv", "history.csv", "candidates.csv", "debiasing_set.csv", "skipped.csv", "look_at.csv"):
        folder.write_csv(name, pd.DataFrame({"a": [1]}))
    for name in ("erm.safetensors", "model.safetensors", "checkpoints/epoch-001.safetensors"):
        folder.write_tensors(name, {"a": torch.ones(1)})
    for name in ("report.html", "model-card.md", "figures/a.png"):
        folder.write_bytes(name, b"x")
    folder.write_json("audit.json", {})
    folder.append_log("a line")
    (folder.path / "notes.txt").write_text("mine")
    assert folder.is_finished
    opened(folder.path, replace(CONFIG, seed=9), force=True)
    assert sorted(contents(folder.path)) == ["config.toml", "notes.txt"]
    assert folder.read_config().seed == 9
    assert not folder.is_finished


# ------------------------------------------------------------------------------------------------- writing and reading


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    assert not folder.has("stages/a.json")
    folder.write_json("stages/a.json", {"a": [1, None, "ü"], "b": 0.5})
    assert folder.has("stages/a.json")
    assert not folder.has("stages"), "a folder is no file"
    assert folder.read_json("stages/a.json") == {"a": [1, None, "ü"], "b": 0.5}
    folder.write_csv("a.csv", pd.DataFrame({"a": ["1", "", "NA", "x,y"], "b": [1, 2, 3, 4]}))
    # As text: an empty cell stays empty and NA is a name.
    assert folder.read_csv("a.csv").to_dict("list") == {"a": ["1", "", "NA", "x,y"], "b": ["1", "2", "3", "4"]}
    folder.write_bytes("a.bin", b"\x00\xff")
    assert (folder.path / "a.bin").read_bytes() == b"\x00\xff"
    tied = torch.arange(6.0).view(2, 3)
    tensors = {"first": tied, "tied": tied, "turned": tied.T, "flag": torch.tensor([True, False])}
    folder.write_tensors("a.safetensors", tensors)
    found = folder.read_tensors("a.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(value, found[key]) for key, value in tensors.items())
    folder.close()
    assert not (folder.path / "stages").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), np.nan])
def test_a_number_that_is_not_finite_is_no_json(tmp_path: Path, number: float) -> None:
    folder = opened(tmp_path / "run")
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("a.json", {"a": number})
    assert sorted(contents(folder.path)) == ["config.toml"]


def test_a_writing_that_fails_leaves_the_file_of_before_and_no_half_one(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    folder.write_json("a.json", 1)

    def write_half(path: Path) -> Any:
        path.write_text("[1, ")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        RunFolderError, match=r"run cannot be written: No space left on device; free some space, or name"
    ):
        folder._write("a.json", write_half)
    assert folder.read_json("a.json") == 1
    assert sorted(contents(folder.path)) == ["a.json", "config.toml"]


def test_files_are_readable_for_others(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    folder.write_json("a.json", 1)
    assert (folder.path / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_file_outside_of_a_run_folder_is_whole_or_its_place_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "deep" / "page.html", b"<p>")
    assert contents(tmp_path) == {"deep/page.html": b"<p>"}
    with pytest.raises(
        RunFolderError, match=r"page\.html/x\.html cannot be written: .*choose a place that you may write"
    ):
        write_file(tmp_path / "deep" / "page.html" / "x.html", b"<p>")


# ------------------------------------------------------------------------------------------------------ from another


def test_files_of_another_run_are_taken_over_and_those_that_are_there_stay(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second")
    first.write_json("stages/deep/a.json", "theirs")
    first.write_json("stages/b.json", "theirs")
    first.write_bytes("stages/.half", b"x")
    first.write_json("c.json", "theirs")
    second.write_json("stages/b.json", "mine")
    for name in ("stages", "c.json", "not-there"):
        second.take_over(first, name)
    assert {name: json.loads(text) for name, text in contents(second.path).items() if name.endswith("json")} == {
        "stages/deep/a.json": "theirs",
        "stages/b.json": "mine",
        "c.json": "theirs",
    }
    assert not (second.path / "stages" / ".half").exists()
    # One copy on the disk; a file that is written again is another one.
    assert (first.path / "c.json").samefile(second.path / "c.json")
    second.write_json("c.json", "mine")
    assert first.read_json("c.json") == "theirs"


def test_where_files_cannot_be_shared_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first, second = opened(tmp_path / "first"), opened(tmp_path / "second")
    first.write_json("a.json", 1)
    second.take_over(first, "a.json")
    assert second.read_json("a.json") == 1
    assert not (first.path / "a.json").samefile(second.path / "a.json")


def test_a_folder_inside_is_removed_if_it_is_there(tmp_path: Path) -> None:
    folder = opened(tmp_path / "run")
    folder.write_json("samples/a.json", 1)
    folder.remove_folder("samples")
    folder.remove_folder("samples")
    assert sorted(contents(folder.path)) == ["config.toml"]
