"""The model card of the chosen network, as Markdown with the front matter that Hugging Face reads."""

import json
from collections.abc import Iterable, Sequence

from prusc.models.user_models import write_build_code, write_load_code
from prusc.report.record import RunRecord
from prusc.report.text import TRAINED_ON_VALIDATION, group_name, interval, percent
from prusc.runs.folder import CONFIG
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.selection.verdict import describe_doubt

_MAX_GROUPS = 40


def make_model_card(run: RunRecord) -> str:
    """Return the model card of a finished run.

    Args:
        run: Content of its folder.

    Returns:
        Markdown.
    """
    metrics = run.metrics
    test = {network: splits["test"] for network, splits in run.evaluations.items()}
    after = test["subnetwork"]
    worst = after.worst_group
    lines = [
        *_front_matter(run, after),
        "",
        f"# {_text(run.data_name)}: {_text(str(metrics['model']))}, {_kind(run)}",
        "",
        f"An image classifier of {len(run.class_names)} classes ({_listed(run.class_names)}), made by prusc "
        f"{_text(str(metrics.get('prusc', '')))}. Verdict: **{_text(str(metrics['verdict']))}**: "
        f"{_text(str(metrics['verdict_text']))}. {_doubt(run)}".rstrip(),
        "",
        "## Results",
        "",
        f"Results on the test split ({after.num_samples} samples). Brackets hold the 95 % interval of the worst group.",
        "",
        *_table(
            ["network", "average accuracy", "worst-group accuracy", "n (worst group)"],
            [
                [
                    FAMILY_TITLES[network],
                    percent(figures.average_accuracy),
                    f"{percent(figures.worst_group_accuracy)} [{interval(figures.worst_group_ci95)}]",
                    str(figures.worst_group.num_samples),
                ]
                for network, figures in test.items()
            ],
        ),
        "",
        "### By group",
        "",
        *_group_table(test["erm"], after),
        "",
        "## How it was made",
        "",
        f"- Weights kept: {percent(metrics['density'])} of the weights that the mask covers.",
        f"- Chosen: `{_code(str(metrics['chosen']['subnetwork']))}`, {_judged(run)}.",
        f"- {run.group_uses}",
        f"- Seed: {metrics['seed']}. All settings are in `{CONFIG}` in the run folder.",
        "",
        "## How to use it",
        "",
        "`model.safetensors` is a plain state dict for the class of the network. Pruned weights are zero.",
        "",
        *_usage(run),
        "",
        "## Limits",
        "",
        f"- The worst group ({_text(group_name(worst))}) has {worst.num_samples} test samples.",
        "- Only the groups above were measured. A shortcut may remain that neither they nor the pseudo-attribute show.",
        "- The verdict rests on the validation split. Results on other data may differ.",
        *([f"- {TRAINED_ON_VALIDATION}"] if metrics.get("trains_on_validation") else []),
        "- prusc does not know the licences of the data and of the original weights.",
        "",
    ]
    return "\n".join(lines)


def _front_matter(run: RunRecord, after: GroupEvaluation) -> list[str]:
    """Return the YAML front matter; JSON strings are valid YAML."""
    data, name = json.dumps(run.data_name), json.dumps(f"{run.metrics['model']} on {run.data_name}")
    figures = [
        ("accuracy", "average accuracy", after.average_accuracy),
        ("accuracy", "worst-group accuracy", after.worst_group_accuracy),
    ]
    metrics = [
        f"          - {{type: {kind}, name: {json.dumps(name)}, value: {value:.4f}}}" for kind, name, value in figures
    ]
    return [
        "---",
        "library_name: pytorch",
        "pipeline_tag: image-classification",
        "tags: [prusc, image-classification, spurious-correlation, pruning]",
        "metrics: [accuracy]",
        "model-index:",
        f"  - name: {name}",
        "    results:",
        "      - task: {type: image-classification}",
        f"        dataset: {{type: {data}, name: {data}, split: test}}",
        "        metrics:",
        *metrics,
        "---",
    ]


def _doubt(run: RunRecord) -> str:
    before, after = (run.evaluations[name]["test"].worst_group_accuracy for name in ("erm", "subnetwork"))
    return describe_doubt(str(run.metrics["verdict"]), before, after)


def _judged(run: RunRecord) -> str:
    judge = str(run.metrics.get("judged_by", "cells"))
    return "the only setting" if judge == "nothing" else f"by the {_text(judge)} of the validation split"


def _kind(run: RunRecord) -> str:
    if run.remedy:
        return f"after {_text(run.remedy)}"
    if run.metrics["verdict"] in ("nothing-better", "no-evidence"):
        return "the ERM network"
    return "a subnetwork" if run.metrics["density"] < 1 else "the whole network with a new head"


def _group_table(before: GroupEvaluation, after: GroupEvaluation) -> list[str]:
    pairs = list(zip(before.groups, after.groups, strict=True))
    rows = [
        [_text(group_name(old)), str(old.num_samples), percent(old.accuracy), percent(new.accuracy), interval(new.ci95)]
        for old, new in pairs[:_MAX_GROUPS]
    ]
    table = _table(["group", "n", "ERM network", "chosen network", "95 % interval, chosen network"], rows)
    hidden = len(pairs) - len(rows)
    return [*table, "", f"{hidden} more groups are in metrics.json."] if hidden else table


def _usage(run: RunRecord) -> list[str]:
    if "model" in run.metrics.get("given_in_python", ()):
        build = "model = ...  # build your own network here"
    else:
        build = write_build_code(run.metrics["model"], len(run.class_names), "model")
    load = write_load_code("model", "model.safetensors", run.metrics.get("network_changes", ()))
    first = ["import torch"] if "torch." in load and "import torch\n" not in build else []
    return [
        "```python",
        *first,
        "from safetensors.torch import load_file",
        *f"{build}\n{load}\nmodel.eval()".splitlines(),
        "```",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_text, names[:20]))
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _text(name: str) -> str:
    """Return a name as Markdown text: on one line, with all markup escaped."""
    one_line = " ".join(name.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#!|~" else letter for letter in one_line)


def _code(name: str) -> str:
    return " ".join(name.split()).replace("`", "'").replace("|", "/")
