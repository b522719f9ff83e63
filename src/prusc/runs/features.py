"""The audit of features: the clusters of given representations, and new heads, without a network."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data.features import Features, read_features
from prusc.data.rows import StoredRows
from prusc.data.table import Data
from prusc.engine.progress import ProgressOption, SilentProgress, resolve_progress
from prusc.engine.runtime import Runtime, stage_generator
from prusc.errors import ConfigError, RunFolderError
from prusc.masks import BinaryMask
from prusc.runs.artifacts import evaluation_to_dict, write_attribute
from prusc.runs.audit import AUDIT_FILE, IMAGES_FILE, AuditResult, audit_to_dict, make_exhibit, summarise_audit
from prusc.runs.folder import RunFolder
from prusc.runs.resume import Stages
from prusc.runs.samples.write import write_samples
from prusc.runs.session import Session
from prusc.runs.start import Start
from prusc.stages.candidates import DENSE, Candidate
from prusc.stages.cells import Cells, make_cells
from prusc.stages.cross_fitting import make_folds
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups, group_ids
from prusc.stages.evidence import describe_evidence, measure_evidence
from prusc.stages.heads import Head, fit_head
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.pseudo_attributes.infer import Seen, infer_attribute
from prusc.stages.representations import Representations
from prusc.stages.selection.judge import make_judge

HEAD_FILE, HEADS_FILE, SNIPPET_FILE = "head.safetensors", "heads.csv", "apply_head.py"
MODEL = "features"
"""Name of the model in a run folder without a network."""

_SNIPPET = '''"""Apply the head that prusc chose: logits of representations, with NumPy alone."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

HEAD = load_file(Path(__file__).with_name("head.safetensors"))
CLASSES = {classes!r}


def logits(representations):
    """Representations as in the feature file, [samples, {dim}]; returns [samples, {num_classes}]."""
    return np.asarray(representations, dtype=np.float32) @ HEAD["weight"].T + HEAD["bias"]


def predict(representations):
    return [CLASSES[index] for index in logits(representations).argmax(axis=1)]
