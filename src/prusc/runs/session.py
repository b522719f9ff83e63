"""The beginning of every run: settings, data, network and run folder, checked before anything is written."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from prusc.config import RunConfig
from prusc.data import Data, InputTransform, as_data
from prusc.data.table import Split
from prusc.engine.feed import Feed
from prusc.engine.progress import ProgressOption, SilentProgress, resolve_progress
from prusc.engine.runtime import Runtime
from prusc.errors import ConfigError, RunFolderError
from prusc.runs.artifacts import write_skipped
from prusc.runs.folder import SKIPPED, RunFolder
from prusc.runs.inputs import build_run_model, build_untrained, load_run_data, prepare_model, read_run_weights
from prusc.runs.made_from import check_made_from
from prusc.runs.resume import Stages


@dataclass(frozen=True, eq=False)
class Session:
    """What the stages of a run share.

    Attributes:
        config: All settings.
        data: The data of the run.
        network: The network; a copy, so stages may change it.
        is_trained: Whether it is trained already.
        given: Arguments that were passed in Python, so the settings do not describe them: ``model``, ``data``.
        stages: The run folder, the clock and the log.
        network_changes: What was changed in the network that was given, in words.
    """

    config: RunConfig
    data: Data
    network: nn.Module
    is_trained: bool
    given: tuple[str, ...]
    stages: Stages
    network_changes: tuple[str, ...] = ()

    @property
    def circumstances(self) -> dict[str, Any]:
        """How the run was made, beside its settings."""
        own = {"given_in_python": self.given, "network_changes": self.network_changes}
        return {**self.stages.circumstances, **own}

    @property
    def runtime(self) -> Runtime:
        """Device and processes."""
        return self.stages.runtime

    @property
    def feed(self) -> Feed:
        """The training split without augmentation; ``feed.of(split)`` returns the feed of another split."""
        crop_size = self.config.data_options.crop_size
        return Feed(self.data.train, InputTransform(self.data.mean, self.data.std, crop_size=crop_size), self.runtime)

    @property
    def train_feed(self) -> Feed:
        """The training split with the augmentation of the ERM training."""
        erm = self.config.erm
        transform = replace(self.feed.transform, flip=erm.flip, min_crop_scale=erm.min_crop_scale)
        return replace(self.feed, transform=transform)

    def draw_feed(self, split: Split) -> Feed:
        """Return the feed of a split with the augmentation of the de-biasing set."""
        erm, draws = self.config.erm, self.config.debiasing_set
        transform = replace(
            self.feed.transform,
            flip=erm.flip if draws.flip is None else draws.flip,
            min_crop_scale=erm.min_crop_scale if draws.min_crop_scale is None else draws.min_crop_scale,
        )
        return Feed(split, transform, self.runtime)

    def log(self, text: str) -> None:
        """Report a line, and append it to ``log.txt``."""
        self.stages.log(text)

    def warn(self, text: str) -> None:
        """Log a warning; where progress is not shown, Python shows it."""
        self.log(f"warning: {text}")
        if self.runtime.is_main and isinstance(self.stages.progress, SilentProgress):
            warnings.warn(text, stacklevel=2)


def open_session(
    model: nn.Module | None,
    data: Any,
    config: RunConfig | None,
    *,
    out: Path | str | None,
    force: bool,
    progress: ProgressOption,
    check: Callable[[Data], None] | None = None,
) -> Session:
    """Check and load network and data, then open the run folder. Arguments are those of `prusc.debias`.

    ``check`` may refuse the data before anything is written.

    Raises:
        PruscError: If settings, data, network or run folder are not valid.
    """
    config = config or RunConfig()
    if config.features is not None:
        raise ConfigError(
            f"features {config.features} replace data and network, which this task needs; audit them: prusc audit "
            "--features, or prusc.audit_features"
        )
    runtime = Runtime(config.runtime)
    folder = RunFolder(Path(out)) if out is not None and runtime.is_main else None
    if folder is not None and folder.is_finished and not force:
        raise RunFolderError(
            f"run folder {folder.path} holds a finished run; read its metrics.json, name another folder, or run it "
            "again with --force"
        )
    given = tuple(name for name, value in (("model", model), ("data", data)) if value is not None)
    weights = read_run_weights(config) if model is None else None
    report = resolve_progress(progress) if runtime.is_main else SilentProgress()
    data = load_run_data(config, report) if data is None else as_data(data)
    if config.selection.rule == "validation-groups" and data.val.attributes is None:
        raise ConfigError(
            f"selection.rule validation-groups needs group labels, and the validation split of {data.name!r} has no "
            "attributes; name them (data_options.attributes), or choose another rule"
        )
    if check is not None:
        check(data)
    notes: list[str] = []
    if model is None:
        network = build_run_model(config, data, weights, log=notes.append)
    else:
        network = prepare_model(model, data, config, log=notes.append)
    network_changes = tuple(note.removeprefix("network: ") for note in notes if note.startswith("network: "))
    if config.trained is not None and config.weights is not None:
        build_untrained(config, data)
    # Only now, because an error in the data or the weights must leave no folder behind.
    changed: tuple[str, ...] = ()
    if folder is not None:
        changed = folder.open(config, force=force)
        write_skipped(folder, data)
        notes += check_made_from(folder, data, config)
    is_trained = model is not None or config.trained is not None
    session = Session(config, data, network, is_trained, given, Stages(folder, runtime, report), network_changes)
    if changed:
        session.log(f"settings that changed: {'; '.join(changed)}; stages that they do not touch are used again")
    session.log(
        f"data {data.name}: {', '.join(f'{len(s)} {n}' for n, s in data.splits.items())} samples of "
        f"{data.num_classes} classes"
    )
    for note in notes:
        session.log(note)
    if data.skipped:
        where = "" if folder is None else f", listed in {folder.path / SKIPPED}"
        session.log(f"skipped {len(data.skipped)} images that cannot be read or are in another split too{where}")
    return session
