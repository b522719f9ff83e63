"""What the terminal shows of a result, each figure computed anew from the result."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from prusc import AuditResult, DebiasingResult, RunConfig, audit, debias
from prusc.benchmark import BenchResult, Cell
from prusc.cli.console import print_audit, print_bench, print_method, print_result
from prusc.methods import find_method
from prusc.methods.prusc import PRUSC
from prusc.stages.evidence import describe_evidence
from tests.benchmark.rows import make_rows
from tests.methods.test_method import make_result
from tests.networks import striped_data
from tests.run_folders import TINY

Capture = pytest.CaptureFixture[str]
OUT = Path("runs/[some]")


@pytest.fixture(scope="module")
def debiased() -> DebiasingResult:
    return debias(data=striped_data(90), config=TINY)


@pytest.fixture(scope="module")
def audited() -> AuditResult:
    return audit(data=striped_data(), config=TINY)


def read(capsys: Capture) -> str:
    """What was printed, without frames and line breaks."""
    return " ".join(re.sub("[\u2500-\u257f]", " ", capsys.readouterr().out).split())


def test_another_method_says_which_labels_it_used_and_who_chose(capsys: Capture) -> None:
    result = make_result(striped_data())
    print_method(result, OUT)
    printed = read(capsys)
    assert "Test split, 60 samples; accuracies in %, 95 % intervals in brackets" in printed
    assert re.search(r"ERM network 33\.3 33\.3 0\.0 \[0\.0, [\d.]+\] \d+ Idle 100\.0 100\.0 100\.0 \[", printed)
    assert "upweight=2" in printed
    assert printed.endswith(
        "Idle (nobody) used no group labels; its setting was chosen by the cells of the validation split. "
        "Run folder: runs/[some]"
    )


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ("validation", "used the group labels of the validation split; only one setting was tried."),
        ("training", "used the group labels of the training and the validation split; only one setting was tried."),
    ],
)
def test_group_labels_and_a_single_setting_are_named(needs: str, expected: str, capsys: Capture) -> None:
    result = make_result(striped_data())
    print_method(replace(result, method=replace(result.method, group_labels=needs), judged_by="nothing"), OUT)
    assert expected in read(capsys)


def test_a_run_of_prusc_shows_clusters_networks_and_the_verdict(debiased: DebiasingResult, capsys: Capture) -> None:
    print_result(debiased, OUT)
    printed = read(capsys)
    first = min(cell.cluster for cell in debiased.cells)
    own = [cell for cell in debiased.cells if cell.cluster == first]
    main, num_others = own[0], sum(cell.num_samples for cell in own[1:])
    assert (
        f"{first} {debiased.class_names[main.label]} {main.num_samples} {100 * main.before:.1f} -> "
        f"{100 * main.after:.1f} {num_others} " in printed
    )
    erm = debiased.evaluations["erm"]["test"]
    low, high = (100 * bound for bound in erm.worst_group_ci95)
    assert (
        f"ERM network {100 * erm.average_accuracy:.1f} {100 * erm.balanced_accuracy:.1f} "
        f"{100 * erm.worst_group_accuracy:.1f} [{low:.1f}, {high:.1f}] {erm.worst_group.num_samples}" in printed
    )
    assert f" {debiased.verdict}: " in printed
    assert printed.endswith(
        f"The chosen network keeps {100 * debiased.mask.density:.0f} % of the weights; the {debiased.judged_by} of the "
        "validation split chose it. Group labels (the known attributes) were read by the evaluation only; no choice "
        "depends on them. Run folder: runs/[some]"
    )


def test_the_result_of_prusc_behind_the_contract_is_shown_alike(debiased: DebiasingResult, capsys: Capture) -> None:
    print_result(debiased, OUT)
    expected = read(capsys)
    result = replace(make_result(striped_data()), method=PRUSC, debiasing=debiased)
    print_method(result, OUT)
    assert read(capsys) == expected


def test_an_audit_shows_every_cluster_and_what_the_clusters_agree_with(audited: AuditResult, capsys: Capture) -> None:
    print_audit(audited, OUT)
    printed = read(capsys)
    assert "Values of the pseudo-attribute on the validation split, 60 samples, suspects first;" in printed
    assert f"Accuracy on 60 validation samples: {100 * audited.evaluation.average_accuracy:.1f} " in printed
    for one in audited.evidence:
        assert f"Source {one.source}: {describe_evidence(one)}" in printed
    assert len(audited.evidence) == 2
    for group in audited.evaluation.groups:
        assert f"{group.label} {' '.join(group.attributes.values())} {group.num_samples} " in printed
    for cluster in audited.audit.clusters:
        name = f"{cluster.cluster}{' suspect' if cluster.is_suspect else ''}"
        size = sum(cluster.class_counts)
        row = f"{name} {audited.class_names[cluster.main_label]} {size} {100 * cluster.accuracy:.1f} "
        assert row in printed
        assert f" {cluster.p_value:.3f}" in printed
    for agreement in audited.agreements:
        share = f"(purity {100 * agreement.purity:.0f} %)"
        assert f"{agreement.name} {agreement.adjusted_mutual_information:.2f} {share}" in printed
    assert printed.endswith("Samples to look at first: runs/[some]/look_at.csv; all figures: runs/[some]/audit.json")


def test_an_audit_names_classes_that_fail_more_than_the_others_if_there_are_any(
    audited: AuditResult, capsys: Capture
) -> None:
    told = "Classes that fail more than the others: "
    print_audit(replace(audited, weak_classes=()), OUT)
    assert told not in read(capsys)
    print_audit(replace(audited, weak_classes=("b", "[a]")), OUT)
    assert f"{told}b, [a]" in read(capsys)


def test_a_benchmark_shows_each_panel_and_what_failed(capsys: Capture) -> None:
    rows = make_rows(2, data=("[birds]",))
    print_bench(
        BenchResult(
            rows,
            ((Cell("[birds]", "net", RunConfig(method="jtt", seed=3)), "out of [memory]"),),
            ("figures: no matplotlib",),
        ),
        OUT,
    )
    printed = read(capsys)
    assert "[birds], net: test split, means over seeds in %; settings chosen by pseudo-groups" in printed
    for method, own in rows.groupby("method"):
        figures = (100 * own.average_accuracy.mean(), 100 * own.worst_group_accuracy.mean())
        pattern = rf"{str(method).upper()} [\w ]*?2 {figures[0]:.1f} {figures[1]:.1f} {own.cost.mean():.1f}"
        assert re.search(pattern, printed), method
    assert printed.endswith(
        "failed: jtt on [birds], net, seed 3: out of [memory] missing: figures: no matplotlib "
        "Rows, tables and plot: runs/[some]"
    )


def test_methods_are_named_by_their_titles(capsys: Capture) -> None:
    jtt = find_method("jtt")
    result = make_result(striped_data())
    evaluations = {"erm": result.evaluations["erm"], "jtt": result.evaluations["idle"]}
    print_method(replace(result, method=jtt, evaluations=evaluations), OUT)
    assert f"JTT ({jtt.paper}) used no group labels;" in read(capsys)
