"""Where stages report their progress: log lines, and the steps of the current task."""

import time
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from prusc.engine.process import peak_memory_mib

if TYPE_CHECKING:
    from rich.console import Console


@runtime_checkable
class Progress(Protocol):
    """Receives the progress of a run. The command line prints it; users may pass their own."""

    def log(self, text: str) -> None:
        """Report one line, such as the result of a stage."""

    def advance(self, task: str, done: int, total: int) -> None:
        """Report how many steps of a task are done. It is called at every step, so it must be fast."""


Verbosity: TypeAlias = Literal["quiet", "normal", "verbose"]
"""What is printed: warnings alone, lines and bars, or lines with times and memory, and bars."""

ProgressOption: TypeAlias = Progress | bool | None
"""A ``progress`` argument: ``True`` for lines and bars, ``False`` or ``None`` for none, or their own object."""


class SilentProgress:
    """Reports nothing."""

    def log(self, text: str) -> None:
        """Ignore the text."""

    def advance(self, task: str, done: int, total: int) -> None:
        """Ignore the step."""


class ConsoleProgress:
    """Prints log lines and, in a terminal or a notebook, shows a bar for the current task.

    The bar appears with the first step of a task and disappears with its last one.

    Args:
        console: Where to print; standard error if ``None``.
        verbosity: See `Verbosity`.
    """

    def __init__(self, console: "Console | None" = None, *, verbosity: Verbosity = "normal") -> None:
        from rich.console import Console

        self._verbosity, self._begin = verbosity, time.perf_counter()
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._bar: _TerminalBar | _NotebookBar | None = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()

    def log(self, text: str) -> None:
        """Print a line."""
        if self._verbosity == "quiet" and not text.startswith("warning: "):
            return
        if self._verbosity == "verbose":
            memory = peak_memory_mib()
            peak = "" if memory is None else f", {memory:.0f} MiB"
            text = f"[{time.perf_counter() - self._begin:.1f} s{peak}] {text}"
        # Without emoji=False rich replaces a name such as :smile: in a path.
        self._console.print(text, markup=False, highlight=False, emoji=False)

    def advance(self, task: str, done: int, total: int) -> None:
        """Move the bar."""
        if self._verbosity == "quiet":
            return
        if self._bar is None or self._bar.task != task:
            self._hide()
            if self._console.is_jupyter:
                self._bar = _NotebookBar(task, total)
            elif self._console.is_terminal:
                self._bar = _TerminalBar(task, total, self._console)
            else:
                return
        self._bar.update(done)
        if done >= total:
            self._hide()

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None


class _TerminalBar:
    """One bar of rich's."""

    def __init__(self, task: str, total: int, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.task = task
        columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bars = Progress(*columns, console=console, transient=True)
        self._bars.start()
        self._id = self._bars.add_task(task, total=total)

    def update(self, done: int) -> None:
        self._bars.update(self._id, completed=done)

    def stop(self) -> None:
        self._bars.stop()


class _NotebookBar:
    """A bar of plain HTML: those of rich need ipywidgets in a notebook."""

    def __init__(self, task: str, total: int) -> None:
        from IPython.display import HTML, display

        self.task, self._total, self._last = task, total, 0.0
        self._html = HTML
        self._handle = display(HTML(self._text(0)), display_id=True)

    def update(self, done: int) -> None:
        # Every update is a message to the browser; ten a second look smooth.
        if time.monotonic() - self._last > 0.1:
            self._last = time.monotonic()
            self._handle.update(self._html(self._text(done)))

    def stop(self) -> None:
        self._handle.update(self._html(""))

    def _text(self, done: int) -> str:
        return f"{escape(self.task)} <progress max={self._total} value={done}></progress> {done}/{self._total}"


def resolve_progress(progress: ProgressOption) -> Progress:
    """Turn a user's ``progress`` argument into the object that the stages report to."""
    if progress is None or progress is False:
        return SilentProgress()
    return ConsoleProgress() if progress is True else progress
