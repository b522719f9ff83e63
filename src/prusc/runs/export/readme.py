"""The README of an exported network, with code that loads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from prusc.models.user_models import write_build_code, write_load_code
from prusc.runs.export.formats import FORMATS, INPUT
from prusc.stages.selection.verdict import describe_doubt

_PREPARE = '''
import json

import numpy as np
from PIL import Image, ImageOps

settings = json.load(open("preprocessing.json"))


def prepare(path):
    """Return an image file as the network takes it."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if settings["colour"] == "RGB" else "L")
    side, size, crop = min(image.size), settings["resize"], settings["crop"]
    if size is not None:
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1)
    if crop is not None:
        top, left = (image.height - crop) // 2, (image.width - crop) // 2
        pixels = pixels[top : top + crop, left : left + crop]
    pixels = (pixels * settings["scale"] - settings["mean"]) / settings["std"]
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)
'''

_LOAD = {
    "onnx": f'''
import onnxruntime

session = onnxruntime.InferenceSession("{FORMATS["onnx"].file_name}", providers=["CPUExecutionProvider"])


def predict(inputs):
    return session.run(None, {{"{INPUT}": inputs}})[0]
''',
    "torch-export": f'''
import torch

network = torch.export.load("{FORMATS["torch-export"].file_name}").module()


def predict(inputs):
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()
''',
    "torchscript": f'''
import torch

network = torch.jit.load("{FORMATS["torchscript"].file_name}")


def predict(inputs):
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()
''',
}

_LOAD_WEIGHTS = """
import torch
from safetensors.torch import load_file
{build}
{load}
network.eval()


def predict(inputs):
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()
"""

_CALL = """
logits = predict(prepare("image.png"))[0]
print(settings["classes"][int(logits.argmax())])
"""


def make_readme(
    metrics: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    facts: Sequence[str],
    *,
    format_name: str,
    is_compact: bool,
) -> str:
    """Return the README of an export folder.

    Args:
        metrics: Content of the run's ``metrics.json``.
        preprocessing: Content of ``preprocessing.json``.
        facts: What was exported and how it was checked, a sentence each.
        format_name: A key of `FORMATS`.
        is_compact: Whether pruned channels were removed.

    Returns:
        Markdown. Its Python blocks, run one after the other in the folder, print the class of ``image.png``.
    """
    results = {name: splits["test"] for name, splits in metrics["results"].items()}
    before, after = results["erm"], results[metrics.get("handed_back", "subnetwork")]
    is_image = preprocessing["kind"] == "image"
    blocks = [_PREPARE] if is_image else []
    blocks.append(_load_code(metrics, preprocessing, format_name, is_compact=is_compact))
    if is_image:
        blocks.append(_CALL)
    code = [line for block in blocks for line in ("```python", *block.strip("\n").splitlines(), "```", "")]
    return "\n".join(
        [
            f"# {metrics['model']} on {metrics['data']['name']}",
            "",
            f"An image classifier of {len(preprocessing['classes'])} classes, exported by prusc {metrics['prusc']}.",
            _describe_run(metrics),
            "",
            "| test split | ERM network | this network |",
            "| --- | --- | --- |",
            *(
                f"| {title} | {100 * before[key]:.1f} % | {100 * after[key]:.1f} % |"
                for key, title in (
                    ("average_accuracy", "average accuracy"),
                    ("worst_group_accuracy", "worst-group accuracy"),
                )
            ),
            "",
            *(f"- {fact}" for fact in facts),
            "",
            "## How to use it",
            "",
            "`preprocessing.json` says what the network expects and which output is which class."
            if is_image
            else "The network takes inputs as the run stored them; `preprocessing.json` has their shape.",
            "",
            *code,
            "All results and limits are in `model-card.md` of the run folder.",
            "",
        ]
    )


def _describe_run(metrics: Mapping[str, Any]) -> str:
    if metrics.get("method", "prusc") != "prusc":
        return f"It is the network after {metrics['method_title']} ({metrics['paper']})."
    results = metrics["results"]
    worst = [results[name]["test"]["worst_group_accuracy"] for name in ("erm", "subnetwork")]
    doubt = describe_doubt(metrics["verdict"], *worst)
    return f"Verdict of the run: {metrics['verdict']}: {metrics['verdict_text']}.{f' {doubt}' if doubt else ''}"


def _load_code(
    metrics: Mapping[str, Any], preprocessing: Mapping[str, Any], format_name: str, *, is_compact: bool
) -> str:
    if format_name != "safetensors":
        return _LOAD[format_name]
    file_name, num_classes = FORMATS["safetensors"].file_name, len(preprocessing["classes"])
    build = write_build_code(metrics["model"], num_classes, "network").removeprefix("import torch\n")
    if "model" in metrics.get("given_in_python", ()):
        build = "\nnetwork = ...  # your own network"
    if is_compact:
        build = f"import prusc\n{build}"
    load = f'prusc.load_compact(network, load_file("{file_name}"))'
    if not is_compact:
        load = write_load_code("network", file_name, metrics.get("network_changes", ()))
    return _LOAD_WEIGHTS.format(build=build, load=load)
