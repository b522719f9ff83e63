"""Every Python and shell block of the README and of the tutorials runs, page by page, in the order of the page."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
# These train with the default settings, as a reader would, or start a dozen programs.
SLOW = ("README.md", "docs/tutorials/stickers.md", "docs/tutorials/text.md", "docs/tutorials/your-own-images.md")
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "tutorials").glob("*.md")))
# Those of Python and the shell run; those for a terminal in a checkout are looked at; the others are there to be read.
LANGUAGES = ("python", "sh", "console", "toml", "text")

_BLOCK = re.compile(r"^```(?P<language>\S*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
# One process a page: the blocks of Python share a namespace, those of the shell the folder.
_DRIVER = """
import json, subprocess, sys
sys.path.insert(0, "")
namespace = {"__name__": "__main__"}
for language, source, line, page in json.load(open(sys.argv[1])):
    print(f"--- {page}, line {line}", flush=True)
    if language == "sh":
        subprocess.run(["bash", "-e", "-o", "pipefail", "-c", source], check=True)
    else:
        exec(compile("\\n" * (line - 1) + source, page, "exec"), namespace)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: What stands after the fence.
        source: What stands inside.
        line: Line of the page at which the source begins.
    """

    language: str
    source: str
    line: int


def read_blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(match["language"], match["source"], text.count("\n", 0, match.start("source")) + 1)
        for match in _BLOCK.finditer(text)
    ]


def prepare_readme(folder: Path) -> None:
    """Make what the README supposes a reader to have: images of pets, and a trained network."""
    (folder / "my_nets.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(8, num_classes))\n"
    )
    rng = np.random.default_rng(0)
    for name, colour in (("cat", 90), ("dog", 150)):
        (folder / "pets" / name).mkdir(parents=True)
        for index in range(100):
            pixels = rng.normal(colour, 50, (64, 64, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{index}.png")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution, head = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(8, 2)
    modules = {"0": convolution, "4": head}
    state = {f"{index}.{key}": value for index, module in modules.items() for key, value in module.state_dict().items()}
    save_file(state, folder / "my.safetensors")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page, marks=pytest.mark.slow if page in SLOW else ()) for page in PAGES]
)
def test_every_block_runs(page: str, tmp_path: Path) -> None:
    blocks = [block for block in read_blocks(page) if block.language in ("python", "sh")]
    assert blocks
    folder, programs = tmp_path / "folder", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    if page == "README.md":
        prepare_readme(folder)
    # The command of this checkout, whatever is installed.
    for name, call in (("prusc", f'"{sys.executable}" -m prusc'), ("python", f'"{sys.executable}"')):
        (programs / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "driver.py").write_text(_DRIVER)
    (tmp_path / "blocks.json").write_text(
        json.dumps([[block.language, block.source, block.line, page] for block in blocks])
    )
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, tmp_path / "driver.py", tmp_path / "blocks.json"],
        cwd=folder,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_names_its_language(page: str) -> None:
    """A block without one, or with another, would run nowhere and be wrong one day."""
    text = (ROOT / page).read_text("utf-8")
    blocks = read_blocks(page)
    assert 2 * len(blocks) == text.count("```"), "a fence does not stand at the beginning of its line"
    for block in blocks:
        assert block.language in LANGUAGES, f"{page}, line {block.line}: {block.language!r}"


def test_what_is_for_a_terminal_is_there() -> None:
    """`make` and `pip install` cannot run inside a test: their targets exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    consoles = [block for page in PAGES for block in read_blocks(page) if block.language == "console"]
    assert consoles
    for line in "".join(block.source for block in consoles).splitlines():
        command, argument = line.partition("#")[0].split()[:2]
        assert command in ("make", "pip"), line
        if command == "make":
            assert argument in targets, line
        else:
            assert line.startswith("pip install ."), line
    assert (ROOT / "pyproject.toml").is_file()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 80
