"""A benchmark of seconds, on a folder of sixteen images."""

from pathlib import Path

from tests.data.folders import write_waterbirds

TINY = """
methods = ["prusc", "class-balanced"]
seeds = [0]

[settings]
controls = false
max_settings = 1
erm = { epochs = 1, batch_size = 4 }
clustering = { num_clusters = 2 }
masks = { steps = 2, snapshots = 1, batch_size = 4 }
finetune = { steps = 1, batch_size = 4, head_l2 = [0.1], learning_rates = [0.001] }
runtime = { device = "cpu", num_workers = 0 }

[data.birds]
data = "FOLDER"
data_options = { image_size = 12 }

[network.small-cnn]
"""


def tiny_matrix(root: Path) -> str:
    """The matrix, and its images in a folder beside."""
    return TINY.replace("FOLDER", str(write_waterbirds(root / "birds")))


def write_matrix(root: Path, text: str | None = None) -> Path:
    path = root / "matrix.toml"
    path.write_text(tiny_matrix(root) if text is None else text)
    return path
