"""Run a remedy: train every setting that its budget allows, choose by the common rule, evaluate, write."""

import copy
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from prusc.config import RunConfig, SelectionConfig, config_from_dict
from prusc.data import Data
from prusc.data.table import Split
from prusc.engine.progress import Progress
from prusc.errors import ConfigError
from prusc.methods.method import Method, MethodInputs, Trained
from prusc.methods.registry import find_method
from prusc.models.weights import copy_state
from prusc.runs.artifacts import evaluation_to_dict, group_label_uses, run_to_dict
from prusc.runs.debias import debias
from prusc.runs.folder import METRICS, RunFolder
from prusc.runs.session import OpenRun, Original, find_original, make_untrained, open_run
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups, group_ids
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.representations import predict
from prusc.stages.selection.expected_accuracy import expected_accuracies
from prusc.stages.selection.judges import (
    Answers,
    PseudoGroups,
    SelectionScore,
    choose,
    describe_selection,
    is_better,
    make_judges,
    score_answers,
)


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What a remedy made of a network.

    Attributes:
        method: The remedy.
        model: The network.
        erm: The network before.
        chosen: Name of the setting that was chosen.
        judged_by: What chose it: ``cells``, ``classes`` or ``groups`` of the validation split; ``nothing`` if there was
            one setting only.
        evaluations: For ``erm`` and for the remedy (``subnetwork`` for PruSC), the figures by split.
        seconds: Wall time by stage.
    """

    method: Method
    model: nn.Module
    erm: nn.Module
    chosen: str
    judged_by: str
    evaluations: dict[str, dict[str, GroupEvaluation]]
    seconds: dict[str, float]

    @property
    def after(self) -> dict[str, GroupEvaluation]:
        """The figures of the network that is handed back, by split."""
        return self.evaluations[family_of(self.method)]


@dataclass(frozen=True, eq=False)
class _Tried:
    """One setting of a remedy, trained."""

    name: str
    settings: Any
    state: Mapping[str, Tensor]
    density: float
    facts: Mapping[str, float]
    predictions: Mapping[str, Tensor]
    seconds: float


def family_of(method: Method) -> str:
    """Return what the network that is handed back is called in ``metrics.json``."""
    return "subnetwork" if method.train is None else method.name


def run_method(
    model: nn.Module | None = None,
    data: Data | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> MethodResult:
    """Apply the remedy that ``config.method`` names; the arguments are those of :func:`prusc.debias`.

    Returns:
        The network of the chosen setting and everything about it.

    Raises:
        PruscError: If settings, data, network or run folder are not as they have to be, or the remedy needs group
            labels that the data do not have.
    """
    config = config or RunConfig()
    method = find_method(config.method)
    settings = settings_to_try(method, config)
    if method.train is None:
        done = debias(model, data, config, out=out, force=force, progress=progress)
        return MethodResult(
            method, done.model, done.erm, done.chosen["subnetwork"], done.judged_by, done.evaluations, done.seconds
        )
    run = open_run(model, data, config, out=out, force=force, progress=progress, check=partial(check_groups, method))
    untrained = make_untrained(run)
    if untrained is None:
        untrained = copy.deepcopy(run.network)
        if not method.starts_from_erm:
            run.say(f"{method.name} trains anew, from the weights of the given network, which cannot be drawn anew")
    original = find_original(run)
    inputs = _make_inputs(method, run, original, untrained)
    tried = []
    for number, setting in enumerate(settings):
        with run.stages.stage(f"training {describe_settings(setting)}"):
            tried.append(_try(method, setting, number, inputs, original, run))
    with run.stages.stage("evaluation"):
        result = _finish(method, inputs, original, tried, run)
    if run.folder is not None:
        run.folder.close()
    run.runtime.barrier()
    return result


def settings_to_try(method: Method, config: RunConfig) -> tuple[Any, ...]:
    """Return the settings that a run of this remedy trains.

    Raises:
        ConfigError: If ``config.method_options`` does not fit the remedy.
    """
    if not config.method_options:
        return method.settings[: config.tuning_budget]
    if method.train is None:
        raise ConfigError("method_options are for the other remedies; the settings of prusc are those of the run")
    values: dict[str, Any] = {}
    for option in config.method_options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"method_options must be like upweight=50, found {option!r}")
        try:
            values[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = text
    kind = type(method.settings[0])
    return (config_from_dict(kind, values, where=f"{method.name}: "),)


def describe_settings(settings: Any) -> str:
    """Return a short name of a setting: what differs from the defaults of its class."""
    default = type(settings)()
    changed = {f.name: getattr(settings, f.name) for f in fields(settings)}
    changed = {name: value for name, value in changed.items() if value != getattr(default, name)}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "defaults"


def check_groups(method: Method, data: Data) -> None:
    """Refuse data without the group labels that a remedy needs.

    Raises:
        ConfigError: If they are missing.
    """
    needed = {"none": (), "validation": ("val",), "training": ("train", "val")}[method.group_labels]
    for name in needed:
        if data.splits[name].attributes is None:
            raise ConfigError(
                f"method {method.name} needs group labels of the {name} split, and {data.name!r} has no attributes "
                "there; name them (data_options.attributes), or choose a method that needs none"
            )


def _make_inputs(method: Method, run: OpenRun, original: Original, untrained: nn.Module) -> MethodInputs:
    data, labels = run.data, method.group_labels
    val_groups = group_ids(data.val, data) if labels in ("validation", "training") else None
    train_groups = group_ids(data.train, data) if labels == "training" else None
    num_groups = data.num_classes
    for values in data.attribute_values:
        num_groups *= len(values)
    return MethodInputs(
        train=_hide(data.train),
        val=_hide(data.val),
        train_groups=train_groups,
        val_groups=val_groups,
        num_groups=0 if labels == "none" else num_groups,
        num_classes=data.num_classes,
        trained=original.model,
        untrained=run.runtime.place(untrained),
        head_name=original.head_name,
        clustering=original.clustering,
        val_cluster_ids=original.val_cluster_ids,
        config=run.config,
        runtime=run.runtime,
        transform=run.transform,
        train_transform=run.train_transform,
        progress=run.progress,
    )


def _hide(split: Split) -> Split:
    """Leave out what no remedy may see, unless it declares that it needs it."""
    return replace(split, attributes=None, regions=None)


def _try(method: Method, settings: Any, number: int, inputs: MethodInputs, original: Original, run: OpenRun) -> _Tried:
    """Train one setting, or read what a killed run had trained of it."""
    name, file = describe_settings(settings), f"stages/{method.name}-{number}"
    stored = run.stages.stored(partial(_read, name=file))
    if stored is None:
        assert method.train is not None, "PruSC has its own stages"
        begin = time.perf_counter()
        trained = method.train(inputs, settings)
        seconds = time.perf_counter() - begin
        predictions = _predict(trained.network, original, run)
        stored = (trained_to_dict(trained, seconds), dict(copy_state(trained.network)), predictions)
        if run.folder is not None:
            _write(run.folder, file, *stored)
    told, state, predictions = stored
    accuracy = (predictions["val"] == run.data.val.labels).double().mean().item()
    facts = "".join(f", {key.replace('_', ' ')} {value:g}" for key, value in told["facts"].items())
    run.say(f"{method.name} ({name}): validation accuracy {100 * accuracy:.1f} %{facts}")
    return _Tried(name, settings, state, told["density"], told["facts"], predictions, told["seconds"])


def _predict(network: nn.Module, original: Original, run: OpenRun) -> dict[str, Tensor]:
    """Return the predictions for the validation and the test split, and what `Answers` expects where that is asked."""
    val, test = (predict(network, run.data.splits[split], run.transform, run.runtime) for split in ("val", "test"))
    found = {"val": val.argmax(dim=1), "test": test.argmax(dim=1)}
    if original.clustering.untrained and run.config.selection.rule != "validation-groups":
        found["expected"] = expected_accuracies(val, run.data.val.labels, original.val_cluster_ids)
    return found


def _answers(predictions: Mapping[str, Tensor]) -> Answers:
    return Answers(predictions["val"], predictions.get("expected"))


def trained_to_dict(trained: Trained, seconds: float) -> dict[str, Any]:
    """Turn what a remedy found into plain values."""
    return {"density": trained.density, "facts": dict(trained.facts), "seconds": round(seconds, 3)}


_Stored = tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]


def _write(
    folder: RunFolder, name: str, told: dict[str, Any], state: dict[str, Tensor], predictions: dict[str, Tensor]
) -> None:
    folder.write_json(f"{name}.json", told)
    tensors = {f"state/{key}": value for key, value in state.items()}
    folder.write_tensors(f"{name}.safetensors", tensors | {f"of/{key}": value for key, value in predictions.items()})


def _read(folder: RunFolder, name: str) -> _Stored | None:
    if not folder.has(f"{name}.safetensors"):
        return None
    parts: dict[str, dict[str, Tensor]] = {"state": {}, "of": {}}
    for key, value in folder.read_tensors(f"{name}.safetensors").items():
        kind, _, rest = key.partition("/")
        parts[kind][rest] = value
    return folder.read_json(f"{name}.json"), parts["state"], parts["of"]


def _finish(
    method: Method, inputs: MethodInputs, original: Original, tried: Sequence[_Tried], run: OpenRun
) -> MethodResult:
    data, config = run.data, run.config
    by_groups = config.selection.rule == "validation-groups"
    judges = make_judges(
        data.val.labels,
        original.val_cluster_ids,
        group_ids(data.val, data) if by_groups else None,
        clustering=original.clustering,
        config=config.selection,
    )
    before = _predict(original.model, original, run)
    # Cells of a network that had yet to learn the classes are no mirror of what it learned, and judge first.
    order = judges if original.clustering.untrained else judges[::-1]
    on_val = [_answers(candidate.predictions) for candidate in tried]
    judge, scores, best = choose_setting(order, _answers(before), on_val, data.val.labels, config.selection)
    chosen = tried[best]
    judged_by = judge.kind if len(tried) > 1 else "nothing"
    evaluations = {
        name: {split: evaluate_groups(predictions[split], data.splits[split], data) for split in ("val", "test")}
        for name, predictions in (("erm", before), (method.name, chosen.predictions))
    }
    run.say(f"chosen of {len(tried)} by {judged_by}: {chosen.name}")
    result = MethodResult(
        method=method,
        model=method.rebuild(inputs, chosen.state),
        erm=original.model,
        chosen=chosen.name,
        judged_by=judged_by,
        evaluations=evaluations,
        seconds=run.stages.seconds,
    )
    if run.folder is not None:
        run.folder.write_csv("candidates.csv", _candidates_table(tried, scores, run))
        run.folder.write_tensors("model.safetensors", chosen.state)
        # Last of all: a folder that holds it is a finished run.
        run.folder.write_json(METRICS, _to_dict(result, chosen, original.clustering, run))
    return result


def choose_setting(
    judges: Sequence[PseudoGroups],
    before: Answers,
    tried: Sequence[Answers],
    labels: Tensor,
    config: SelectionConfig,
) -> tuple[PseudoGroups, list[SelectionScore], int]:
    """Choose by the first judge whose choice is better than the original; if there is none, by the classes.

    A gain in the cells that nobody can tell from chance must not be paid for with the accuracy of everybody.

    Returns:
        Who chose, what that judge thinks of every setting, and which one it is.
    """
    opinions = []
    for judge in judges:
        scores = [score_answers(answers, labels, judge, config) for answers in tried]
        # Settings are in no order of plainness, so there is no tolerance; of equals the first, the published one.
        best = choose(scores, 0.0)
        opinions.append((judge, scores, best))
        if is_better(before=before, tried=tried, chosen=best, labels=labels, judge=judge, config=config):
            return opinions[-1]
    return next((opinion for opinion in opinions if opinion[0].kind == "classes"), opinions[0])


def _candidates_table(tried: Sequence[_Tried], scores: Sequence[SelectionScore], run: OpenRun) -> pd.DataFrame:
    rows = []
    for candidate, score in zip(tried, scores, strict=True):
        right = candidate.predictions["val"] == run.data.val.labels
        row: dict[str, Any] = {
            "name": candidate.name,
            "density": candidate.density,
            "score": score.score,
            "score_error": score.error,
            "val_average_accuracy": right.double().mean().item(),
            "seconds": candidate.seconds,
        }
        if run.config.evaluate_candidates:
            test = evaluate_groups(candidate.predictions["test"], run.data.test, run.data)
            row |= {
                "test_average_accuracy": test.average_accuracy,
                "test_worst_group_accuracy": test.worst_group_accuracy,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _to_dict(result: MethodResult, chosen: _Tried, clustering: Clustering, run: OpenRun) -> dict[str, Any]:
    method, config = result.method, run.config
    uses = {"none": [], "validation": ["validation"], "training": ["training"]}[method.group_labels]
    return {
        **run_to_dict(config, run.data, {**run.stages.circumstances, "given_in_python": run.given}),
        "method": method.name,
        "method_title": method.title,
        "paper": method.paper,
        "handed_back": family_of(method),
        "settings": asdict(chosen.settings),
        "facts": dict(chosen.facts),
        "trained_on": ["train", "val"] if method.trains_on_validation else ["train"],
        "selection": describe_selection(config.selection.rule, clustering, of_settings=True),
        "judged_by": result.judged_by,
        "group_labels_used_for": [*uses, *group_label_uses(config)],
        "chosen": {"erm": "dense", method.name: chosen.name},
        "density": chosen.density,
        "num_clusters": clustering.num_clusters,
        "cluster_structure": clustering.structure,
        "seconds": result.seconds,
        "results": {
            name: {split: evaluation_to_dict(evaluation) for split, evaluation in splits.items()}
            for name, splits in result.evaluations.items()
        },
    }
