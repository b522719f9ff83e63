"""Reading a run folder, whole or half, for a report: what is there, and what is missing."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prusc.config import RunConfig
from prusc.contact_sheets import SUFFIX, TILES_PER_SHEET, TileSize, cut_tile
from prusc.errors import ConfigError, RunFolderError
from prusc.evaluation import GroupEvaluation
from prusc.run_files import evaluation_from_dict
from prusc.run_folder import CONFIG, FORMAT, METRICS, read_config
from prusc.run_samples import ABOUT, ATTENTION, FOLDER, MAP, TABLE
from prusc.selection import CellAccuracy

ContentT = TypeVar("ContentT")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of samples, by position, on sheets; a sheet that is gone leaves a gap.

    Attributes:
        sheets: Each file and its pixels [height, width, 3]; ``None`` for one that is missing or damaged.
        size: Of every tile.
        why_not: Why there are none.
    """

    sheets: tuple[tuple[bytes, NDArray[np.uint8]] | None, ...]
    size: TileSize
    why_not: str = ""

    def cut(self, position: int) -> NDArray[np.uint8] | None:
        """Return the pixels [height, width, 3] of one picture; ``None`` if it is missing."""
        number, place = divmod(position, TILES_PER_SHEET)
        sheet = self.sheets[number] if 0 <= number < len(self.sheets) else None
        if sheet is None:
            return None
        tile = cut_tile(sheet[1], place, self.size)
        return tile if tile.shape == (self.size.height, self.size.width, 3) else None


@dataclass(frozen=True, eq=False)
class SampleRecord:
    """What a run kept of single samples.

    Attributes:
        table: One row per validation and test sample, see `prusc.run_samples`.
        map_before: Principal components [samples on the map, components] by the original network; ``None`` if missing.
        map_after: By the network that was handed back.
        explained_variance: Of each map's two axes.
        attention: Grad-CAM ``before`` and ``after``, [samples, rows, columns]; empty if missing.
        why_no_attention: Why there is no Grad-CAM; empty if there is.
        thumbnails: By position on the map.
        pictures: By their own position.
    """

    table: pd.DataFrame
    map_before: NDArray[np.float32] | None
    map_after: NDArray[np.float32] | None
    explained_variance: Mapping[str, tuple[float, float]]
    attention: Mapping[str, NDArray[np.float32]]
    why_no_attention: str
    thumbnails: Pictures
    pictures: Pictures

    @property
    def attribute_names(self) -> list[str]:
        """The attributes that evaluation knows."""
        return [name.removeprefix("attribute/") for name in map(str, self.table) if name.startswith("attribute/")]


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run folder as a report sees it; ``None`` is what is not there.

    Attributes:
        path: The folder.
        metrics: ``metrics.json``; empty if the run is not finished.
        evaluations: Figures by network and split; empty if the run is not finished.
        cells: Accuracy before and after of the cells of the validation split that judged.
        config: Every setting.
        candidates: One row per network that was tried.
        history: How the mask came about.
        clusters: Cluster of each training and validation sample.
        samples: What was kept of single samples.
        log: What the run told.
        seconds: Wall time by stage.
        missing: A line for each thing that could not be read, with what the report does without.
    """

    path: Path
    metrics: Mapping[str, Any]
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]]
    cells: tuple[CellAccuracy, ...]
    config: RunConfig
    candidates: pd.DataFrame | None
    history: pd.DataFrame | None
    clusters: pd.DataFrame | None
    samples: SampleRecord | None
    log: str
    seconds: Mapping[str, float]
    missing: tuple[str, ...]

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.metrics)

    @property
    def class_names(self) -> list[str]:
        """Name of each label; numbers where the run has not come to its end."""
        if self.metrics:
            return [str(name) for name in self.metrics["data"]["classes"]]
        if self.clusters is None:
            return []
        return [f"class {label}" for label in range(int(self.clusters["label"].max()) + 1)]

    @property
    def data_name(self) -> str:
        """What the data are called."""
        return str(self.metrics["data"]["name"] if self.metrics else self.config.data)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Args:
        path: The folder of a run, finished or not, of this or an older prusc.

    Returns:
        What is there.

    Raises:
        RunFolderError: If it is no run folder, ``metrics.json`` is damaged, or a newer prusc wrote it.
        ConfigError: If the settings cannot be read.
    """
    if not path.is_dir():
        raise RunFolderError(f"run folder {path} {'is a file' if path.exists() else 'does not exist'}; name a folder")
    if not (path / CONFIG).is_file():
        raise RunFolderError(f"folder {path} has no {CONFIG}, so it is no run folder; name the --out of a prusc run")
    return _Reader(path).read()


