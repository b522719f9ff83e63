"""What a run tells while it works: one line per stage, and how far the stage is."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Whoever wants to watch; the command line prints, a notebook may do something else."""

    def say(self, text: str) -> None:
        """Tell one finished thought, such as what a stage found."""

    def advance(self, task: str, done: int, total: int) -> None:
        """Tell how many of a task's steps are done; called at every step, so it has to be cheap."""


class SilentProgress:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Ignore the text."""

    def advance(self, task: str, done: int, total: int) -> None:
        """Ignore the step."""
