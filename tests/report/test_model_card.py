"""The model card: its front matter as YAML, its tables, and its code, which is run."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prusc.models.build import build_model
from prusc.report.model_card import make_model_card
from prusc.report.reading.run import read_run
from tests.run_folders import change_metrics, make_run


def card_of(run: Path) -> str:
    return make_model_card(read_run(run))


def test_the_front_matter_is_yaml_with_the_results_of_the_chosen_network(shared_run: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    matter = yaml.safe_load(card_of(shared_run).split("---\n")[1])
    [model] = matter["model-index"]
    assert model["name"] == "small-cnn on made <b>up</b>"
    after = json.loads((shared_run / "metrics.json").read_text())["results"]["subnetwork"]["test"]
    [result] = model["results"]
    assert [metric["value"] for metric in result["metrics"]] == [
        round(after["average_accuracy"], 4),
        round(after["worst_group_accuracy"], 4),
    ]
    assert result["dataset"]["name"] == "made <b>up</b>"


def test_every_network_and_group_is_in_a_table(shared_run: Path) -> None:
    card = card_of(shared_run)
    metrics = json.loads((shared_run / "metrics.json").read_text())
    for family in metrics["results"].values():
        worst = family["test"]["worst_group_accuracy"]
        low, high = family["test"]["worst_group_ci95"]
        assert f"{100 * worst:.1f}\N{NO-BREAK SPACE}% [{100 * low:.1f} to {100 * high:.1f}]" in card
    for row in ("| ERM network |", "| chosen network |", "| cat, place in |", "| dog, place out |"):
        assert card.count(f"\n{row}") == 1
    assert "# made \\<b\\>up\\</b\\>: small-cnn, a subnetwork" in card
    assert (
        "- Group labels (the known attributes) were read by the evaluation and the names of suspects only; no choice"
        in card
    )


@pytest.mark.parametrize(
    ("changes", "title", "how"),
    [
        ({}, "a subnetwork", "by the cells of the validation split"),
        ({"density": 1.0}, "the whole network with a new head", "by the cells of the validation split"),
        ({"verdict": "no-evidence"}, "the ERM network", "by the cells of the validation split"),
        ({"judged_by": "nothing"}, "a subnetwork", "the only setting"),
        ({"method": "jtt", "method_title": "J*T*T"}, "after J\\*T\\*T", "by the cells of the validation split"),
    ],
)
def test_the_card_says_what_the_network_is(run: Path, changes: dict[str, object], title: str, how: str) -> None:
    change_metrics(run, **changes)
    card = card_of(run)
    assert f": small-cnn, {title}\n" in card
    assert f"- Chosen: `mask@5`, {how}." in card


def test_many_groups_and_classes_are_cut_and_counted(tmp_path: Path) -> None:
    names = [f"class-{number}" for number in range(25)]
    card = card_of(make_run(tmp_path / "run", class_names=names, num_samples=2_000))
    assert "An image classifier of 25 classes (" in card
    assert "class-19 and 5 more)" in card
    assert "10 more groups are in metrics.json." in card
    assert len(re.findall(r"^\| class-", card, flags=re.MULTILINE)) == 40


def test_the_code_loads_the_network(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("small-cnn", 2, generator=torch.Generator().manual_seed(3))
    save_file(model.state_dict(), run / "model.safetensors")
    [code] = re.findall(r"```python\n(.*?)```", card_of(run), flags=re.DOTALL)
    monkeypatch.chdir(run)
    names: dict[str, object] = {}
    exec(code, names)
    loaded = names["model"]
    assert isinstance(loaded, torch.nn.Module)
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    change_metrics(run, given_in_python=["model"])
    assert "model = ...  # build your own network here" in card_of(run)
