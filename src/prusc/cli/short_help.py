"""Short help: the options that people need, by group, with an example. ``--help-all`` lists every option."""

from collections.abc import Mapping

_NETWORK = {
    "--model NAME": "small-cnn, a name in timm, torchvision/NAME, local-dir:FOLDER, or FILE.py:function",
    "--trained FILE": "weights of your trained classifier; without them prusc trains one",
    "--weights FILE, --pretrained": "weights that training starts from",
}
_DATA = {
    "--data PATH": "folder or table of images, or the name of a packaged data set",
    "--data-options.attributes A B": "known attributes, for evaluation only",
    "--data-options.image-size N": "side of the images in pixels",
    "--data-options.mean, .std": "normalisation, if it is not that of the network's publisher",
}
_RUN = {
    "--out FOLDER": "run folder; the same command resumes an unfinished run",
    "--force": "throw away what the folder holds",
    "--preset NAME, --config FILE": "take every setting from there (prusc presets lists them)",
    "--seed N": "decides everything random",
    "--runtime.device NAME": "auto, cpu, cuda or mps",
}
_OUTPUT = {
    "--quiet, --verbose": "print warnings and results only; or times, memory and the trace of an error too",
    "--help-all": "every option with its default",
}

_TEXTS: Mapping[str, tuple[str, str, Mapping[str, Mapping[str, str]], str]] = {
    "run": (
        "[OPTIONS]",
        "Extract a network without the shortcuts of a classifier, without group labels, or apply another method.",
        {
            "data": _DATA,
            "network": _NETWORK,
            "run": {**_RUN, "--method NAME": "another remedy to compare with (docs/reference/remedies.md)"},
            "output": _OUTPUT,
        },
        "prusc run --data pets --model resnet18 --trained my.safetensors --out runs/pets",
    ),
    "audit": (
        "[OPTIONS]",
        "Find the shortcuts of a classifier: where it fails samples that conflict with one, and images to look at.",
        {
            "data": _DATA,
            "network": _NETWORK,
            "or neither": {"--features FILE": "representations and predictions (NPZ, Parquet, NPY) of any modality"},
            "run": _RUN,
            "output": _OUTPUT,
        },
        "prusc audit --data pets --model resnet18 --trained my.safetensors --out runs/pets",
    ),
    "check": (
        "DATA [OPTIONS]",
        "Read a data set once and list its content and its problems. The exit code is 1 if there are problems.",
        {
            "data": {
                "DATA": "folder or table of images",
                "--layout NAME": "name of the layout, if it is not recognised",
                "--data-options.target NAME": "column of the class",
                "--data-options.attributes A B": "columns of known attributes",
            },
            "output": {
                "--near-duplicates": "also look for images in different splits that are almost the same",
                "--format json": "one JSON object, for failures too",
                **_OUTPUT,
            },
        },
        "prusc check pets --format json",
    ),
}


def short_help(command: str) -> str | None:
    """Return the short help of a command; ``None`` if its full help is short enough."""
    if command not in _TEXTS:
        return None
    usage, description, groups, example = _TEXTS[command]
    width = max(len(option) for options in groups.values() for option in options)
    lines = [f"usage: prusc {command} {usage}", "", description]
    for group, options in groups.items():
        lines += ["", group, *(f"  {option:<{width}}  {text}" for option, text in options.items())]
    return "\n".join([*lines, "", "example", f"  {example}"])
