import re
from dataclasses import replace

import pandas as pd
import pytest
import torch

from prusc import DebiasingResult, debias
from prusc.masks import BinaryMask
from prusc.runs.result import FAMILY_TITLES, summarise, tabulate_networks
from prusc.stages.candidates import DENSE_FAMILIES, Candidate
from prusc.stages.evaluation import evaluate_groups
from prusc.stages.pseudo_attributes.clustering import describe_structure
from prusc.stages.selection.scores import SelectionScore
from tests.networks import striped_data
from tests.run_folders import TINY


@pytest.fixture(scope="module")
def result() -> DebiasingResult:
    return debias(data=striped_data(90), config=TINY)


def test_a_result_says_in_a_line_what_changed(result: DebiasingResult) -> None:
    before, after = result.evaluations["erm"]["test"], result.evaluations["subnetwork"]["test"]
    said = re.fullmatch(
        r"DebiasingResult\((\S+): (\S+), worst group of the test split (\S+) -> (\S+) %, average (\S+) -> (\S+) %\)",
        repr(result),
    )
    assert said is not None
    assert said.group(1, 2) == (result.verdict, result.chosen["subnetwork"])
    figures = [before.worst_group_accuracy, after.worst_group_accuracy, before.average_accuracy, after.average_accuracy]
    assert [float(value) for value in said.group(3, 4, 5, 6)] == pytest.approx([100 * f for f in figures], abs=0.051)


def test_its_table_has_a_row_for_each_network(result: DebiasingResult) -> None:
    table = result.to_frame()
    assert table.network.tolist() == [FAMILY_TITLES[name] for name in result.evaluations]
    assert set(table.network) == set(FAMILY_TITLES.values())
    by_network = table.set_index("network")
    for family, splits in result.evaluations.items():
        row = by_network.loc[FAMILY_TITLES[family]]
        assert row.average_accuracy == splits["test"].average_accuracy
        assert row.worst_group_accuracy == splits["test"].worst_group_accuracy
        assert (row.ci95_low, row.ci95_high) == splits["test"].worst_group_ci95
        assert row.candidate == result.chosen[family]
    html = result._repr_html_()
    assert html.count("<tr") == 1 + len(table)
    assert "ERM network" in html
    assert "DebiasingResult(" in html


def test_the_results_of_the_stages_show_themselves(result: DebiasingResult) -> None:
    structure = describe_structure(result.clustering.structure)
    assert repr(result.clustering) == f"Clustering(3 clusters of 90 samples, {structure})"
    evaluation = result.evaluations["erm"]["test"]
    assert re.fullmatch(
        r"GroupEvaluation\(average \d+\.\d %, worst group \d+\.\d % \[\d+\.\d, \d+\.\d\] of 9 groups, 90 samples\)",
        repr(evaluation),
    )
    assert evaluation._repr_html_().count("<tr") == 1 + 9
    assert result.clustering._repr_html_().count("<tr") == 1 + len(result.clustering.trials)


def test_candidates_are_summarised_with_the_scores_of_the_judge() -> None:
    labels = torch.tensor([0, 1, 1, 0])
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]])
    half = BinaryMask({"weight": torch.tensor([True, False])})
    data = striped_data(12)
    data = replace(data, val=replace(data.val.subset(torch.arange(4)), labels=labels))
    test = evaluate_groups(data.test.labels, data.test, data)
    candidates = [
        Candidate("dense", "as-is", half, logits),
        Candidate("dense/head(l2=1)", "head", half, -logits, test=test),
        Candidate("dense/weights(lr=1)", "weights", half, logits),
    ]
    scores = {candidate.name: SelectionScore(n / 5, n / 10, n / 100) for n, candidate in enumerate(candidates)}
    found = summarise(candidates, scores, DENSE_FAMILIES, data)
    assert found[0].val is None
    assert found[1].val == evaluate_groups((-logits).argmax(dim=1), data.val, data)
    assert [one.family for one in found] == ["erm", "last_layer", "finetune_all"]
    assert [one.family for one in summarise(candidates, scores, {}, data)] == ["subnetwork"] * 3
    assert [one.name for one in found] == ["dense", "dense/head(l2=1)", "dense/weights(lr=1)"]
    assert [one.score for one in found] == pytest.approx([0.0, 0.15, 0.3])
    assert [(one.mean_accuracy, one.worst_accuracy, one.score_error) for one in found] == [
        (0.0, 0.0, 0.0),
        (0.2, 0.1, 0.01),
        (0.4, 0.2, 0.02),
    ]
    assert [one.val_average_accuracy for one in found] == [0.75, 0.25, 0.75]
    assert [one.density for one in found] == [0.5] * 3
    assert [one.test for one in found] == [None, test, None]


def test_a_network_without_a_title_or_a_candidate_keeps_its_name() -> None:
    data = striped_data(12)
    evaluation = evaluate_groups(data.test.labels, data.test, data)
    table = tabulate_networks(
        {"erm": {"test": evaluation}, "other": {"test": evaluation}}, {"erm": "ERM"}, {"erm": "x"}
    )
    expected = pd.DataFrame({"network": ["ERM", "other"], "candidate": ["x", ""]})
    assert table[["network", "candidate"]].equals(expected)
    assert (table.average_accuracy == 1).all()
