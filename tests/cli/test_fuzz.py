"""Broken tables, images and weights, thrown at `check`, `audit` and `run`: one clear error or a listed skip each."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prusc.cli.main import run_command_line
from prusc.models.build import SmallCNN
from tests.data.folders import write_class_folders, write_image, write_waterbirds

Rng = np.random.Generator
TINY = """
data_options = { image_size = 12 }
erm = { epochs = 1, batch_size = 8 }
clustering = { num_clusters = 2, candidates = [2] }
masks = { steps = 1, snapshots = 1, batch_size = 8 }
finetune = { steps = 1, batch_size = 8, head_l2 = [0.1], head_folds = 2, learning_rates = [] }
runtime = { device = "cpu", num_workers = 0 }
controls = false
audit = { num_permutations = 99 }
selection = { num_permutations = 99 }
"""
NASTY = (
    "", " ", "0", "-1", "7", "1e9", "nan", "NULL", "..", "../metadata.csv", "/etc/passwd", "C:\\x.png", "\\\\host\\x",
    "a\0b", "\ud7ff", "ß→", '"', '"""', ",", ";,;", "\t", "\r", "=1+1", "{0}", "%s", "[red]", "x" * 5_000,
    "001.Species", "000.Species/../000.Species/bird_0.png", "./000.Species/bird_1.png", "000.Species/bird_1", "train",
)  # fmt: skip


def pick(rng: Rng, items: list[Path] | tuple[str, ...] | list[str]) -> int:
    return int(rng.integers(len(items)))


