"""Reading and writing of a run folder: atomic, in formats that run no code when read."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import tomli_w
from torch import Tensor

from prusc.config import RunConfig, config_to_dict, read_config
from prusc.errors import RunFolderError
from prusc.runs.reuse import belongs_to, is_timed_by, touched_stages

FORMAT = 1
METRICS = "metrics.json"
CONFIG = "config.toml"
MODULARITY = "modularity.json"
SKIPPED = "skipped.csv"


class RunFolder:
    """One run on disk.

    Documented files are in the folder itself; files that only a resumed run needs are in ``stages/``. ``metrics.json``
    is written last, so it marks a finished run.

    Args:
        path: The folder; `open` creates it if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stages = path / "stages"

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished."""
        return (self.path / METRICS).is_file()

    def open(self, config: RunConfig, *, force: bool) -> tuple[str, ...]:
        """Prepare the folder for a new or resumed run.

        Stages that the folder holds from other settings are used again if these settings do not touch them. The others
        are deleted, but never the ERM network.

        Args:
            config: All settings.
            force: Delete a previous run in the folder.

        Returns:
            The settings that differ from those of the folder, with both values.

        Raises:
            RunFolderError: If the folder holds other files, or a run whose ERM network has other settings, or cannot be
                written.
        """
        try:
            tomli_w.dumps(config_to_dict(config)).encode("utf-8")
        except UnicodeEncodeError as error:
            name = error.object[max(error.start - 20, 0) : error.end]
            raise RunFolderError(
                f"the settings hold a name that is no text ({name!r}), and {CONFIG} cannot; rename that file or "
                "folder, or give a link to it"
            ) from error
        begun = (self.path / CONFIG).is_file()
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"run folder {self.path} is a file; name another folder with --out")
        if self.path.is_dir() and not begun and any(self.path.iterdir()):
            raise RunFolderError(
                f"folder {self.path} holds files but no {CONFIG}, so it is no run folder; name an empty or a new one"
            )
        if begun and force:
            self._clear()
        changed = self._make_room(config) if begun and not force else ()
        # Settings are written first, because files in a folder without them are never touched.
        self.write_toml(CONFIG, config_to_dict(config))
        return changed

    def check_settings(self, config: RunConfig) -> None:
        """Refuse a folder whose run has other settings.

        Raises:
            ConfigError: If its settings cannot be read.
            RunFolderError: If they differ.
        """
        self._refuse(list(self._find_changes(config).values()))

    def _find_changes(self, config: RunConfig) -> dict[str, str]:
        return _differing_settings(config_to_dict(self.read_config()), config_to_dict(config))

    def _refuse(self, differing: Sequence[str]) -> None:
        if differing:
            raise RunFolderError(
                f"run folder {self.path} holds a run with other settings ({'; '.join(differing[:5])}); name "
                "another folder with --out, or delete that run with --force"
            )

    def _make_room(self, config: RunConfig) -> tuple[str, ...]:
        """Delete the stages that other settings touch, and return these settings."""
        changes = self._find_changes(config)
        self._refuse([text for name, text in changes.items() if "erm" in touched_stages([name])])
        stages = touched_stages(changes)
        if self.is_finished:  # Its stages are gone, and its results stay as they are.
            self._refuse(list(changes.values()))
        with self._explained():
            for file in sorted(self.path.rglob("*")):
                if file.is_file() and belongs_to(file.relative_to(self.path).as_posix(), stages):
                    file.unlink()
        for name in ("stages/seconds.json", "stages/memory.json"):
            if stages and self.has(name):
                found = {
                    clock: value for clock, value in self.read_json(name).items() if not is_timed_by(clock, stages)
                }
                self.write_json(name, found)
        return tuple(changes.values())

    def read_config(self) -> RunConfig:
        """Read the settings of the run.

        Raises:
            ConfigError: If they cannot be read or are not valid.
        """
        return read_config(self.path / CONFIG)

    def close(self) -> None:
        """Delete the files that only a resumed run needs."""
        shutil.rmtree(self.stages, ignore_errors=True)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file; a number that is not finite is refused."""
        self._write(name, lambda path: path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8"))

    def read_json(self, name: str) -> Any:
        """Read a JSON file."""
        return json.loads((self.path / name).read_text("utf-8"))

    def write_toml(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a TOML file."""
        self._write(name, lambda path: path.write_text(tomli_w.dumps(content), "utf-8"))

    def write_csv(self, name: str, table: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
        """Write a table, or the parts of one that is too long to be held as a whole."""
        parts = [table] if isinstance(table, pd.DataFrame) else table

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="") as file:
                for number, part in enumerate(parts):
                    part.to_csv(file, index=False, header=number == 0)

        self._write(name, write)

    def read_csv(self, name: str) -> pd.DataFrame:
        """Read a table, every cell as text."""
        return pd.read_csv(self.path / name, dtype=str, keep_default_na=False)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write bytes, such as an image or a page."""
        self._write(name, lambda path: path.write_bytes(content))

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write named tensors as safetensors."""
        # safetensors refuses tensors that share memory, as tied weights do, so each name gets a copy.
        separate = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._write(name, lambda path: safetensors.torch.save_file(separate, path))

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """Read named tensors."""
        return dict(safetensors.torch.load_file(self.path / name))

    def has(self, name: str) -> bool:
        """Whether a file exists; it is then complete, because writing is atomic."""
        return (self.path / name).is_file()

    def take_over(self, other: "RunFolder", name: str) -> None:
        """Take over a file, or a folder of files, from another run folder; existing files stay.

        Files are hard links if the file system allows it. That is safe, because files are replaced and never changed.
        """
        source = other.path / name
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        for file in (file for file in files if file.is_file() and not file.name.startswith(".")):
            target = self.path / file.relative_to(other.path)
            if target.is_file():
                continue
            with self._explained():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.hardlink_to(file)
                except OSError:
                    _write_atomically(target, partial(shutil.copyfile, file))

    def remove_file(self, name: str) -> None:
        """Delete a file, if it exists."""
        with self._explained():
            (self.path / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """Delete a folder inside this one, if it exists."""
        with self._explained():
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)

    def append_log(self, line: str) -> None:
        """Add a line to ``log.txt``."""
        with self._explained(), (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        with self._explained():
            _write_atomically(self.path / name, write)

    def _clear(self) -> None:
        with self._explained():
            # metrics.json is deleted first: if this is interrupted, the run counts as unfinished.
            for name in (METRICS, MODULARITY, "log.txt"):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.stages, ignore_errors=True)
            for name in (
                SKIPPED,
                "clusters.csv",
                "debiasing_set.csv",
                "candidates.csv",
                "history.csv",
                "audit.json",
                "look_at.csv",
                "accuracies.csv",
                "overlaps.csv",
                "removal.csv",
                "report.html",
                "model-card.md",
                "heads.csv",
                "apply_head.py",
            ):
                (self.path / name).unlink(missing_ok=True)
            for file in self.path.glob("*.safetensors"):
                file.unlink()
            for name in ("checkpoints", "samples", "figures", "masks", "export"):
                shutil.rmtree(self.path / name, ignore_errors=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, safetensors.SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RunFolderError(
                f"run folder {self.path} cannot be written: {reason}; free some space, or name a folder that you may "
                "write to with --out"
            ) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file outside a run folder atomically.

    Raises:
        RunFolderError: If it cannot be written.
    """
    try:
        _write_atomically(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror or error}; free some space, or choose a place that you may "
            "write to"
        ) from error


def _write_atomically(target: Path, write: Callable[[Path], Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        write(Path(temporary))
        with Path(temporary).open("rb") as file:
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _differing_settings(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> dict[str, str]:
    differing: dict[str, str] = {}
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            differing |= _differing_settings(before, now, f"{where}{name}.")
        elif before != now:
            differing[f"{where}{name}"] = f"{where}{name} was {before!r}, is {now!r}"
    return differing
