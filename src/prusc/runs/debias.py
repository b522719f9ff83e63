"""The main task: from a network with shortcuts to a chosen network without them, stage by stage."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data.table import Split
from prusc.engine.progress import ProgressOption
from prusc.engine.runtime import stage_generator
from prusc.errors import ConfigError
from prusc.masks import BinaryMask, whole_mask
from prusc.models.flops import count_flops
from prusc.runs.artifacts import (
    read_candidates,
    read_masks,
    write_candidates,
    write_debiasing_set,
    write_masks,
    write_result,
)
from prusc.runs.plan import plan_stages
from prusc.runs.result import DebiasingResult, summarise
from prusc.runs.samples.exhibit import FAMILY_OF, Exhibit
from prusc.runs.samples.write import write_samples
from prusc.runs.session import Session, open_session
from prusc.runs.start import Start, start_run
from prusc.stages.audit.clusters import ClusterAudit, judge_clusters
from prusc.stages.candidates import (
    DENSE,
    DENSE_FAMILIES,
    Candidate,
    CandidateContext,
    try_heads,
    try_training,
)
from prusc.stages.cells import Cells, make_cells
from prusc.stages.cross_fitting import Folds, make_folds
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set
from prusc.stages.evaluation import evaluate_groups, group_ids
from prusc.stages.mask_learning import LearnedMasks, exclude_head, learn_masks
from prusc.stages.selection.choice import Choice, choose_networks
from prusc.stages.selection.judge import Judge, make_judge
from prusc.stages.selection.verdict import VERDICT_TEXTS, name_verdict


def debias(
    model: nn.Module | None = None,
    data: Any = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: ProgressOption = None,
) -> DebiasingResult:
    """Find a subnetwork, or a new head, that does not rely on the shortcuts of a network.

    Only the final evaluation reads group attributes, unless ``selection.rule`` is ``validation-groups``.

    Args:
        model: A trained classifier, not changed. If ``None``, the network of the config is trained or loaded.
        data: The data it was trained on, in any form that `prusc.data.as_data` takes: `Data`, a map-style data set or a
            tuple of them, arrays, or a path. If ``None``, the data of the config are loaded.
        config: All settings; the defaults if ``None``.
        out: Run folder; nothing is written if ``None``. An unfinished run with the same settings is resumed.
        force: Delete a previous run in the folder.
        progress: ``True`` shows lines and bars; or an object that progress is reported to.

    Returns:
        The chosen network, its evaluations, and how it was chosen.

    Raises:
        PruscError: If settings, data, network or run folder are not valid.

    References:
        Le et al. 2024, arXiv:2407.14974.
    """
    if config is not None and config.method != "prusc":
        raise ConfigError(f"method {config.method!r} is not PruSC; run it with prusc.methods.run_method")
    return debias_session(open_session(model, data, config, out=out, force=force, progress=progress))


def debias_session(session: Session) -> DebiasingResult:
    """Run all stages of an open run."""
    stages, config = session.stages, session.config
    stages.follow(plan_stages(config, session.data, is_trained=session.is_trained, is_audit=False))
    start = start_run(session)
    with stages.timed("debiasing_set"):
        context, judge = _prepare(session, start)
    with stages.timed("masks"):
        learned = _learn(session, context)
    dense = _stage_candidates(session, "controls", DENSE, partial(_try_dense, context), judge)
    masked: dict[int, list[Candidate]] = {}
    for step, mask in learned.masks.items():
        make = partial(try_heads, f"mask@{step}", mask, context)
        masked[step] = _stage_candidates(session, f"candidates@{step}", f"mask-{step}", make, judge)
    if config.finetune.learning_rates:
        # Fine-tuning takes far longer than a new head, so only the best mask is fine-tuned.
        step = max(masked, key=lambda step: max(judge.score(c).score for c in masked[step]))
        make = partial(try_training, f"mask@{step}", learned.masks[step], context)
        masked[step] += _stage_candidates(session, f"weights@{step}", f"mask-{step}-weights", make, judge)
    with stages.timed("evaluation"):
        result = _finish(session, start, context, judge, _Tried(learned, dense, list(chain(*masked.values()))))
    stages.close()
    return result


@dataclass(frozen=True, eq=False)
class _Tried:
    """The learned masks, and the candidates without and with a mask."""

    learned: LearnedMasks
    dense: list[Candidate]
    masked: list[Candidate]


def _prepare(session: Session, start: Start) -> tuple[CandidateContext, Judge]:
    """Return the context of candidates and the judge; masks never learn from samples that judge."""
    config, data = session.config, session.data
    val_cells = make_cells(start.attribute, data, "val")
    source, cells, judged = _split_draws_and_judges(session, start, val_cells)
    debiasing_set = build_debiasing_set(cells, config.debiasing_set)
    session.stages.write(debiasing_set, partial(write_debiasing_set, data=data))
    groups = group_ids(data.val, data) if config.selection.rule == "validation-groups" else None
    judge = make_judge(val_cells, config.selection, indices=judged, group_ids=groups)
    session.log(
        f"de-biasing set: {_describe_cells(debiasing_set)} of the {config.debiasing_set.split} split; judging by "
        f"{judge.kind}: {len(judge.groups.sizes)} pseudo-groups of {len(judged)} validation samples"
    )
    context = CandidateContext(
        model=start.erm,
        head_name=start.head_name,
        data=data,
        feed=session.feed,
        draws=session.draw_feed(source),
        debiasing_set=debiasing_set,
        folds=_make_folds(session, val_cells),
        config=config,
        progress=session.stages,
        kept=start.kept,
    )
    return context, judge


def _split_draws_and_judges(session: Session, start: Start, val_cells: Cells) -> tuple[Split, Cells, Tensor]:
    """Return the split that the de-biasing set draws from, its cells, and the validation samples that judge."""
    val = session.data.val
    if session.config.debiasing_set.split == "train":
        return session.data.train, make_cells(start.attribute, session.data, "train"), torch.arange(len(val))
    order = torch.randperm(len(val), generator=stage_generator(session.config.seed, "halves of validation"))
    drawn, judged = order[: len(order) // 2].sort().values, order[len(order) // 2 :].sort().values
    return val.subset(drawn), val_cells.subset(drawn), judged


def _describe_cells(debiasing_set: DebiasingSet) -> str:
    used = debiasing_set.weights > 0
    num_cells = len(debiasing_set.cells.ids[used].unique())
    return f"{num_cells} cells (class x pseudo-attribute) of {int(used.sum())} samples"


def _make_folds(session: Session, val_cells: Cells) -> Folds | None:
    """Return the cross-fitting folds of the validation split, if heads are fitted there."""
    num_folds = session.config.head_folds
    if not num_folds:
        return None
    if int((torch.bincount(val_cells.labels) >= 2).sum()) < 2:
        session.log(
            "heads: fitted on the de-biasing set, because cross-validation needs two validation samples of at least "
            "two classes"
        )
        return None
    generator = stage_generator(session.config.seed, "folds of validation")
    folds = make_folds(val_cells, session.config.debiasing_set, num_folds=num_folds, generator=generator)
    session.log(
        f"heads: fitted on {folds.num_drawn} validation samples, drawn like the de-biasing set, and scored by "
        f"{num_folds}-fold cross-validation"
    )
    return folds


def _learn(session: Session, context: CandidateContext) -> LearnedMasks:
    """Learn the masks, or read them from the run folder."""
    learned = session.stages.make_or_read(
        lambda: learn_masks(
            context.model,
            context.draws,
            context.debiasing_set,
            context.masks,
            head_name=context.head_name,
            generator=stage_generator(session.config.seed, "masks"),
            progress=session.stages,
        ),
        read_masks,
        write_masks,
    )
    densities = ", ".join(f"{mask.density:.2f} at step {step}" for step, mask in learned.masks.items())
    session.log(f"masks: density {densities}")
    return learned


def _try_dense(context: CandidateContext) -> list[Candidate]:
    """Return the candidates without a mask."""
    config = context.config.masks
    exclude = exclude_head(context.model, config, context.head_name)
    mask: BinaryMask = whole_mask(context.model, include=config.include, exclude=exclude)
    found = try_heads(DENSE, mask, context)
    return found + try_training(DENSE, mask, context) if context.config.controls else found


def _stage_candidates(
    session: Session, stage: str, name: str, make: Callable[[], list[Candidate]], judge: Judge
) -> list[Candidate]:
    """Make the candidates of a base network, or read them from the run folder, and log the best one."""
    read, write = partial(read_candidates, name=name), partial(write_candidates, name=name)
    candidates: list[Candidate] = session.stages.stage(stage, make, read, write)
    scores = {candidate.name: judge.score(candidate).score for candidate in candidates}
    best = max(scores, key=lambda key: scores[key])
    session.log(f"candidates: {len(scores)} of {name}, best {best} with score {scores[best]:.3f}")
    return candidates


def _finish(session: Session, start: Start, context: CandidateContext, judge: Judge, tried: _Tried) -> DebiasingResult:
    """Choose a network, evaluate it and write the results."""
    data = session.data
    choice = choose_networks(context, judge, tried.dense, tried.masked)
    clusters = _audit(session, start, choice)
    verdict = name_verdict(
        is_better=choice.is_better,
        is_replaced=choice.candidates["subnetwork"] is not tried.dense[0],
        evidence=start.attribute.evidence,
        has_suspect=any(cluster.is_suspect for cluster in clusters),
        groups_differ=judge.groups_differ(tried.dense[0]),
        significance=session.config.selection.significance,
        has_budget=session.config.masks.budget_flops is not None,
    )
    if session.stages.has_folder:
        write_samples(session.stages.folder, _exhibit(session, start, context, choice, clusters))
    chosen = choice.candidates["subnetwork"]
    session.log(
        f"judged by {choice.judged_by}: best {choice.best.name}, score {choice.scores[choice.best.name].score:.3f} "
        f"against {choice.scores[DENSE].score:.3f} of the ERM network, p {choice.p_value:.3f}; chosen {chosen.name}, "
        f"density {chosen.mask.density:.2f}"
    )
    session.log(f"verdict: {verdict}: {VERDICT_TEXTS[verdict]}")
    flops = count_flops(start.erm, session.feed.take(torch.arange(1))) if session.config.masks.by_channel else None
    result = DebiasingResult(
        model=choice.networks["subnetwork"],
        erm=choice.networks["erm"],
        mask=chosen.mask,
        verdict=verdict,
        p_value=choice.p_value,
        evidence=start.attribute.evidence,
        judged_by=choice.judged_by,
        chosen={name: candidate.name for name, candidate in choice.candidates.items()},
        candidates=summarise(tried.dense, choice.scores, DENSE_FAMILIES, data, flops)
        + summarise(tried.masked, choice.scores, {}, data, flops),
        evaluations={
            name: {split: evaluate_groups(found, data.splits[split], data) for split, found in predictions.items()}
            for name, predictions in choice.predictions.items()
        },
        clustering=start.attribute.clustering,
        class_names=data.class_names,
        cells=choice.cells,
        clusters=clusters,
        history=tried.learned.history,
        seconds=session.stages.seconds,
        config=session.config,
        flops=None if flops is None else flops.share(chosen.mask),
    )
    session.stages.write(result, partial(write_result, data=data, circumstances=session.circumstances))
    return result


def _audit(session: Session, start: Start, choice: Choice) -> tuple[ClusterAudit, ...]:
    """Decide which clusters of the ERM network are suspects."""
    cells = make_cells(start.attribute, session.data, "val")
    return judge_clusters(
        choice.predictions["erm"]["val"],
        cells,
        session.config.audit,
        mirrors_network=start.attribute.mirrors_network,
        generator=stage_generator(session.config.seed, "audit"),
    )


def _exhibit(
    session: Session, start: Start, context: CandidateContext, choice: Choice, clusters: tuple[ClusterAudit, ...]
) -> Exhibit:
    after = choice.networks["subnetwork"]
    return Exhibit(
        data=session.data,
        networks={"before": choice.networks["erm"], "after": after},
        predictions=choice.predictions,
        clusters=clusters,
        look_at=(),
        head_name=start.head_name,
        feed=session.feed.of(session.data.val),
        seed=session.config.seed,
        logits={family: choice.candidates[family].val_logits for family in FAMILY_OF.values()},
        seen={
            name: context.represent_candidate(choice.candidates[family], choice.networks[family], "val")
            for name, family in FAMILY_OF.items()
        },
    )
