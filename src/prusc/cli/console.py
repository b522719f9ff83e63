"""Tables and verdicts in the terminal."""

import json
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prusc.benchmark import BenchResult, summarise_rows
from prusc.benchmark.summary import MEASURE_TITLES
from prusc.methods import MethodResult
from prusc.report.group_gap import describe_group_gap
from prusc.runs.audit import AUDIT_FILE, IMAGES_FILE, AuditResult
from prusc.runs.export.task import ExportResult
from prusc.runs.features import HEAD_FILE, SNIPPET_FILE, FeaturesResult
from prusc.runs.folder import MODULARITY
from prusc.runs.group_labels import describe_group_uses, list_group_uses
from prusc.runs.modularity import ModularityResult
from prusc.runs.result import FAMILY_TITLES, DebiasingResult
from prusc.runs.samples.files import LABEL_ISSUES, NAMES
from prusc.runs.samples.names import names_from_dict
from prusc.stages.audit.clusters import AUDIT_TEXTS
from prusc.stages.evaluation import GroupEvaluation, wilson_interval
from prusc.stages.evidence import clear_evidence, describe_evidence
from prusc.stages.modularity.accuracy import NO_MASK
from prusc.stages.pseudo_attributes.clustering import describe_structure
from prusc.stages.pseudo_attributes.words import name_values_of, source_in_use
from prusc.stages.selection.verdict import VERDICT_TEXTS, describe_doubt


def _print_clusters(result: DebiasingResult, console: Console) -> None:
    """Print each cluster with its main class and the samples of other classes."""
    words = name_values_of(source_in_use(result.evidence))
    table = Table(title=f"{words.title} on the validation split; accuracies in %: ERM network -> chosen network")
    for name in (words.one, "main class", "samples", "accuracy", "other samples", "accuracy"):
        table.add_column(name, justify="left" if name == "main class" else "right")
    for cluster, (main, *others) in groupby(result.cells, key=lambda cell: cell.cluster):
        row = [str(cluster), result.class_names[main.label]]
        for cells in ([main], others):
            num = sum(cell.num_samples for cell in cells)
            before, after = (
                100 * sum(cell.num_samples * value for cell, value in zip(cells, values, strict=True)) / max(num, 1)
                for values in ([cell.before for cell in cells], [cell.after for cell in cells])
            )
            row += [str(num), f"{before:.1f} -> {after:.1f}" if num else "-"]
        table.add_row(*row)
    console.print(table)


def print_method(result: MethodResult, out: Path) -> None:
    """Print the ERM network and the chosen network of a method, on the test split."""
    if result.debiasing is not None:
        print_result(result.debiasing, out)
        return
    titles = {"erm": FAMILY_TITLES["erm"], result.method.name: result.method.title}
    console = _output()
    console.print(_networks_table(result.evaluations, titles, {result.method.name: result.chosen}))
    needs = {
        "none": "no group labels",
        "validation": "the group labels of the validation split",
        "training": "the group labels of the training and the validation split",
    }[result.method.group_labels]
    tuned = f"its setting was chosen by the {result.judged_by} of the validation split"
    console.print(
        f"{result.method.title} ({result.method.paper}) used {needs}; "
        f"{'only one setting was tried' if result.judged_by == 'nothing' else tuned}. Run folder: {out}",
        markup=False,
        highlight=False,
    )


def print_bench(result: BenchResult, out: Path) -> None:
    """Print a table for each data set and network of a benchmark, and what failed."""
    console = _output()
    for panel in summarise_rows(result.rows):
        title = f"{panel.data}, {panel.network}: test split, means over seeds in %; settings chosen by {panel.rule}"
        table = Table(title=escape(title))
        for name in ("method", "group labels", "seeds", "average", MEASURE_TITLES[panel.measure], "cost (ERM: 1)"):
            table.add_column(name, justify="left" if name in ("method", "group labels") else "right")
        for method in panel.methods:
            figures = (100 * method.average.mean, 100 * method.by(panel.measure).mean, method.cost)
            seeds = str(method.num_seeds)
            table.add_row(escape(method.title), method.needs, seeds, *(f"{figure:.1f}" for figure in figures))
        console.print(table)
    lines = [f"failed: {cell}: {error}" for cell, error in result.failed]
    lines += [f"missing: {line}" for line in result.missing]
    lines += [f"Rows, tables and plot: {out}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_export(result: ExportResult) -> None:
    """Print what was exported, and which layers had to stay whole."""
    lines = [
        f"Network: {result.file}, {result.num_parameters:,} of {result.num_parameters_before:,} parameters and "
        f"{100 * result.flops:.1f} % of the operations; its logits differ by at most {result.largest_difference:.2g} "
        "from those of the run's network on test images",
    ]
    reasons = dict.fromkeys(result.whole.values())
    for reason in reasons:
        names = [name for name, own in result.whole.items() if own == reason]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"whole: {', '.join(names[:3])}{more}: {reason}")
    lines.append(f"How to load it: {result.folder / 'README.md'}")
    for line in lines:
        _output().print(line, markup=False, highlight=False, soft_wrap=True)


