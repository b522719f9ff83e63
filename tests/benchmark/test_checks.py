"""What is wrong with a benchmark is found before it runs; what is finished is not asked about again."""

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from prusc.benchmark import checks, parse_matrix
from prusc.benchmark.checks import check_cells, check_same_data
from prusc.benchmark.matrix import Cell
from prusc.errors import ConfigError, RunFolderError
from tests.benchmark.matrices import tiny_matrix


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Cell, ...]:
    return parse_matrix(tiny_matrix(tmp_path), "tiny").cells()


def test_a_good_benchmark_passes_and_leaves_no_trace(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    check_cells(cells, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_for_a_benchmark(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match=r"out is a file; name a folder for the benchmark with --out"):
        check_cells(cells, tmp_path / "out")


def test_a_network_whose_code_would_run_needs_trust(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    mine = replace(cells[0], network="mine", config=replace(cells[0].config, model="nowhere_at_all:build"))
    with pytest.raises(
        ConfigError, match=r"network mine uses the model 'nowhere_at_all:build', whose code prusc would"
    ):
        check_cells([mine], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"data birds with network mine: .*nowhere_at_all"):
        check_cells([mine], tmp_path / "out", trust_models=True)


def test_the_error_of_bad_data_names_data_and_network(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    lost = replace(cells[0], config=replace(cells[0].config, data=str(tmp_path / "lost")))
    with pytest.raises(ConfigError, match=r"data birds with network small-cnn: .*lost"):
        check_cells([lost], tmp_path / "out")


def test_data_and_network_are_opened_once_for_all_methods_and_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(checks, "open_session", lambda *arguments, **options: opened.append(arguments[2].model))
    text = tiny_matrix(tmp_path).replace("seeds = [0]", "seeds = [0, 1]")
    check_cells(parse_matrix(f"{text}[network.resnet18]\n", "m").cells(), tmp_path / "out")
    assert opened == ["small-cnn", "resnet18"]


def test_folders_of_other_settings_are_refused(shared_bench: Path) -> None:
    matrix = (shared_bench / "bench.toml").read_text()
    cells = parse_matrix(matrix.replace("/birds", "/birds-that-flew-away"), "m").cells()
    with pytest.raises(RunFolderError, match=r"other settings \(data was '.*birds', is '.*birds-that-flew-away'"):
        check_cells(cells, shared_bench)


def test_nothing_is_opened_for_a_finished_benchmark(shared_bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "open_session", lambda *_, **__: pytest.fail("opened"))
    check_cells(parse_matrix((shared_bench / "bench.toml").read_text(), "m").cells(), shared_bench)


def test_data_that_changed_since_are_refused_where_cells_are_to_be_run(shared_bench: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(shared_bench, tmp_path / "bench"))
    text = (shared_bench / "bench.toml").read_text()
    folder = Path(tomllib.loads(text)["data"]["birds"]["data"])
    other = Path(shutil.copytree(folder, tmp_path / "birds"))
    # As if the benchmark had been run on the copy, so that the shared images stay as they are.
    for config in out.rglob("config.toml"):
        config.write_text(config.read_text().replace(str(folder), str(other)))
    text = text.replace(str(folder), str(other))
    cells, more = (parse_matrix(part, "m").cells() for part in (text, _add_seed(text)))
    assert check_same_data(more, out) == []
    table = other / "metadata.csv"
    rows = table.read_text()
    table.write_text(
        re.sub(r"^(\d+,\S+?),([01]),", lambda row: f"{row[1]},{1 - int(row[2])},", rows, flags=re.MULTILINE)
    )
    with pytest.raises(RunFolderError, match=r"results on other data than birds has now .the labels.* changed"):
        check_same_data(more, out)
    assert check_same_data(cells, out) == [], "nothing is to be run, so nothing is read"
    table.write_text(rows)
    image = next(iter(sorted(other.rglob("*.png"))))
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    with pytest.raises(RunFolderError, match="the inputs of train changed"):
        check_same_data(more, out)


def _add_seed(text: str) -> str:
    matrix = tomllib.loads(text)
    return tomli_w.dumps({**matrix, "seeds": [*matrix["seeds"], 77]})
