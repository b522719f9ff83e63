"""CelebA of noise on disk, and the commands of the tests that run on it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prusc.cli.main import run_command_line

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]

NUM_IMAGES = 24
ATTRIBUTES, PARTITIONS = "list_attr_celeba.txt", "list_eval_partition.txt"
TINY = """
data_options = { image_size = 12 }
erm = { epochs = 1, batch_size = 8 }
clustering = { num_clusters = 2, candidates = [2] }
masks = { steps = 2, snapshots = 1, batch_size = 8 }
finetune = { steps = 2, batch_size = 8, head_l2 = [0.1], head_folds = 2 }
runtime = { device = "cpu", num_workers = 0 }
audit = { num_permutations = 99 }
selection = { num_permutations = 99 }
"""


def write_faces(root: Path) -> Path:
    """CelebA's official layout: 24 images of noise, 16 of them for training, blond where the number is odd."""
    (root / "img_align_celeba").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 22, 18, 3), dtype=np.uint8)
    attributes, partitions = [str(NUM_IMAGES), "Blond_Hair Male"], []
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(image(root, number))
        attributes.append(f"{number:06d}.jpg {1 if number % 2 else -1} {1 if number // 2 % 2 else -1}")
        partitions.append(f"{number:06d}.jpg {(0, 0, 1, 2)[number // 4 % 4]}")
    (root / ATTRIBUTES).write_text("\n".join(attributes) + "\n")
    (root / PARTITIONS).write_text("\n".join(partitions) + "\n")
    (root / "tiny.toml").write_text(TINY)
    return root


def image(root: Path, number: int = 3) -> Path:
    return root / "img_align_celeba" / f"{number:06d}.jpg"


def on_faces(faces: Path, out: Path, options: str = "") -> list[str]:
    """The arguments of a run of less than a second."""
    settings = ["--config", str(faces / "tiny.toml"), "--data", str(faces), "--out", str(out)]
    return ["run", *settings, *options.split()]


def check_refused(capsys: Capture, arguments: list[str], expected: str) -> str:
    """Run the command, which has to print one error that says these things, in this order, and to return 2."""
    capsys.readouterr()
    assert run_command_line(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.count("prusc: ") <= 1
    assert re.search(".*".join(map(re.escape, expected.split(" ... "))), " ".join(printed.err.split())), printed.err
    return printed.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replace(name: str, old: str, new: str) -> Change:
    return lambda root: (root / name).write_text(re.sub(old, new, (root / name).read_text()))


def cut(root: Path, number: int = 3) -> None:
    image(root, number).write_bytes(image(root, number).read_bytes()[:300])