def print_result(result: DebiasingResult, out: Path) -> None:
    """Print the clusters, the networks on the test split, and the verdict."""
    console = _output()
    _print_clusters(result, console)
    console.print(_networks_table(result.evaluations, FAMILY_TITLES, result.chosen))
    before, after = (result.evaluations[name]["test"].attributes for name in ("erm", "subnetwork"))
    if len(before) > 1:
        alone = "; ".join(
            f"{old.name} {100 * old.worst_group_accuracy:.1f} -> {100 * new.worst_group_accuracy:.1f}"
            for old, new in zip(before, after, strict=True)
        )
        console.print(
            f"worst group of each attribute alone, ERM network -> chosen network: {alone}",
            markup=False,
            highlight=False,
        )
    console.print(f"{result.verdict}: {VERDICT_TEXTS[result.verdict]}", markup=False, highlight=False)
    if doubt := _doubt(result):
        console.print(doubt, markup=False, highlight=False)
    console.print(
        f"The chosen network keeps {100 * result.mask.density:.0f} % of the weights; the {result.judged_by} of the "
        f"validation split chose it. {_describe_group_uses(result)} Run folder: {out}",
        markup=False,
        highlight=False,
    )


def _describe_group_uses(result: DebiasingResult) -> str:
    uses = list_group_uses(
        result.config,
        has_attributes=bool(result.evaluations["erm"]["test"].attributes),
        names_suspects=any(cluster.is_suspect for cluster in result.clusters),
    )
    return describe_group_uses(uses)


def _doubt(result: DebiasingResult) -> str:
    """Return what the groups of the test split say against the verdict; empty if they say nothing against it."""
    before, after = (result.evaluations[name]["test"] for name in ("erm", "subnetwork"))
    if result.verdict not in ("improved", "unproven"):
        return describe_group_gap(before)
    return describe_doubt(result.verdict, before.worst_group_accuracy, after.worst_group_accuracy)


def _networks_table(
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]], titles: Mapping[str, str], chosen: Mapping[str, str]
) -> Table:
    num_samples = next(iter(evaluations.values()))["test"].num_samples
    table = Table(title=f"Test split, {num_samples} samples; accuracies in %, 95 % intervals in brackets")
    for name in ("network", "average", "group-balanced", "worst group", "samples of it", "chosen candidate"):
        table.add_column(name, justify="left" if name in ("network", "chosen candidate") else "right")
    for name, splits in evaluations.items():
        test = splits["test"]
        table.add_row(
            titles[name],
            f"{100 * test.average_accuracy:.1f}",
            f"{100 * test.balanced_accuracy:.1f}",
            _with_interval(test.worst_group_accuracy, test.worst_group_ci95),
            str(test.worst_group.num_samples),
            chosen.get(name, ""),
        )
    return table


def print_audit(result: AuditResult, out: Path) -> None:
    """Print the accuracy, the values of the pseudo-attribute, suspects first, what they follow, and the verdict."""
    found, evaluation = result.audit, result.evaluation
    console = _output()
    low, high = wilson_interval(round(evaluation.average_accuracy * result.num_samples), result.num_samples)
    console.print(
        f"Accuracy on {result.num_samples} validation samples: "
        f"{_with_interval(evaluation.average_accuracy, (low, high))} %",
        highlight=False,
    )
    if result.weak_classes:
        console.print(f"Classes that fail more than the others: {', '.join(result.weak_classes)}", markup=False)
    if evaluation.attributes:
        console.print(_tabulate_groups(evaluation))
    table = Table(
        title=f"{result.words.title} on the validation split, {result.num_samples} samples, suspects first; accuracies "
        "in %, 95 % intervals in brackets"
    )
    figures = ("samples", "accuracy", "silhouette", "others", "their accuracy", "lost", "p")
    columns = (result.words.one, "main class", *figures)
    for name in columns:
        table.add_column(name, justify="left" if name == "main class" else "right")
    for cluster in found.clusters:
        row = [
            f"{cluster.cluster}{' suspect' if cluster.is_suspect else ''}",
            result.class_names[cluster.main_label],
            str(sum(cluster.class_counts)),
            f"{100 * cluster.accuracy:.1f}",
            "-" if cluster.silhouette is None else f"{cluster.silhouette:.2f}",
            str(cluster.num_others),
            _with_interval(cluster.others_accuracy, cluster.others_ci95),
            _with_interval(cluster.loss, cluster.loss_ci95),
            f"{cluster.p_value:.3f}",
        ]
        table.add_row(*row)
    console.print(table)
    follows = "; ".join(
        f"{agreement.name} {agreement.adjusted_mutual_information:.2f} (purity {100 * agreement.purity:.0f} %)"
        for agreement in result.agreements
    )
    lines = (
        *(f"Source {one.source}: {describe_evidence(one)}" for one in result.evidence),
        f"Agreement of the {result.words.many} (adjusted mutual information; 1 if identical) with: {follows}",
        f"{found.verdict}, {describe_structure(found.structure)}: {AUDIT_TEXTS[found.verdict]}{_together(result)}",
        f"Samples to look at first: {out / IMAGES_FILE}; all figures: {out / AUDIT_FILE}",
    )
    for line in (*_tell_names(out), *lines):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _together(result: AuditResult) -> str:
    """Return what all conflicting samples together say where no single value is suspect."""
    has_suspect = any(cluster.is_suspect for cluster in result.audit.clusters)
    clear = () if has_suspect else clear_evidence(result.evidence, result.significance)
    sources = " and ".join(one.source for one in clear)
    told = f"; yet taken together, the samples that conflict with {sources} fail more, beyond chance"
    return told if clear else ""


