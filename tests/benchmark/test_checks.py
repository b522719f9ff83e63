"""What is wrong with a benchmark is found before it runs; what is finished is not asked about again."""

from dataclasses import replace
from pathlib import Path

import pytest

from prusc.benchmark import checks, parse_matrix
from prusc.benchmark.checks import check_cells
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
