import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.data import InputTransform
from prusc.data.images import decode_image
from prusc.runs.export.readme import make_readme
from tests.runs.export.test_task import run_readme

METRICS = {
    "model": "small-cnn",
    "data": {"name": "things"},
    "prusc": "1",
    "verdict": "improved",
    "verdict_text": "better",
    "results": {
        name: {"test": {"average_accuracy": value, "worst_group_accuracy": value / 2}}
        for name, value in (("erm", 0.5), ("subnetwork", 0.75))
    },
}
IMAGE = {
    "kind": "image",
    "colour": "RGB",
    "classes": ["a", "b"],
    "resize": 20,
    "crop": 13,
    "scale": 1 / 255,
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
}


def test_its_code_prepares_an_image_as_prusc_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 256, (31, 47, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    (tmp_path / "preprocessing.json").write_text(json.dumps(IMAGE))
    text = make_readme(METRICS, IMAGE, ["A fact."], format_name="onnx", is_compact=False)
    # Without the network: only the code that prepares the image.
    (tmp_path / "README.md").write_text(text.split("```python\nimport onnxruntime")[0])
    found = run_readme(tmp_path, monkeypatch)["prepare"]("image.png")
    expected = InputTransform((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), crop_size=13)(
        decode_image(tmp_path / "image.png", 20)[None]
    )
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)
    assert "| average accuracy | 50.0 % | 75.0 % |" in text
    assert "- A fact." in text


def test_other_inputs_have_no_code_for_images() -> None:
    text = make_readme(METRICS, {"kind": "tensor", "classes": ["a"]}, [], format_name="torchscript", is_compact=True)
    assert "prepare" not in text
    assert "torch.jit.load" in text
