"""Options of each command, from which tyro builds the command line. Imports nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from prusc.config import DataConfig, RunConfig


@dataclass(frozen=True)
class RunCommand:
    """Extract a network without the shortcuts of a classifier, without group labels, or apply another method.

    Attributes:
        out: Run folder. An unfinished run with the same settings is resumed.
        force: Delete the content of the run folder first.
        config: TOML file of settings, such as the config.toml of another run. Options on the command line override it.
        preset: Name of packaged settings, such as celeba, waterbirds or isic. Options on the command line override
            them.
    """

    out: Path
    force: bool
    config: Path | None
    preset: str | None
    run: Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class AuditCommand(RunCommand):
    """Find the shortcuts of a classifier: where it fails samples that conflict with one, and images to look at.

    These are the first stages of prusc run, which continues from them in the same run folder.
    """


@dataclass(frozen=True)
class ModularityCommand(RunCommand):
    """Find the weights that single functions of a classifier use, and how much of them the functions share.

    Attributes:
        out: Run folder. An unfinished run with the same settings is resumed.
        force: Delete the content of the run folder first.
        config: TOML file of settings, such as the config.toml of another run. Options on the command line override it.
        preset: Name of packaged settings, such as celeba, waterbirds or isic. Options on the command line override
            them.
        by: What divides the samples into functions: class, attribute:NAME or column:NAME. It is short for
            modularity.by.
    """

    by: str | None = None


@dataclass(frozen=True)
class CheckCommand:
    """Read a data set once and list its content and its problems. The exit code is 1 if there are problems.

    Attributes:
        data: Folder or table of images.
        layout: Name of the layout. If not given, prusc recognises it.
        near_duplicates: Also look for images in different splits that are almost the same (perceptual hashes; needs
            the package imagehash).
        format: Format of the output.
        data_options: Options of the data, as for prusc run.
    """

    data: tyro.conf.Positional[str]
    layout: str | None = None
    near_duplicates: bool = False
    format: Literal["text", "json"] = "text"
    data_options: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True)
class ExportCommand:
    """Export the chosen network of a finished run, checked on its data, with a README and its preprocessing.

    Attributes:
        folder: Run folder.
        format: Kind of file: onnx, torch-export, torchscript or safetensors.
        compact: Remove the channels that no layer reads, which gives a smaller network with the same outputs. Learn
            masks with masks.granularity channel to have such channels.
        out: Folder for the files. If not given, it is a folder in the run folder, such as export/onnx-compact.
        trust_models: Build a network of the form module:function that the run names. This runs its code.
    """

    folder: tyro.conf.Positional[Path]
    format: Literal["onnx", "torch-export", "torchscript", "safetensors"] = "onnx"
    compact: bool = False
    out: Path | None = None
    trust_models: bool = False


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run, an audit, masks of functions or a benchmark again, from its folder alone.

    The report is report.html. A run gets a model-card.md too.

    Attributes:
        folder: Folder of a run (finished or not), of an audit, of prusc modularity or of a benchmark.
        figures: Also write the figures as PNG and SVG files, into the folder figures.
        map: Projection of the representations: principal components, or t-SNE, which takes up to a minute.
    """

    folder: tyro.conf.Positional[Path]
    figures: bool = False
    map: Literal["pca", "tsne"] = "pca"


@dataclass(frozen=True)
class CompareCommand:
    """Write a page that compares two or more finished runs or audits side by side.

    Attributes:
        folders: Folders of runs or audits to compare.
        out: HTML file to write.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("comparison.html")


@dataclass(frozen=True)
class PresetsCommand:
    """List packaged settings, or print those of one as TOML.

    Attributes:
        name: Preset to print. If not given, all are listed.
    """

    name: tyro.conf.Positional[str | None] = None


@dataclass(frozen=True)
class CompletionCommand:
    """Print what makes a shell complete the options of prusc.

    Attributes:
        shell: The shell.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]]


@dataclass(frozen=True)
class BenchCommand:
    """Compare methods on data sets, networks and seeds, on equal terms. The exit code is 1 if a cell failed.

    A stopped benchmark is resumed by the same command, which skips finished cells.

    Attributes:
        suite: Name of a packaged suite, small or real.
        matrix: TOML file in the form of the suites (docs/how-to/compare-remedies.md).
        out: Folder of the benchmark, which holds a run folder for each cell.
        methods: Methods to run in place of those of the matrix; all runs every method.
        seeds: Seeds to run in place of those of the matrix.
        workers: Number of cells that run at once. If not given, it is the number of cores, or the capacity of the
            cluster.
        threads: Number of threads of each cell.
        backend: Where cells run: loky for processes on this machine, dask or ray for a cluster.
        address: Address of the cluster. If not given, the cluster's own environment variable holds it; local starts a
            cluster on this machine.
        gpus_per_cell: Share of a GPU that Ray reserves for each cell.
        trust_models: Build networks of the form module:function that the matrix names. This runs their code.
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
