"""Resumable stages: each writes its result to the run folder, so that a killed run continues after the last one."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from prusc.engine.process import peak_memory_mib
from prusc.engine.progress import Progress
from prusc.engine.runtime import Runtime
from prusc.runs.folder import RunFolder
from prusc.runs.plan import describe_time

MadeT = TypeVar("MadeT")

# Shorter stages say little about the speed of a machine.
_MIN_SECONDS = 1.0
# As documents write it; other names are their own titles.
_TITLES = {"debiasing_set": "de-biasing set"}


class Stages:
    """Runs the stages of a run; reads finished ones from the run folder, if there is one.

    Args:
        folder: The run folder. ``None`` if the run has none, and in all processes but the main one.
        runtime: The processes of the run.
        progress: Where progress is reported.

    Attributes:
        seconds: Wall time of each stage; a stage that was read keeps the time of its first run.
        peak_memory_mib: Peak memory of this process by the end of each stage.
    """

    def __init__(self, folder: RunFolder | None, runtime: Runtime, progress: Progress) -> None:
        self.folder = folder
        self.runtime = runtime
        self.progress = progress
        self._work: dict[str, float] = {}
        self._announced = 0
        self.seconds: dict[str, float] = {}
        self.peak_memory_mib: dict[str, float] = {}
        if folder is not None and folder.has("stages/seconds.json"):
            self.seconds = folder.read_json("stages/seconds.json")
        if folder is not None and folder.has("stages/memory.json"):
            self.peak_memory_mib = folder.read_json("stages/memory.json")

    @property
    def has_folder(self) -> bool:
        """Whether the run has a folder, asked in every process."""
        return self.runtime.broadcast(self.folder is not None)

    @property
    def title(self) -> str:
        """What errors call the run."""
        return "this run" if self.folder is None else f"run folder {self.folder.path}"

    @property
    def circumstances(self) -> dict[str, Any]:
        """How the run was made, beside its settings."""
        return {"num_processes": self.runtime.num_processes, "peak_memory_mib": self.peak_memory_mib}

    def stage(
        self,
        name: str,
        make: Callable[[], MadeT],
        read: Callable[[RunFolder], MadeT | None] | None = None,
        write: Callable[[RunFolder, MadeT], None] | None = None,
    ) -> MadeT:
        """Run a stage, or read its result from the folder.

        Args:
            name: Name of the stage, for its time and memory.
            make: Does the work, in every process.
            read: Returns the result from the folder, or ``None`` if the stage did not finish.
            write: Writes the result to the folder; called in the main process only.

        Returns:
            The result, in every process.
        """
        with self.timed(name):
            return self.make_or_read(make, read, write)

    def make_or_read(
        self,
        make: Callable[[], MadeT],
        read: Callable[[RunFolder], MadeT | None] | None = None,
        write: Callable[[RunFolder, MadeT], None] | None = None,
    ) -> MadeT:
        """Make a part of a stage, or read it from the folder; as `stage`, but inside a running clock."""
        stored = None if read is None else self.runtime.broadcast(None if self.folder is None else read(self.folder))
        if stored is not None:
            return stored
        made = make()
        self.write(made, write)
        return made

    def write(self, made: MadeT, write: Callable[[RunFolder, MadeT], None] | None) -> None:
        """Write an object to the folder, if there is one."""
        if self.folder is not None and write is not None:
            write(self.folder, made)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure the time and memory of a stage."""
        self._announce(name.partition("@")[0])
        begin = time.perf_counter()
        yield
        if name not in self.seconds:
            self.seconds[name] = round(time.perf_counter() - begin, 3)
            memory = peak_memory_mib()
            if memory is not None:
                self.peak_memory_mib[name] = memory
            if self.folder is not None:
                self.folder.write_json("stages/memory.json", self.peak_memory_mib)
                self.folder.write_json("stages/seconds.json", self.seconds)

    def follow(self, work: Mapping[str, float]) -> None:
        """Say before each stage which one it is and how long the rest may take.

        Args:
            work: Estimated work of each stage, in their order; see `prusc.runs.plan.plan_stages`.
        """
        self._work, self._announced = dict(work), 0

    def _announce(self, name: str) -> None:
        stages = list(self._work)
        if name not in stages[self._announced :]:
            return
        position = stages.index(name)
        self._announced = position + 1
        done = sum(self._work[stage] for stage in stages[:position])
        seconds = sum(value for key, value in self.seconds.items() if key.partition("@")[0] in stages[:position])
        left = sum(self._work[stage] for stage in stages[position:])
        time_left = f", about {describe_time(seconds * left / done)} left" if done and seconds > _MIN_SECONDS else ""
        self.log(f"stage {position + 1} of {len(stages)}: {_TITLES.get(name, name).replace('_', ' ')}{time_left}")

    def log(self, text: str) -> None:
        """Report a line, and append it to ``log.txt``."""
        self.progress.log(text)
        if self.folder is not None:
            self.folder.append_log(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}")

    def advance(self, task: str, done: int, total: int) -> None:
        """Report how many steps of a task are done."""
        self.progress.advance(task, done, total)

    def close(self) -> None:
        """End the run: delete the files that only a resumed run needs, and wait for the other processes."""
        if self.folder is not None:
            self.folder.close()
        self.runtime.barrier()
