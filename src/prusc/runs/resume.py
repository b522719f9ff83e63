"""What the stages of a run share: the run folder, the clock and whom to tell."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from prusc.engine.progress import Progress
from prusc.engine.runtime import Runtime, peak_memory_mib
from prusc.runs.artifacts import read_candidates, write_candidates
from prusc.runs.folder import RunFolder
from prusc.stages.candidates import Candidate

StoredT = TypeVar("StoredT")


class RunStages:
    """Keeps what stages leave, so that a run resumes after the last one that came to its end.

    Args:
        folder: Where they leave it; ``None`` in a run without a folder, and in all processes but the main one.
        runtime: The processes of the run.
        progress: Whom to tell.

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
        """What a run tells of how it was made, beside its settings."""
        return {"num_processes": self.runtime.num_processes, "peak_memory_mib": self.peak_memory_mib}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
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

    def stored(self, read: Callable[[RunFolder], StoredT | None]) -> StoredT | None:
        """Return to every process what a stage left in the run folder, if it came to its end."""
        return self.runtime.broadcast(None if self.folder is None else read(self.folder))

    def cached(self, name: str, make: Callable[[], list[Candidate]]) -> list[Candidate]:
        """Return the candidates of a base network, from disk where they were made before."""
        candidates = self.stored(partial(read_candidates, name=name))
        if candidates is None:
            candidates = make()
            if self.folder is not None:
                write_candidates(self.folder, name, candidates)
        best = max(candidates, key=lambda candidate: candidate.score)
        self.say(f"tried {len(candidates)} candidates of {name}; best {best.name}, score {best.score:.3f}")
        return candidates

    def say(self, text: str) -> None:
        """Tell a line to whoever watches, and to ``log.txt``."""
        self.progress.say(text)
        if self.folder is not None:
            self.folder.append_log(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}")