def _tabulate_groups(evaluation: GroupEvaluation) -> Table:
    table = Table(title="Groups by the given attributes; accuracies in %, 95 % intervals in brackets")
    names = ("class", *evaluation.groups[0].attributes)
    for name in (*names, "samples", "accuracy"):
        table.add_column(name, justify="left" if name in names else "right")
    for group in evaluation.groups:
        figures = (str(group.num_samples), _with_interval(group.accuracy, group.ci95))
        table.add_row(group.label, *group.attributes.values(), *figures)
    return table


def _tell_names(out: Path) -> list[str]:
    """Return what the run folder says of the suspects and the labels, in a line each."""
    file = out / NAMES
    if not file.is_file():
        return []
    names = names_from_dict(json.loads(file.read_text("utf-8")), {})
    lines = []
    for suspect in names.suspects:
        alone = [item.text for item in (*suspect.differences, *suspect.given) if item.follows is None][:4]
        told = "; ".join(alone) or "nothing that prusc measures"
        lines.append(f"What sets suspect {suspect.value} apart from the rest of its classes: {told}")
    issues = out / LABEL_ISSUES
    num_issues = len(pd.read_csv(issues)) if issues.is_file() else 0
    if num_issues:
        lines.append(f"Labels that look wrong: {num_issues}, listed in {issues}")
    return lines


def print_features(result: FeaturesResult, out: Path) -> None:
    """Print the audit of features, then the given predictions and the chosen head on the test split."""
    print_audit(result, out)
    console = _output()
    titles = {"given": "given predictions", "head": "chosen head"}
    chosen = result.heads.loc[result.heads["is_chosen"], "name"].tolist()
    evaluations = {name: {"test": found} for name, found in result.evaluations.items()}
    console.print(_networks_table(evaluations, titles, {"head": chosen[0]} if chosen else {}))
    text = "No head is better than the given predictions."
    if chosen:
        files = f"{out / HEAD_FILE}, applied by {out / SNIPPET_FILE}"
        doubt = "" if result.is_better else "; it is not proven to be better"
        text = f"The {result.judged_by} of the validation split chose the head: {files}{doubt}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_modularity(result: ModularityResult, out: Path) -> None:
    """Print the accuracies under each mask, and how much of their weights the functions share."""
    console = _output()
    table = Table(
        title=f"Masks by {escape(result.by)}, over {len(result.masks)} seeds; accuracies on the test split and shares "
        "in %, 95 % intervals in brackets"
    )
    for name in ("function", "weights kept", "IoU with the others", "IoU with another seed"):
        table.add_column(name, justify="left" if name == "function" else "right")
    for row in result.to_frame().to_dict("records"):
        figures = [
            _with_interval(row[key], (row[f"{key}_low"], row[f"{key}_high"]))
            for key in ("iou_with_others", "iou_with_another_seed")
        ]
        table.add_row(escape(str(row["function"])), f"{100 * row['density']:.1f}", *figures)
    console.print(table)
    if result.removal is not None:
        table = Table(title="Relative drop of accuracy in %, under the mask that was learned without a class")
        for name in ("class", "drop of this class", "largest drop of another", "which"):
            table.add_column(name, justify="right" if "drop" in name else "left")
        for entry in result.removal.removed:
            drops = (
                _with_interval(entry.drop, entry.drop_ci95),
                _with_interval(entry.other_drop, entry.other_drop_ci95),
            )
            table.add_row(escape(entry.name), *drops, escape(entry.most_hit))
        console.print(table)
    else:
        table = Table(title="Accuracy on a function (row) under its own mask and under no mask")
        for name in ("function", "no mask", "its own mask", "samples"):
            table.add_column(name, justify="left" if name == "function" else "right")
        for name in result.masks[0]:
            whole, own = (result.accuracies.get(mask, name) for mask in (NO_MASK, name))
            cells = (_with_interval(entry.accuracy, entry.ci95) for entry in (whole, own))
            table.add_row(escape(name), *cells, str(own.num_samples))
        console.print(table)
    console.print(f"All figures: {out / MODULARITY}", markup=False, highlight=False, soft_wrap=True)


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{100 * value:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _output() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)
