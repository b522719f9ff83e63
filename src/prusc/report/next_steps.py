"""What a reader can do next, as commands that run with the paths of this folder."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from prusc.config.run import is_function_name
from prusc.report.record import RunRecord
from prusc.runs.folder import CONFIG


@dataclass(frozen=True)
class NextStep:
    """One thing to do.

    Attributes:
        why: What it is good for.
        command: The line to type.
    """

    why: str
    command: str


def list_next_steps(run: RunRecord) -> list[NextStep]:
    """Return what to do next after a run or an audit, the most useful first."""
    steps = []
    if run.is_audit:
        why = "Look for a network without the shortcut. The network and the clusters of this audit are used again."
        steps.append(_go_on(run, why, run.path))
    elif not run.is_finished:
        steps.append(_go_on(run, "Finish this run. Finished stages are used again.", run.path))
    else:
        steps += _after_run(run)
    data = Path(run.config.data)
    if "data" not in _given(run) and data.exists():
        check = f"prusc check {shlex.quote(str(data))}"
        steps.append(NextStep("List broken images, empty classes and other problems of the data.", check))
    if run.samples is not None:
        steps.append(
            NextStep(
                "Draw the map by t-SNE, which takes up to a minute.", f"prusc report {_quote(run.path)} --map tsne"
            )
        )
    return steps


def _after_run(run: RunRecord) -> list[NextStep]:
    seed = run.config.seed + 1
    again = _beside(run, f"seed-{seed}")
    steps = [_go_on(run, "Repeat the run with another seed, to see whether the result holds.", again, seed=seed)]
    compare = f"prusc compare {_quote(run.path)} {_quote(again)} --out {_quote(_beside(run, f'seed-{seed}.html'))}"
    steps.append(NextStep("Then compare both.", compare))
    tried_early = run.config.early_epoch == 0 or run.config.clustering.from_csv is not None
    if not run.remedy and run.metrics["verdict"] != "improved" and not tried_early and not _given(run):
        other = _beside(run, "untrained-clusters")
        steps.append(
            NextStep(
                "Try clusters of the network before its training, which helps if it started from pretrained weights.",
                f"{_command(run, other)} --clustering.checkpoint 0",
            )
        )
    return steps


def _go_on(run: RunRecord, why: str, out: Path, *, seed: int | None = None) -> NextStep:
    """Return the step that runs the settings of this folder, in Python if the run got objects from there."""
    given = _given(run)
    if not given:
        return NextStep(why, _command(run, out) + ("" if seed is None else f" --seed {seed}"))
    arguments = ", ".join(f"{name}={name}" for name in given)
    config = f"prusc.config.read_config({str(run.path / CONFIG)!r})"
    if seed is not None:
        config = f"dataclasses.replace({config}, seed={seed})"
    return NextStep(
        f"{why} In Python, because this run got its {' and '.join(given)} from there.",
        f"prusc.{'methods.run_method' if run.remedy else 'debias'}({arguments}, config={config}, out={str(out)!r})",
    )


def _command(run: RunRecord, out: Path) -> str:
    # A settings file may not name code of the user, so the command line repeats the name.
    model = f" --model {shlex.quote(run.config.model)}" if is_function_name(run.config.model) else ""
    return f"prusc run --config {_quote(run.path / CONFIG)}{model} --out {_quote(out)}"


def _beside(run: RunRecord, suffix: str) -> Path:
    """Return a path beside the folder, whose name begins with that of the folder."""
    # A folder that is named as "." has no name of its own.
    folder = run.path if run.path.name else run.path.absolute()
    return folder.with_name(f"{folder.name}-{suffix}")


def _given(run: RunRecord) -> tuple[str, ...]:
    return tuple(run.outcome.get("given_in_python", ()))


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
