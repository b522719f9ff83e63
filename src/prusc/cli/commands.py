"""What each command takes; the command line is made from these classes. Loads nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from prusc.config import DataConfig, RunConfig


@dataclass(frozen=True)
class RunCommand:
    """From a classifier that takes shortcuts to a subnetwork that does without them, without group labels.

    Attributes:
        out: Run folder; an unfinished run of the same settings is resumed.
        force: Throw away what the run folder holds.
        config: Take the settings from this file, such as another run's config.toml; options given here replace them.
        preset: Take the settings of this name, such as celeba, waterbirds or isic; options given here replace them.
    """

    out: Path
    force: bool
    config: Path | None
    preset: str | None
    run: Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class AuditCommand(RunCommand):
    """Is there a shortcut: clusters of a classifier that cut across its classes and fail, and the images to look at.

    These are the first stages of run, which goes on with them in the same run folder.
    """


@dataclass(frozen=True)
class CheckCommand:
    """Read a data set once and say what is in it and what is wrong with it; the exit code is 1 if anything is.

    Attributes:
        data: A folder or table of images.
        layout: Name of the layout; recognised if not given.
        format: Text to read, or JSON.
        data_options: As for run.
    """

    data: tyro.conf.Positional[str]
    layout: str | None = None
    format: Literal["text", "json"] = "text"
    data_options: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run or an audit anew, from its folder alone: report.html, of a run model-card.md too.

    Attributes:
        folder: The folder of a run, finished or not, of an audit, or of a benchmark.
        figures: Also write the figures as PNG and SVG, into its folder figures.
        map: How the map of the representations is made: principal components, or t-SNE, which takes up to a minute.
    """

    folder: tyro.conf.Positional[Path]
    figures: bool = False
    map: Literal["pca", "tsne"] = "pca"


@dataclass(frozen=True)
class CompareCommand:
    """Write a page that shows two or more finished runs side by side.

    Attributes:
        folders: Run folders.
        out: The page.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("comparison.html")


@dataclass(frozen=True)
class BenchCommand:
    """Run methods on data, networks and seeds, on equal terms; the exit code is 1 if a cell failed.

    Finished cells are not run again: the same command goes on where it was stopped.

    Attributes:
        suite: Name of a suite of the package: small or real.
        matrix: TOML file of the form of the suites (docs/how-to/compare-remedies.md).
        out: Folder of the benchmark; every cell is a run folder in it.
        methods: Only these of the matrix's methods, or others; all for every one.
        seeds: Instead of the matrix's seeds.
        workers: How many cells run at once; one a core here, and on a cluster as many as it has room for, if not given.
        threads: Threads of each.
        backend: loky for processes of this machine; dask or ray for a cluster.
        address: Of the cluster; what its own environment variable says if not given. local starts one here.
        gpus_per_cell: Share of a GPU that Ray reserves for each cell.
        trust_models: Build networks of the form module:function that the matrix names, which runs their code.
    """

    suite: str | None = None
    matrix: Path | None = None
    out: Path = Path("runs/bench")
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    workers: int | None = None
    threads: int = 1
    backend: str = "loky"
    address: str | None = None
    gpus_per_cell: float = 0.0
    trust_models: bool = False