@dataclass
class _Reader:
    """Reads one folder and notes what is missing."""

    path: Path
    missing: list[str] = field(default_factory=list)

    def read(self) -> RunRecord:
        metrics, evaluations, cells = self.read_metrics()
        if not metrics:
            self.missing.append(
                f"{METRICS} is missing: the run has not come to its end (the same prusc run command goes on with it); "
                "there are no figures, and no network was chosen"
            )
        seconds = metrics.get("seconds") or self.optional("stages/seconds.json", _read_json, "") or {}
        return RunRecord(
            path=self.path,
            metrics=metrics,
            evaluations=evaluations,
            cells=cells,
            config=self.read_config(metrics),
            candidates=self.optional("candidates.csv", pd.read_csv, "the networks that were tried" if metrics else ""),
            history=self.optional("history.csv", pd.read_csv, "how the mask came about"),
            clusters=self.optional("clusters.csv", _read_clusters, "the clusters' sizes"),
            samples=self.read_samples() if metrics else None,
            log=self.optional("log.txt", lambda path: path.read_text("utf-8", "replace"), "what the run told") or "",
            seconds=seconds,
            missing=tuple(self.missing),
        )

    def read_config(self, metrics: Mapping[str, Any]) -> RunConfig:
        try:
            return read_config(self.path / CONFIG)
        except ConfigError as error:
            wrote = metrics.get("prusc")
            raise ConfigError(f"{error}{f'; prusc {wrote} wrote it' if wrote else ''}") from error

    def read_metrics(
        self,
    ) -> tuple[dict[str, Any], dict[str, dict[str, GroupEvaluation]], tuple[CellAccuracy, ...]]:
        path = self.path / METRICS
        if not path.is_file():
            return {}, {}, ()
        try:
            metrics = _read_json(path)
            found = metrics["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} is damaged ({_reason(error)}); copy it again, or run anew with --force"
            ) from error
        if not isinstance(found, int) or found > FORMAT:
            raise RunFolderError(
                f"{path} has format {found!r}, this prusc reads up to format {FORMAT}; use the prusc that wrote it "
                f"({metrics.get('prusc', 'unknown version')}) or a newer one"
            )
        try:
            evaluations = {
                network: {split: evaluation_from_dict(values) for split, values in splits.items()}
                for network, splits in metrics["results"].items()
            }
            cells = tuple(CellAccuracy(**cell) for cell in metrics["cells"])
            for network in ("erm", "subnetwork"):
                evaluations[network]["test"].worst_group.num_samples  # noqa: B018 -- raises where it is not there
            for name in ("data", "model", "seed", "verdict", "verdict_text", "chosen", "density", "density_per_layer"):
                metrics[name]
            metrics["data"]["classes"]
        except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"{path} is not as prusc writes it ({_reason(error)}); copy it again, or run anew with --force"
            ) from error
        return metrics, evaluations, cells

    def read_samples(self) -> SampleRecord | None:
        table = self.optional(TABLE, _read_table, "pictures, map and Grad-CAM (runs of an older prusc have none)")
        about = None if table is None else self.optional(ABOUT, _read_json, "pictures, map and Grad-CAM")
        if table is None or about is None:
            return None
        maps = self.optional(MAP, load_file, "the map of the representations") or {}
        why_no_attention = about["attention"].get("why_not") or ""
        attention = {} if why_no_attention else self.optional(ATTENTION, load_file, "Grad-CAM") or {}
        if not attention and not why_no_attention:
            why_no_attention = f"{ATTENTION} is missing"
        num_on_map = int(table["map"].max()) + 1
        if any(len(maps.get(name, ())) != num_on_map for name in ("before", "after")):
            maps = {}
        return SampleRecord(
            table=table,
            map_before=maps.get("before"),
            map_after=maps.get("after"),
            explained_variance={name: (pair[0], pair[1]) for name, pair in about["explained_variance"].items()},
            attention=attention,
            why_no_attention=why_no_attention,
            thumbnails=self.read_pictures("thumbnails", about["thumbnails"]),
            pictures=self.read_pictures("pictures", about["pictures"]),
        )

    def read_pictures(self, name: str, about: Mapping[str, Any]) -> Pictures:
        if not about["num_files"]:
            return Pictures((), TileSize(1, 1), about["why_not"])
        sheets = tuple(
            self.optional(f"{FOLDER}/{name}-{number:03d}{SUFFIX}", _read_sheet, f"some {name}")
            for number in range(about["num_files"])
        )
        return Pictures(sheets, TileSize(about["width"], about["height"]))

    def optional(self, name: str, read: Callable[[Path], ContentT], what_for: str) -> ContentT | None:
        """Read a file that a report can do without; note it if it is missing and ``what_for`` says what is lost."""
        path = self.path / name
        try:
            return read(path)
        except FileNotFoundError:
            why = "is missing"
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, SyntaxError) as error:
            why = f"cannot be read ({_reason(error)})"
        if what_for:
            self.missing.append(f"{name} {why}: the report does without {what_for}")
        return None


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:200]}"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _read_clusters(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, usecols=["label", "cluster_assign", "split"])
    return table.astype({"label": "int64", "cluster_assign": "int64"})


def _read_table(path: Path) -> pd.DataFrame:
    # As text, since a sample may be called NA or 007.
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    numbers = [name for name in table if name in ("index", "label", "cluster", "map", "picture", "attention")] + [
        name for name in table if str(name).startswith("prediction/")
    ]
    return table.astype(dict.fromkeys(numbers, "int64"))


def _read_sheet(path: Path) -> tuple[bytes, NDArray[np.uint8]]:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        return content, np.asarray(image.convert("RGB"))