def spoil_bytes(path: Path, rng: Rng) -> None:
    """Cut, flip, insert, or put something else in the place of a file."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(6)
    if kind == 0:
        content = content[: rng.integers(len(content))]
    elif kind == 1:
        for _ in range(rng.integers(1, 20)):
            content[rng.integers(len(content))] = rng.integers(256)
    elif kind == 2:
        place = rng.integers(len(content))
        content[place:place] = rng.bytes(int(rng.integers(1, 50)))
    elif kind == 3:
        start = rng.integers(len(content))
        del content[start : start + rng.integers(1, 100)]
    elif kind == 4:
        content = bytearray(rng.bytes(int(rng.integers(300))))
    else:
        content = bytearray(
            [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"{}"][rng.integers(6)]
        )
    path.write_bytes(bytes(content))


# ------------------------------------------------------------------------------------------------------ what is broken


def broken_table(root: Path, rng: Rng) -> list[str]:
    path = root / "metadata.csv"
    rows = [row.split(",") for row in path.read_text().splitlines()]
    kind = rng.integers(8)
    if kind == 0:
        spoil_bytes(path, rng)
        return []
    row, column = rng.integers(len(rows)), rng.integers(len(rows[0]))
    if kind in (1, 2, 3):
        for _ in range(rng.integers(1, 4)):
            row, column = rng.integers(len(rows)), rng.integers(len(rows[0]))
            rows[row][column] = NASTY[pick(rng, NASTY)]
    elif kind == 4:
        rows.insert(int(row), list(rows[rng.integers(len(rows))]))
    elif kind == 5:
        del rows[row][column:]
    elif kind == 6:
        for cells in rows:
            del cells[column]
    else:
        value = NASTY[pick(rng, NASTY)]
        for cells in rows[1:]:
            cells[column] = value
    separator = (",", ";", "\t")[rng.integers(3)] if kind == 7 else ","
    text = "\n".join(separator.join(cells) for cells in rows)
    path.write_text(text, "utf-8", errors="surrogatepass")
    return []


def broken_image(root: Path, rng: Rng) -> list[str]:
    images = sorted(root.rglob("*.png"))
    for _ in range(rng.integers(1, 4)):
        path = images[pick(rng, images)]
        if not path.is_file() or path.is_symlink():
            continue
        kind = rng.integers(9)
        if kind < 4:
            spoil_bytes(path, rng)
            continue
        path.unlink()
        if kind == 4:
            path.mkdir()
        elif kind == 5:
            path.symlink_to(root / "nowhere.png" if rng.integers(2) else root.parent / "secret.png")
        elif kind == 6:
            os.mkfifo(path)
        elif kind == 7:
            Image.new("1", (20_000, 20_000)).save(path)
        elif kind == 8:
            mode = ["L", "LA", "P", "RGBA", "CMYK", "I", "F", "I;16", "1"][rng.integers(9)]
            Image.new(mode, (int(rng.integers(1, 40)), 1)).save(path, "TIFF")
    return ["--skip-bad"] if rng.integers(2) else []


def broken_weights(root: Path, rng: Rng) -> list[str]:
    state = dict(SmallCNN(2).state_dict())
    path = root / ("w.safetensors" if rng.integers(2) else "w.pt")
    kind = rng.integers(4)
    name = list(state)[rng.integers(len(state))]
    if kind == 0:
        state[name] = torch.full(tuple(state[name].shape), [float("nan"), float("inf"), 1e38, 0.0][rng.integers(4)])
    elif kind == 1:
        state[name] = torch.zeros(tuple(int(n) for n in rng.integers(0, 4, int(rng.integers(4)))))
    elif kind == 2:
        state.pop(name)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    if kind == 3:
        spoil_bytes(path, rng)
    return ["--trained" if rng.integers(2) else "--weights", str(path)]


def broken_folders(root: Path, rng: Rng) -> list[str]:
    """Of the layout `imagefolder`: files and folders moved, removed and renamed."""
    shutil.rmtree(root)
    for number, split in enumerate(("train", "val", "test")[: rng.integers(1, 4)]):
        write_class_folders(root / split, 3, ("cat", "dog", "owl"))
        for path in (root / split).rglob("*.png"):  # no two files alike
            write_image(path, int(rng.integers(10_000)) + 10_000 * number)
    for _ in range(rng.integers(1, 5)):
        everything = sorted(root.rglob("*"))
        path = everything[pick(rng, everything)]
        name = ["", "x", "train", "cat", ".hidden", "x.txt", "x.png", "0", "[bold]"][rng.integers(9)]
        target = everything[pick(rng, everything)].parent / name
        if path.is_dir() and rng.integers(2):
            shutil.rmtree(path)
        elif name and not target.exists() and not target.is_relative_to(path):
            path.rename(target)
        elif path.is_file():
            spoil_bytes(path, rng)
        if not any(root.iterdir()):
            break
    return ["--skip-bad"] if rng.integers(2) else []


BREAKERS: tuple[Callable[[Path, Rng], list[str]], ...] = (broken_table, broken_image, broken_weights, broken_folders)


# ----------------------------------------------------------------------------------------------------------- the tests


def run_case(number: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, int]:
    """Break one data set, throw it at the commands, and return the exit codes of check and run."""
    rng = np.random.default_rng(number)
    root, out = folder / "data", folder / "run"
    breaker = BREAKERS[number % len(BREAKERS)]
    options = breaker(root, rng)
    case = f"case {number} of {breaker.__name__}"

    checked = run_command_line(["check", str(root), "--data-options.image-size", "12"])
    printed = capsys.readouterr()
    assert checked in (0, 1, 2), case
    assert (printed.err.count("prusc: ") == 1) == (checked == 2), (case, printed.err)
    found = printed.out
    assert bool(re.search(r"^\d+ problems?: ", found, re.MULTILINE)) == (checked == 1), (case, found)

    settings = ["--config", str(folder / "tiny.toml"), "--data", str(root), "--out", str(out), *options]
    audited = run_command_line(["audit", *settings])
    printed = capsys.readouterr()
    assert (printed.err.count("prusc: "), audited) in ((0, 0), (1, 2)), (case, printed.err)
    assert (out / "audit.json").is_file() == (audited == 0), case
    assert (printed.out == "") == (audited == 2), case
    assert (out / "skipped.csv").is_file() == ("skipped " in printed.err), case

    ran = run_command_line(["run", *settings])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err, (case, printed.err)
    # What an audit does not stand, the run that goes on with its stages does not either.
    assert audited == 0 or ran == 2, (case, printed.err)
    if ran == 0:
        assert (out / "metrics.json").is_file(), case
        assert (out / "skipped.csv").is_file() == ("skipped " in printed.err), case
        assert checked != 2, case
        assert "unreadable: " not in found or "--skip-bad" in options, (case, found)
    else:
        assert ran == 2, (case, printed.err)
        assert printed.err.count("prusc: ") == 1, (case, printed.err)
        assert printed.out == "", case
        # Weights that fit and overflow are noticed when they are used: the run folder is then there, and unfinished.
        assert not out.exists() or (breaker is broken_weights and not (out / "metrics.json").exists()), case
    return checked, ran


def run_cases(numbers: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> set[tuple[int, int]]:
    write_waterbirds(tmp_path / "whole", 32)
    (tmp_path / "tiny.toml").write_text(TINY)
    write_image(tmp_path / "secret.png", 99)
    codes = set()
    for number in numbers:
        shutil.copytree(tmp_path / "whole", tmp_path / "data")
        codes.add(run_case(number, tmp_path, capsys))
        shutil.rmtree(tmp_path / "data")
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    return codes


def test_some_broken_inputs_end_in_one_error_or_a_listed_skip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cases(range(32), tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(40, 1_040, 100))
def test_a_thousand_broken_inputs_end_in_one_error_or_a_listed_skip(
    start: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = run_cases(range(start, start + 100), tmp_path, capsys)
    # Some are refused, some are run all the same: neither command says the same of everything.
    assert {checked for checked, _ in codes} == {0, 1, 2}
    assert {ran for _, ran in codes} == {0, 2}
