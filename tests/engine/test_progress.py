import io
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from prusc.engine.progress import ConsoleProgress, Progress, SilentProgress, resolve_progress
from tests.networks import Listener


def console_on(terminal: bool, *, jupyter: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, force_jupyter=jupyter, width=80, soft_wrap=True), file


def plain(text: str) -> str:
    """Without the codes that move the cursor, clear lines and colour."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_lines_are_printed_as_they_are() -> None:
    console, file = console_on(False)
    progress = ConsoleProgress(console)
    progress.log("erm: epoch 1 of 2, loss 0.123")
    progress.log("[bold]no markup[/bold] :smile: of a.png")
    progress.log("long " * 40 + "end")
    assert file.getvalue().splitlines() == [
        "erm: epoch 1 of 2, loss 0.123",
        "[bold]no markup[/bold] :smile: of a.png",
        "long " * 40 + "end",
    ]


def test_without_a_terminal_there_is_no_bar() -> None:
    console, file = console_on(False)
    with ConsoleProgress(console) as progress:
        for step in range(1, 4):
            progress.advance("ERM training", step, 3)
    assert file.getvalue() == ""


def test_on_a_terminal_a_bar_counts_the_steps_and_goes_with_the_last_one() -> None:
    console, file = console_on(True)
    progress = ConsoleProgress(console)
    progress.advance("ERM training", 1, 3)
    assert "\x1b[?25l" in file.getvalue(), "a bar that is shown hides the cursor"
    progress.advance("ERM training", 2, 3)
    assert "\x1b[?25h" not in file.getvalue(), "the bar is still there"
    progress.advance("ERM training", 3, 3)
    written = file.getvalue()
    assert "ERM training" in plain(written)
    assert "/3" in plain(written)
    assert written.count("\x1b[?25h") == 1, "the cursor is shown again"
    assert written.rstrip("\n").endswith("\x1b[2K"), "the line of the bar is cleared"
    progress.log("after it")
    assert plain(file.getvalue()).splitlines()[-1].endswith("after it")


def test_another_task_takes_the_place_of_a_bar_that_is_not_done() -> None:
    console, file = console_on(True)
    with ConsoleProgress(console) as progress:
        progress.advance("reading images", 1, 10)
        progress.advance("mask learning", 1, 10)
        assert file.getvalue().count("\x1b[?25h") == 1, "the first bar is gone"
    assert file.getvalue().count("\x1b[?25h") == 2, "the end of the with block removes the second"
    assert "mask learning" in plain(file.getvalue())


def test_an_error_in_the_block_removes_the_bar_and_is_not_swallowed() -> None:
    console, file = console_on(True)

    def fail() -> None:
        with ConsoleProgress(console) as progress:
            progress.advance("ERM training", 1, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.getvalue().count("\x1b[?25h") == 1


def test_it_prints_on_standard_error_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleProgress().log("a line")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a line\n")


@pytest.mark.parametrize("nothing", [None, False])
def test_none_and_false_are_silent(nothing: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    progress = resolve_progress(nothing)
    assert isinstance(progress, SilentProgress)
    progress.log("a line")
    progress.advance("a task", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_true_is_the_console_and_an_object_of_ones_own_is_itself(capsys: pytest.CaptureFixture[str]) -> None:
    own = Listener()
    assert resolve_progress(own) is own
    progress = resolve_progress(True)
    assert isinstance(progress, ConsoleProgress)
    progress.log("a line")
    assert capsys.readouterr().err == "a line\n"


@pytest.mark.parametrize("kind", [SilentProgress, ConsoleProgress, Listener])
def test_each_kind_fits_the_protocol(kind: type[Progress]) -> None:
    assert isinstance(kind(), Progress)
    assert not isinstance(object(), Progress)


def test_in_a_notebook_the_bar_is_html_that_goes_with_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)

    def display(html: str, *, display_id: bool) -> SimpleNamespace:
        assert display_id
        shown.append(html)
        return handle

    notebook = ModuleType("IPython.display")
    notebook.HTML, notebook.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    clock = iter([1.0, 1.0, 1.01, 2.0, 2.0])
    monkeypatch.setattr("prusc.engine.progress.time.monotonic", lambda: next(clock))
    console, _ = console_on(False, jupyter=True)
    progress = ConsoleProgress(console)
    for done in (1, 2, 3):
        progress.advance("a < b", done, 3)
    # The second step comes 10 ms after the first, and is not worth a message.
    bars = [f"a &lt; b <progress max=3 value={done}></progress> {done}/3" for done in (0, 1, 3)]
    assert shown == [*bars, ""]
