"""Finished runs that many tests look at, made once a session, and copies of them for tests that change one.

pytest imports this file before the shape checker hooks into imports of prusc, so prusc is imported inside fixtures.
"""

import importlib
import shutil
from pathlib import Path

import pytest

import tests.shape_checker  # noqa: F401  # jaxtyping expects it to be imported
from tests.made_once import make_once

# What prusc imports, the slowest ones.
LIBRARIES = (
    "beartype", "lightning_fabric", "pandas", "plotly.graph_objects", "scipy.optimize", "scipy.stats",
    "sklearn.cluster", "sklearn.linear_model", "sklearn.manifold", "sklearn.metrics", "sklearn.model_selection",
    "timm", "torch", "torchvision", "tyro",
)  # fmt: skip


def pytest_collection(session: pytest.Session) -> None:
    """Import the libraries before prusc: while it hooks into an import of prusc, the shape checker finds no bytecode.

    It then looks for the bytecode of each module in files of its own, so each worker would compile all of PyTorch
    again. The process that hands out the tests imports none of them.
    """
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        for name in LIBRARIES:
            importlib.import_module(name)


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from arrays; no test may change it."""
    from tests.run_folders import make_run

    return make_once(tmp_path_factory, "run", make_run)


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory, shared_run: Path) -> Path:
    """A copy of the run with its report; no test may change it."""
    from prusc.report import write_report

    return make_once(tmp_path_factory, "reported", lambda out: write_report(shutil.copytree(shared_run, out)))


@pytest.fixture(scope="session")
def shared_audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit from arrays; no test may change it."""
    from tests.run_folders import make_audit

    return make_once(tmp_path_factory, "audit", make_audit)


@pytest.fixture(scope="session")
def shared_functions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of masks of functions by class, with its report; no test may change it."""
    from prusc import inspect_modularity
    from tests.networks import small_cnn, striped_data
    from tests.runs.modularity_cases import tiny

    return make_once(
        tmp_path_factory, "functions", lambda out: inspect_modularity(small_cnn(), striped_data(), tiny(), out=out)
    )


@pytest.fixture(scope="session")
def shared_striped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of prusc on 90 striped images a split; no test may change it."""
    from prusc import debias
    from tests.networks import striped_data
    from tests.run_folders import TINY

    return make_once(tmp_path_factory, "striped", lambda out: debias(data=striped_data(90), config=TINY, out=out))


@pytest.fixture(scope="session")
def shared_channel_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with masks of channels and a budget, on 60 striped images a split; no test may change it."""
    from tests.run_folders import make_channel_run

    return make_once(tmp_path_factory, "channels", make_channel_run) / "run"


@pytest.fixture(scope="session")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark of ERM, GroupDRO and class balancing with two seeds; no test may change it."""
    from prusc.benchmark import Workers, parse_matrix, run_bench
    from tests.benchmark.matrices import tiny_matrix

    def make(out: Path) -> None:
        out.mkdir()
        matrix = tiny_matrix(out).replace('"prusc"', '"group-dro"').replace("seeds = [0]", "seeds = [0, 1]")
        run_bench(parse_matrix(matrix, "tiny"), out / "out", workers=Workers(num_workers=1))

    return make_once(tmp_path_factory, "bench", make) / "out"


@pytest.fixture
def run(shared_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to change."""
    return Path(shutil.copytree(shared_run, tmp_path / "run"))


@pytest.fixture
def audited(shared_audit: Path, tmp_path: Path) -> Path:
    """A copy of the audit, to change."""
    return Path(shutil.copytree(shared_audit, tmp_path / "audit"))


@pytest.fixture
def bench(shared_bench: Path, tmp_path: Path) -> Path:
    """A copy of the benchmark, to change."""
    return Path(shutil.copytree(shared_bench, tmp_path / "bench"))
