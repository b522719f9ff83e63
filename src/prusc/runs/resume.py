"""Stages that resume: each leaves its result in the run folder, and a killed run goes on after the last one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from prusc.engine.process import peak_memory_mib
from prusc.engine.progress import Progress
from prusc.engine.runtime import Runtime
from prusc.runs.folder import RunFolder

MadeT = TypeVar("MadeT")


class Stages:
    """The one place that knows whether a run has a folder, and what it holds already.

    Args:
        folder: The run folder; ``None`` without one, and in all processes but the main one.
        runtime: The processes of the run.
        progress: Where progress is reported.

    Attributes:
        seconds: Wall time by stage; a stage that was finished before keeps the time it took then.
        peak_memory_mib: Most memory that this process had held by the end of each stage.
    """

    def __init__(self, folder: RunFolder | None, runtime: Runtime, progress: Progress) -> None:
        self.folder = folder
        self.runtime = runtime
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.peak_memory_mib: dict[str, float] = {}
        if folder is not None and folder.has("stages/seconds.json"):
            self.seconds = folder.read_json("stages/seconds.json")
        if folder is not None and folder.has("stages/memory.json"):
            self.peak_memory_mib = folder.read_json("stages/memory.json")

    @property
    def circumstances(self) -> dict[str, Any]:
        """What a run records of how it was made, beside its settings."""
        return {"num_processes": self.runtime.num_processes, "peak_memory_mib": self.peak_memory_mib}

    def stage(
        self,
        name: str,
        make: Callable[[], MadeT],
        read: Callable[[RunFolder], MadeT | None] | None = None,
        write: Callable[[RunFolder, MadeT], None] | None = None,
    ) -> MadeT:
        """Run a stage, or read what it left.

        Args:
            name: Of the stage, for its time and memory.
            make: Does the work, in every process.
            read: Returns what the stage left in the folder, or ``None`` if it did not come to its end.
            write: Leaves the result in the folder; called in the main process alone.

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
        """Make a part of a stage, or read what it left; as `stage`, whose clock is running."""
        stored = None if read is None else self.runtime.broadcast(None if self.folder is None else read(self.folder))
        if stored is not None:
            return stored
        made = make()
        self.write(made, write)
        return made

    def write(self, made: MadeT, write: Callable[[RunFolder, MadeT], None] | None) -> None:
        """Write something, where there is a folder."""
        if self.folder is not None and write is not None:
            write(self.folder, made)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure the time of a stage."""
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

    def log(self, text: str) -> None:
        """Report a line, and write it into ``log.txt``."""
        self.progress.log(text)
        if self.folder is not None:
            self.folder.append_log(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}")

    def advance(self, task: str, done: int, total: int) -> None:
        """Report how many steps of a task are done."""
        self.progress.advance(task, done, total)

    def close(self) -> None:
        """End the run: remove what only a resumed one needs, and wait for the other processes."""
        if self.folder is not None:
            self.folder.close()
        self.runtime.barrier()
