"""Where stages report their progress: log lines, and the steps of the current task."""

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@runtime_checkable
class Progress(Protocol):
    """Receives the progress of a run. The command line prints it; users may pass their own."""

    def log(self, text: str) -> None:
        """Report one line, such as the result of a stage."""

    def advance(self, task: str, done: int, total: int) -> None:
        """Report how many steps of a task are done. It is called at every step, so it must be fast."""


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
    """

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, soft_wrap=True)
        self._bars: RichProgress | None = None
        self._shown: tuple[str, TaskID] | None = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()

    def log(self, text: str) -> None:
        """Print a line."""
        # Without emoji=False rich replaces a name such as :smile: in a path.
        self._console.print(text, markup=False, highlight=False, emoji=False)

    def advance(self, task: str, done: int, total: int) -> None:
        """Move the bar."""
        if not (self._console.is_terminal or self._console.is_jupyter):
            return
        if self._shown is None or self._shown[0] != task:
            self._hide()
            self._shown = task, self._show(task, total)
        assert self._bars is not None
        self._bars.update(self._shown[1], completed=done)
        if done >= total:
            self._hide()

    def _show(self, task: str, total: int) -> "TaskID":
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bars = RichProgress(*columns, console=self._console, transient=True)
        self._bars.start()
        return self._bars.add_task(task, total=total)

    def _hide(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._shown = None


def resolve_progress(progress: ProgressOption) -> Progress:
    """Turn a user's ``progress`` argument into the object that the stages report to."""
    if progress is None or progress is False:
        return SilentProgress()
    return ConsoleProgress() if progress is True else progress
