"""Stages that are made once and read later, and runs that are killed after each of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from prusc import RunConfig
from prusc.config import ClusteringConfig, DebiasingSetConfig, MaskConfig, PseudoAttributeConfig, TwinsConfig
from prusc.engine.runtime import Runtime
from prusc.models.build import SmallCNN
from prusc.runs.debias import debias  # without its report, which decides nothing
from prusc.runs.folder import RunFolder
from prusc.runs.resume import Stages
from tests.networks import Listener, striped_data
from tests.run_folders import TINY


class KilledError(Exception):
    """What ends a run in the midst of its work."""


def open_folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open(RunConfig(), force=False)
    return folder


def stages_of(folder: RunFolder | None, progress: Listener | None = None) -> Stages:
    return Stages(folder, Runtime(TINY.runtime), progress or Listener())


def read_number(folder: RunFolder) -> int | None:
    return folder.read_json("stages/number.json") if folder.has("stages/number.json") else None


def write_number(folder: RunFolder, number: int) -> None:
    folder.write_json("stages/number.json", number)


def refuse() -> int:
    raise AssertionError("this stage was finished before")


# -------------------------------------------------------------------------------------------------------- one stage


def test_a_stage_is_made_once_and_read_later(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    stages = stages_of(folder)
    assert stages.stage("number", lambda: 7, read_number, write_number) == 7
    assert stages.stage("number", refuse, read_number, write_number) == 7
    # Another process finds it, and the time that it took.
    later = stages_of(folder)
    assert later.stage("number", refuse, read_number, write_number) == 7
    assert later.seconds == stages.seconds
    assert list(later.seconds) == ["number"]
    assert later.circumstances == {"num_processes": 1, "peak_memory_mib": stages.peak_memory_mib}


@pytest.mark.parametrize("falsy", [0, False, "", []])
def test_what_is_read_may_be_empty(tmp_path: Path, falsy: Any) -> None:
    folder = open_folder(tmp_path)
    assert stages_of(folder).stage("number", refuse, lambda _: falsy, write_number) == falsy


def test_without_a_folder_it_is_made_every_time_and_nothing_is_read_or_written() -> None:
    def fail(*_: object) -> Any:
        raise AssertionError("there is no folder")

    progress = Listener()
    stages = stages_of(None, progress)
    made = [stages.stage("number", lambda number=number: number, fail, fail) for number in (1, 2)]  # type: ignore[misc]
    assert made == [1, 2]
    stages.log("a line")
    stages.advance("a task", 1, 2)
    stages.close()
    assert (progress.lines, progress.steps) == (["a line"], [("a task", 1, 2)])
    assert list(stages.seconds) == ["number"]


def test_a_stage_that_failed_is_made_again(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)

    def fail() -> int:
        raise KilledError

    with pytest.raises(KilledError):
        stages_of(folder).stage("number", fail, read_number, write_number)
    assert stages_of(folder).seconds == {}
    assert stages_of(folder).stage("number", lambda: 3, read_number, write_number) == 3


def test_a_stage_that_leaves_nothing_is_made_every_time(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    assert [stages_of(folder).stage("number", lambda number=n: number) for n in (1, 2)] == [1, 2]  # type: ignore[misc]
    assert not (folder.path / "stages" / "number.json").exists()


def test_lines_are_reported_and_kept_with_their_time(tmp_path: Path) -> None:
    folder, progress = open_folder(tmp_path), Listener()
    stages = stages_of(folder, progress)
    stages.log("first: 1")
    stages.log("second: 2")
    assert progress.lines == ["first: 1", "second: 2"]
    lines = (folder.path / "log.txt").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == progress.lines
    assert all(line[4] == "-" and line.partition(" ")[0].endswith("+00:00") for line in lines)


def test_the_end_removes_what_only_a_resumed_run_needs(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    stages = stages_of(folder)
    stages.stage("number", lambda: 7, read_number, write_number)
    stages.close()
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml"]


# -------------------------------------------------------------------------------------------------------- whole runs

CONFIG = replace(
    TINY,
    masks=MaskConfig(steps=4, snapshots=2, batch_size=16),
    finetune=replace(TINY.finetune, learning_rates=(1e-2, 1e-3)),
)
VARIANTS = {
    "defaults": CONFIG,
    "untrained clusters and heads of the de-biasing set": replace(
        CONFIG,
        pseudo_attribute=PseudoAttributeConfig(source="clusters"),
        clustering=ClusteringConfig(num_clusters=2, checkpoint=0),
        debiasing_set=DebiasingSetConfig(cell_exponent=0.5, min_cell_size=2),
        finetune=replace(CONFIG.finetune, head_folds=0, learning_rates=(1e-2,)),
        controls=False,
    ),
    "halves of validation and twins": replace(
        CONFIG,
        pseudo_attribute=PseudoAttributeConfig(source="twins", twins=TwinsConfig(draws=2, steps=20)),
        debiasing_set=DebiasingSetConfig(split="val"),
    ),
}
# What each stage leaves, in their order.
STAGE_FILES = (
    "config.toml",
    "checkpoints/epoch-*.safetensors",
    "erm.safetensors",
    "clusters.csv",
    "stages/clustering.safetensors",
    "debiasing_set.csv",
    "history.csv",
    "stages/masks.safetensors",
    "stages/dense.safetensors",
    "stages/mask-2.safetensors",
    "stages/mask-4.safetensors",
    "stages/mask-*-weights.safetensors",
    "model.safetensors",
    "candidates.csv",
)


def run_until(pattern: str, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> None:
    """Run until a file of this name is written, and no further."""
    write = RunFolder._write

    def write_and_die(self: RunFolder, name: str, content: Callable[[Path], Any]) -> None:
        write(self, name, content)
        if fnmatch(name, pattern):
            raise KilledError(name)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_write", write_and_die)
        with pytest.raises(KilledError):
            run()


def check_same_results(first: Path, second: Path) -> None:
    metrics = [json.loads((path / "metrics.json").read_text()) for path in (first, second)]
    for values in metrics:
        # How long it took and how much memory: of the process that did the work.
        assert set(values.pop("seconds")) >= {"erm", "clustering", "debiasing_set", "masks", "controls"}
        values.pop("peak_memory_mib")
    assert metrics[0] == metrics[1]
    for name in ("candidates.csv", "clusters.csv", "debiasing_set.csv", "history.csv"):
        assert (first / name).read_text() == (second / name).read_text()
    for name in ("model.safetensors", "mask.safetensors", "erm.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert not (second / "stages").exists()


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of samples take half of the time and decide nothing; tests/runs/samples has theirs."""
    monkeypatch.setattr("prusc.runs.debias.write_samples", lambda *_: None)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the defaults that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    debias(data=striped_data(90), config=CONFIG, out=out)
    return out


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=pytest.mark.slow) if name.startswith("halves") else name for name in VARIANTS],
)
def test_a_run_that_is_killed_after_every_stage_leaves_what_an_uninterrupted_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_run: Path, variant: str
) -> None:
    data, config, out, whole = striped_data(90), VARIANTS[variant], tmp_path / "killed", whole_run
    if config != CONFIG:
        whole = tmp_path / "whole"
        debias(data=data, config=config, out=whole)
    kept: dict[Path, int] = {}
    for pattern in STAGE_FILES:
        run_until(pattern, monkeypatch, lambda: debias(data=data, config=config, out=out))
        assert not (out / "metrics.json").exists()
        # What was there is not made anew: a file that is written again is another one.
        assert {path: path.stat().st_ino for path in kept} == kept
        if pattern not in STAGE_FILES[:2]:
            files = [out / "erm.safetensors", *(out / "stages").glob("*.safetensors")]
            kept = {path: path.stat().st_ino for path in files}
    assert len(kept) == 1 + 6
    debias(data=data, config=config, out=out)
    check_same_results(whole, out)


