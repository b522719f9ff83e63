"""Methods that train a network for each of their settings; the common judges choose one of these."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor, nn

from prusc.data.table import Split
from prusc.methods.inputs import MethodInputs
from prusc.methods.method import Method, MethodResult
from prusc.methods.settings import describe_settings
from prusc.models.weights import copy_state
from prusc.runs.artifacts import describe_candidate, evaluation_to_dict, run_to_dict
from prusc.runs.folder import METRICS, RunFolder
from prusc.runs.group_labels import list_group_uses
from prusc.runs.session import Session
from prusc.runs.start import Start, make_untrained, start_run
from prusc.stages.cells import make_cells
from prusc.stages.evaluation import evaluate_groups, group_ids
from prusc.stages.representations import predict
from prusc.stages.selection.judge import Judge, make_judge
from prusc.stages.selection.texts import describe_selection


@dataclass(frozen=True, eq=False)
class Trained:
    """What a method returns for one setting.

    Attributes:
        network: Network that takes normalised inputs and returns logits [N, classes].
        density: Share of the maskable weights that the network keeps.
        facts: Figures of the training, such as the number of samples taken for bias-conflicting.
        val_logits: Logits of the validation split from fits that have not seen the sample, if the method fits to that
            split; they judge in place of the network's.
        own_score: Score on validation by which the paper would choose among settings, without group labels; the higher
            the better. It stands in ``candidates.csv``, and the common judges choose.
    """

    network: nn.Module
    density: float = 1.0
    facts: Mapping[str, float] = field(default_factory=dict)
    val_logits: Tensor | None = None
    own_score: float | None = None


def worst_accuracy_over(
    logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"], group_ids: Int[Tensor, " samples"]
) -> float:
    """Return the lowest accuracy over the groups that have samples, known or inferred."""
    right = (logits.argmax(dim=1) == labels).double()
    return min(right[group_ids == group].mean().item() for group in group_ids.unique())


def _same_class(inputs: MethodInputs, state: Mapping[str, Tensor]) -> nn.Module:
    network = inputs.erm_network()
    network.load_state_dict(state)
    return network


@dataclass(frozen=True, kw_only=True)
class TrainedMethod(Method):
    """A method that trains one network for each of its settings.

    Attributes:
        train: Trains a network by one of the settings; it changes neither these nor the inputs.
        rebuild: Builds the network from a state dict; the default is for a network of the ERM network's class.
    """

    train: Callable[[MethodInputs, Any], Trained]
    rebuild: Callable[[MethodInputs, Mapping[str, Tensor]], nn.Module] = _same_class

    def apply(self, session: Session) -> MethodResult:
        """Train every setting within the budget, choose one by the common judges, evaluate it and write the results."""
        untrained = make_untrained(session)
        if untrained is None:
            untrained = copy.deepcopy(session.network)
            if not self.starts_from_erm:
                session.log(
                    f"{self.name} starts from the weights of the given network, because its initial weights are unknown"
                )
        start = start_run(session)
        inputs = make_inputs(self, session, start, untrained)
        tried = []
        for number, settings in enumerate(self.settings_to_try(session.config, len(session.data.train))):
            with session.stages.timed(f"training {describe_settings(settings)}"):
                tried.append(_try(self, settings, number, inputs, session))
        with session.stages.timed("evaluation"):
            result = _finish(self, inputs, start, tried, session)
        session.stages.close()
        return result


@dataclass(frozen=True, eq=False)
class _Tried:
    """One trained setting of a method, or the ERM network."""

    name: str
    val_logits: Tensor
    test_predictions: Tensor
    state: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Any = None
    density: float = 1.0
    facts: Mapping[str, float] = field(default_factory=dict)
    own_score: float | None = None
    seconds: float = 0.0

    @property
    def predictions(self) -> dict[str, Tensor]:
        """Predicted class of each sample, by split."""
        return {"val": self.val_logits.argmax(dim=1), "test": self.test_predictions}


def make_inputs(method: Method, session: Session, start: Start, untrained: nn.Module) -> MethodInputs:
    """Return what a method is given, with only those group labels that it declares to need."""
    data, labels = session.data, method.group_labels
    num_groups = data.num_classes
    for values in data.attribute_values:
        num_groups *= len(values)
    return MethodInputs(
        train=_hide(data.train),
        val=_hide(data.val),
        train_groups=group_ids(data.train, data) if labels == "training" else None,
        val_groups=group_ids(data.val, data) if labels in ("validation", "training") else None,
        num_groups=0 if labels == "none" else num_groups,
        num_classes=data.num_classes,
        trained=start.erm,
        untrained=session.runtime.place(untrained),
        clustered=session.runtime.place(start.clustered),
        head_name=start.head_name,
        cells=make_cells(start.attribute, data, "train"),
        config=session.config,
        feed=session.feed.of(_hide(data.train)),
        train_feed=session.train_feed.of(_hide(data.train)),
        progress=session.stages,
    )


def _hide(split: Split) -> Split:
    """Leave out attributes and regions, which no method may read from its splits."""
    return replace(split, attributes=None, regions=None)


def _try(method: TrainedMethod, settings: Any, number: int, inputs: MethodInputs, session: Session) -> _Tried:
    """Train one setting, or read it from the folder of an interrupted run."""
    name, file = describe_settings(settings), f"stages/{method.name}-{number}"

    def make() -> _Tried:
        begin = time.perf_counter()
        trained = method.train(inputs, settings)
        seconds = round(time.perf_counter() - begin, 3)
        tried = _evaluate(name, trained.network, session, trained.val_logits)
        state = copy_state(trained.network)
        return replace(
            tried,
            state=state,
            density=trained.density,
            facts=dict(trained.facts),
            own_score=trained.own_score,
            seconds=seconds,
        )

    made: _Tried = session.stages.make_or_read(make, partial(_read, name=file), partial(_write, name=file))
    tried = replace(made, name=name, settings=settings)
    accuracy = (tried.predictions["val"] == session.data.val.labels).double().mean().item()
    facts = "".join(f", {key.replace('_', ' ')} {value:g}" for key, value in tried.facts.items())
    session.log(f"{method.name} ({name}): validation accuracy {100 * accuracy:.1f} %{facts}")
    return tried


def _evaluate(name: str, network: nn.Module, session: Session, val_logits: Tensor | None = None) -> _Tried:
    """Compute the predictions of a network on the validation split, unless they are given, and on the test split."""
    val = predict(network, session.feed.of(session.data.val)) if val_logits is None else val_logits
    return _Tried(name, val, predict(network, session.feed.of(session.data.test)).argmax(dim=1))


def _write(folder: RunFolder, tried: _Tried, name: str) -> None:
    found = {"density": tried.density, "facts": tried.facts, "own_score": tried.own_score}
    found |= {"seconds": tried.seconds}
    folder.write_json(f"{name}.json", found)
    tensors = {f"state/{key}": value for key, value in tried.state.items()}
    tensors |= {"of/val_logits": tried.val_logits, "of/test_predictions": tried.test_predictions}
    folder.write_tensors(f"{name}.safetensors", tensors)


def _read(folder: RunFolder, name: str) -> _Tried | None:
    if not folder.has(f"{name}.safetensors"):
        return None
    parts: dict[str, dict[str, Tensor]] = {"state": {}, "of": {}}
    for key, value in folder.read_tensors(f"{name}.safetensors").items():
        kind, _, rest = key.partition("/")
        parts[kind][rest] = value
    of = parts["of"]
    return _Tried(name, of["val_logits"], of["test_predictions"], parts["state"], **folder.read_json(f"{name}.json"))


def _finish(
    method: TrainedMethod, inputs: MethodInputs, start: Start, tried: Sequence[_Tried], session: Session
) -> MethodResult:
    data, config, stages = session.data, session.config, session.stages
    judge = make_judge(
        make_cells(start.attribute, data, "val"),
        config.selection,
        group_ids=group_ids(data.val, data) if config.selection.rule == "validation-groups" else None,
    )
    before = _evaluate("erm", start.erm, session)
    chosen = _choose(method, judge, before, tried, session)
    judged_by = judge.kind if len(tried) > 1 else "nothing"
    evaluations = {
        name: {split: evaluate_groups(found, data.splits[split], data) for split, found in one.predictions.items()}
        for name, one in (("erm", before), (method.name, chosen))
    }
    session.log(f"chosen of {len(tried)} settings: {chosen.name}, judged by {judged_by}")
    result = MethodResult(
        method=method,
        model=inputs.erm_network() if chosen is before else method.rebuild(inputs, chosen.state),
        erm=start.erm,
        chosen=chosen.name,
        judged_by=judged_by,
        evaluations=evaluations,
        seconds=stages.seconds,
    )

    def write(folder: RunFolder, result: MethodResult) -> None:
        folder.write_csv("candidates.csv", _candidates_table(tried, judge, session))
        folder.write_tensors("model.safetensors", result.model.state_dict())
        # Last of all: a folder that holds it is a finished run.
        folder.write_json(METRICS, _to_dict(method, result, chosen, len(tried), start, session))

    stages.write(result, write)
    return result


def _choose(method: TrainedMethod, judge: Judge, before: _Tried, tried: Sequence[_Tried], session: Session) -> _Tried:
    """Choose among the settings as PruSC chooses among its candidates; the ERM network if none replaces it."""
    # Whoever asks for one setting, or for ERM, gets it.
    if not session.config.may_keep_erm or session.config.method_options or method.name == "erm":
        return judge.choose(tried)
    decision = judge.decide(before, tried)
    return decision.best if decision.replaces else before


def _candidates_table(tried: Sequence[_Tried], judge: Judge, session: Session) -> pd.DataFrame:
    data, rows = session.data, []
    for candidate in tried:
        score = judge.score(candidate)
        row: dict[str, Any] = {
            "name": candidate.name,
            "density": candidate.density,
            "score": score.score,
            "score_error": score.error,
            "val_average_accuracy": (candidate.predictions["val"] == data.val.labels).double().mean().item(),
            "seconds": candidate.seconds,
        }
        if candidate.own_score is not None:
            row["own_score"] = candidate.own_score
        if session.config.evaluate_candidates:
            row |= describe_candidate(
                evaluate_groups(candidate.test_predictions, data.test, data),
                evaluate_groups(candidate.predictions["val"], data.val, data),
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _to_dict(
    method: TrainedMethod, result: MethodResult, chosen: _Tried, num_settings: int, start: Start, session: Session
) -> dict[str, Any]:
    config, clustering = session.config, start.attribute.clustering
    uses = {"none": [], "validation": ["validation"], "training": ["training"]}[method.group_labels]
    return {
        **run_to_dict(config, session.data, session.circumstances),
        "method": method.name,
        "method_title": method.title,
        "paper": method.paper,
        "handed_back": method.family,
        "settings": None if chosen.settings is None else asdict(chosen.settings),
        "num_settings": num_settings,
        "facts": dict(chosen.facts),
        "trained_on": ["train", "val"] if method.trains_on_validation else ["train"],
        "selection": describe_selection(config.selection.rule),
        "judged_by": result.judged_by,
        "group_labels_used_for": [*uses, *list_group_uses(config, has_attributes=bool(session.data.attribute_names))],
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