'''


@dataclass(frozen=True, eq=False, repr=False)
class FeaturesResult(AuditResult):
    """Result of an audit of features: that of an audit, and the best new head.

    Attributes:
        head: The chosen head on the representations; ``None`` if the given predictions stay.
        is_better: Whether it is significantly better than the given predictions. If not, these follow the
            pseudo-attribute, and the head has a higher score (`prusc.stages.selection.judge.Decision`).
        judged_by: Kind of the judge that chose: ``cells``, ``classes`` or ``groups``.
        heads: One row per head: ``name``, ``l2``, ``score``, ``score_error``, ``val_average_accuracy``, ``is_chosen``.
        evaluations: Accuracies on the test split: of the ``given`` predictions and, if there is one, of the ``head``.
    """

    head: Head | None
    is_better: bool
    judged_by: str
    heads: pd.DataFrame
    evaluations: dict[str, GroupEvaluation]


def audit_features(
    features: Features | Path | str | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: ProgressOption = None,
) -> FeaturesResult:
    """Test a classifier for shortcuts by its representations and predictions alone, and fit new heads.

    This works for any modality. Clusters are those of the given representations. Heads are fitted and judged as by
    `prusc.debias`. The chosen one is written to ``head.safetensors``, with a snippet that applies it.

    Args:
        features: Features, or their file (NPZ or Parquet) or folder (NPY files); see
            `prusc.data.features.read_features`. If ``None``, that of the config.
        config: All settings; the defaults if ``None``. Those of networks do not matter.
        out: Run folder; nothing is written if ``None``.
        force: Delete a previous run in the folder.
        progress: ``True`` shows lines; or an object that progress is reported to.

    Returns:
        The audit and the heads.

    Raises:
        PruscError: If settings, features or run folder are not valid.

    Example:
        >>> import torch, prusc
        >>> values, labels = torch.randn(100, 8), torch.arange(100) % 2
        >>> found = prusc.audit_features(prusc.Features.from_arrays(values, labels, predictions=labels))
        >>> found.head is None
        True
    """
    session, found = _open(features, config, out=out, force=force, progress=progress)
    data, stages = session.data, session.stages
    with stages.timed("clustering"):
        attribute = _infer(session, found)
        stages.write(attribute, lambda folder, made: write_attribute(folder, made, data))
    session.log(f"clusters: {attribute.num_values} of the representations, {attribute.clustering.structure} structure")
    with stages.timed("audit"):
        predictions = found.logits["val"].argmax(dim=1)
        audited = summarise_audit(session, attribute, _values(data, "val"), predictions)
    with stages.timed("heads"):
        result = _try_heads(session, found, attribute, audited)
    session.log(f"audit: {result.audit.verdict}, {result.count_suspects()}")
    if stages.has_folder:
        start = Start(_FeatureNetwork(data), "head", nn.Identity(), attribute)
        exhibit = make_exhibit(result, predictions, start, session)
        val = Representations(_values(data, "val"), found.logits["val"], data.val.labels, data.val.sample_ids)
        write_samples(stages.folder, replace(exhibit, seen={"before": val}))
    stages.write(result, lambda folder, made: _write(folder, made, session))
    return result


class _FeatureNetwork(nn.Module):
    """A head on the representations, so that what shows a network can show them."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.head = nn.Linear(_values(data, "val").shape[1], data.num_classes)

    def forward(self, representations: Tensor) -> Tensor:
        logits: Tensor = self.head(representations)
        return logits


def _infer(session: Session, found: Features) -> PseudoAttribute:
    """Cluster the representations.

    The other sources predict the classes from representations, which those of a trained classifier allow without any
    shortcut.
    """
    data, config = found.data, session.config
    seen = Seen(
        values={name: _values(data, name) for name in ("train", "val")},
        labels={name: data.splits[name].labels for name in ("train", "val")},
        num_classes=data.num_classes,
        is_untrained=False,
        clustering=config.clustering,
        config=config.pseudo_attribute,
        seed=config.seed,
    )
    attribute = infer_attribute("clusters", seen)
    evidence = measure_evidence("clusters", found.logits["val"].argmax(dim=1), make_cells(attribute, data, "val"))
    session.log(f"evidence: {describe_evidence(evidence)}")
    return replace(attribute, evidence=(evidence,))


def _values(data: Data, split: str) -> Tensor | StoredRows:
    inputs = data.splits[split].inputs
    assert isinstance(inputs, Tensor | StoredRows), "features are rows of numbers"
    return inputs


def _open(
    features: Features | Path | str | None,
    config: RunConfig | None,
    *,
    out: Path | str | None,
    force: bool,
    progress: ProgressOption,
) -> tuple[Session, Features]:
    config = config or RunConfig()
    given = ("features",) if isinstance(features, Features) else ()
    if isinstance(features, Path | str):
        config = replace(config, features=Path(features))
    elif features is None and config.features is None:
        raise ConfigError("no features were given; pass Features, or name their file (features)")
    config = replace(config, model=MODEL, data=str(config.features or MODEL))
    runtime = Runtime(config.runtime)
    folder = RunFolder(Path(out)) if out is not None and runtime.is_main else None
    if folder is not None and folder.is_finished and not force:
        raise RunFolderError(f"run folder {folder.path} holds a finished run; name another folder, or add --force")
    if isinstance(features, Features):
        found = features
    else:
        assert config.features is not None
        found = read_features(config.features, memory_limit_gib=config.runtime.representation_gib)
    if folder is not None:
        folder.open(config, force=force)
    report = resolve_progress(progress) if runtime.is_main else SilentProgress()
    session = Session(config, found.data, nn.Identity(), True, given, Stages(folder, runtime, report))
    sizes = ", ".join(f"{len(split)} {name}" for name, split in found.data.splits.items())
    right = (found.logits["val"].argmax(dim=1) == found.data.val.labels).double().mean().item()
    session.log(
        f"features {found.data.name}: {sizes} samples of {found.data.num_classes} classes, "
        f"{_values(found.data, 'val').shape[1]} numbers each; your classifier: {100 * right:.1f} % on validation"
    )
    if "val" in found.data.origin.get("made_splits", ()):
        session.warn(
            "the features name no validation samples, so some were chosen from all; if your classifier was trained on "
            "these, its errors are hidden: give split"
        )
    return session, found


def _try_heads(session: Session, found: Features, attribute: PseudoAttribute, audited: AuditResult) -> FeaturesResult:
    """Fit heads, and choose the best one if it replaces the given predictions."""
    config, data = session.config, session.data
    val_cells = make_cells(attribute, data, "val")
    given = Candidate(DENSE, "as-is", BinaryMask({}), found.logits["val"])
    heads = _fit_heads(session, attribute, val_cells)
    groups = group_ids(data.val, data) if config.selection.rule == "validation-groups" else None
    judge = make_judge(val_cells, config.selection, indices=torch.arange(len(data.val)), group_ids=groups)
    decision = judge.decide(given, heads) if heads else None
    chosen = decision.best if decision is not None and decision.replaces else None
    evaluations = {"given": evaluate_groups(found.logits["test"].argmax(dim=1), data.test, data)}
    if chosen is not None and chosen.head is not None:
        predictions = chosen.head.logits(_values(data, "test")).argmax(dim=1)
        evaluations["head"] = evaluate_groups(predictions, data.test, data)
    rows = []
    for candidate in (given, *heads):
        score = judge.score(candidate)
        rows.append(
            {
                "name": "given" if candidate is given else candidate.name,
                "score": score.score,
                "score_error": score.error,
                "val_average_accuracy": (candidate.val_predictions == data.val.labels).double().mean().item(),
                "is_chosen": candidate is chosen,
            }
        )
    is_better = decision is not None and decision.is_better
    how = "no head is better than the given predictions" if chosen is None else f"{chosen.name} is chosen"
    if chosen is not None and not is_better:
        how += ", which is not proven to be better"
    session.log(f"heads: {len(heads)} fitted, judged by {judge.kind}: {how}")
    fields = {name: getattr(audited, name) for name in AuditResult.__dataclass_fields__}
    return FeaturesResult(
        **fields,
        head=None if chosen is None else chosen.head,
        is_better=is_better,
        judged_by=judge.kind,
        heads=pd.DataFrame(rows),
        evaluations=evaluations,
    )


def _fit_heads(session: Session, attribute: PseudoAttribute, val_cells: Cells) -> list[Candidate]:
    """Fit a head for each l2 strength, the most strongly regularised first."""
    config, data = session.config, session.data
    folds = None
    if config.head_folds:
        generator = stage_generator(config.seed, "folds of validation")
        folds = make_folds(val_cells, config.debiasing_set, num_folds=config.head_folds, generator=generator)
    draws = build_debiasing_set(make_cells(attribute, data, "train"), config.debiasing_set)
    val = _values(data, "val")
    found = []
    for l2 in sorted(config.finetune.head_l2, reverse=True):
        if folds is not None:
            head, val_logits = folds.fit(val, l2=l2, num_classes=data.num_classes)
        else:
            labels = data.train.labels
            head = fit_head(_values(data, "train"), labels, draws.weights, l2=l2, num_classes=data.num_classes)
            val_logits = head.logits(val)
        found.append(Candidate(f"head(l2={l2:g})", "head", BinaryMask({}), val_logits, head=head))
    return found


def _write(folder: RunFolder, result: FeaturesResult, session: Session) -> None:
    folder.write_csv(IMAGES_FILE, result.images)
    folder.write_csv(HEADS_FILE, result.heads)
    folder.remove_file(HEAD_FILE)
    folder.remove_file(SNIPPET_FILE)
    heads: dict[str, Any] = {
        "judged_by": result.judged_by,
        "is_better": result.is_better,
        "table": result.heads.to_dict("records"),
    }
    heads["evaluations"] = {name: evaluation_to_dict(evaluation) for name, evaluation in result.evaluations.items()}
    if result.head is not None:
        folder.write_tensors(HEAD_FILE, result.head._asdict())
        num_classes, dim = result.head.weight.shape
        snippet = _SNIPPET.format(classes=list(result.class_names), dim=dim, num_classes=num_classes)
        folder.write_bytes(SNIPPET_FILE, snippet.encode())
    folder.write_json(AUDIT_FILE, {**audit_to_dict(result, session), "heads": heads})
