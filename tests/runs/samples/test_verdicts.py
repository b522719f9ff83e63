"""What is said of each sample: confidences that are those of the logits, errors in their order, and their kinds."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from prusc.runs.samples.shown import choose_shown
from prusc.runs.samples.table import list_label_issues, make_table
from prusc.runs.samples.verdicts import judge_samples
from prusc.runs.samples.write import _represent
from prusc.stages.audit.label_issues import KINDS
from tests.networks import striped_data
from tests.runs.samples.exhibits import make_exhibit


def test_confidence_is_the_probability_of_the_recorded_prediction_and_errors_are_in_its_order() -> None:
    exhibit, values = make_exhibit(striped_data(60))
    seen = _represent(exhibit)
    found = judge_samples(exhibit, values, seen, generator=torch.Generator().manual_seed(0))
    labels = exhibit.data.val.labels.tolist()
    worst = {}
    for family, name in (("erm", "before"), ("subnetwork", "after")):
        predicted = exhibit.predictions[family]["val"].tolist()
        for index, row in enumerate(seen[name].logits.double().tolist()):
            powers = [torch.tensor(value - max(row)).exp().item() for value in row]
            expected = powers[predicted[index]] / sum(powers)
            assert found.confidence[family][index].item() == pytest.approx(expected, abs=1e-5)
            if predicted[index] != labels[index]:
                worst[index] = max(worst.get(index, 0), expected)
    assert set(found.errors) == set(worst)
    shares = [worst[index] for index in found.errors]
    assert shares == pytest.approx(sorted(shares, reverse=True))


def test_given_logits_come_before_those_of_the_networks() -> None:
    exhibit, values = make_exhibit(striped_data(30), with_after=False)
    sure = 50 * torch.nn.functional.one_hot(exhibit.predictions["erm"]["val"], 3).float()
    exhibit = replace(exhibit, logits={"erm": sure})
    found = judge_samples(exhibit, values, _represent(exhibit), generator=torch.Generator().manual_seed(0))
    assert found.confidence["erm"].min() > 0.999
    assert set(found.confidence) == {"erm"}


def test_errors_get_a_thumbnail_before_random_samples() -> None:
    exhibit, values = make_exhibit(striped_data(60))
    found = judge_samples(exhibit, values, _represent(exhibit), generator=torch.Generator().manual_seed(0))
    clusters = pd.DataFrame(
        {"label": exhibit.data.val.labels.numpy(), "cluster_assign": values.numpy(), "similarity": 0.5}
    )
    shown = choose_shown(clusters, exhibit, found.errors)
    rest = shown.on_map[len(shown.pictures) :]
    wrong = [index in set(found.errors) for index in rest]
    assert wrong == sorted(wrong, reverse=True)
    table = make_table(exhibit, shown, clusters, found)
    val = table[table["split"] == "val"]
    assert val["confidence/erm"].between(0, 1).all()
    assert (table[table["split"] == "test"]["confidence/erm"] == -1).all()
    assert found.checked is not None
    assert val["kind"].tolist() == [KINDS[kind] for kind in found.checked.kinds.tolist()]
    issues = list_label_issues(table, exhibit.data.class_names)
    assert len(issues) == (val["kind"] == "mislabelled").sum()
    assert issues["confidence"].is_monotonic_decreasing