@pytest.mark.parametrize("pattern", ["stages/masks.safetensors", "stages/mask-*-weights.safetensors"])
def test_what_was_made_before_one_kill_and_what_was_made_after_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_run: Path, pattern: str
) -> None:
    data = striped_data(90)
    run_until(pattern, monkeypatch, lambda: debias(data=data, config=CONFIG, out=tmp_path))
    debias(data=data, config=CONFIG, out=tmp_path)
    check_same_results(whole_run, tmp_path)


def test_an_early_network_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tmp_path / "trained.safetensors"
    torch.manual_seed(0)
    save_file(SmallCNN(3).state_dict(), trained)
    data, config = striped_data(90), replace(TINY, trained=trained, controls=False)
    whole = debias(data=data, config=config, out=tmp_path / "whole")
    out = tmp_path / "killed"
    early = out / "checkpoints" / "epoch-001.safetensors"
    run_until("checkpoints/epoch-001.safetensors", monkeypatch, lambda: debias(data=data, config=config, out=out))
    file = early.stat().st_ino
    again = debias(data=data, config=config, out=out)
    assert early.stat().st_ino == file
    log = (out / "log.txt").read_text()
    assert log.count("early network: training your architecture for 1 epoch, because a fully trained network") == 1
    assert again.chosen == whole.chosen
    assert torch.equal(again.clustering.cluster_ids, whole.clustering.cluster_ids)
    first, second = (load_file(path / "model.safetensors") for path in (tmp_path / "whole", out))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
