"""The main job: from a network that takes shortcuts to one that does without them, stage by stage."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import Data
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.errors import ConfigError
from prusc.masks import BinaryMask, whole_mask
from prusc.runs.artifacts import read_masks, write_debiasing_set, write_masks, write_result
from prusc.runs.result import VERDICT_TEXTS, DebiasingResult, summarise
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.write import write_samples
from prusc.runs.session import OpenRun, Original, find_original, open_run
from prusc.stages.audit.clusters import judge_clusters
from prusc.stages.candidates import DENSE, DENSE_FAMILIES, Candidate, Setting, try_heads, try_training
from prusc.stages.cross_fitting import HeldOut, hold_out
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set, cell_ids
from prusc.stages.evaluation import evaluate_groups, group_ids
from prusc.stages.mask_learning import LearnedMasks, learn_masks
from prusc.stages.selection.choice import choose_networks, order_judges
from prusc.stages.selection.judges import make_judges
from prusc.stages.subnetwork import extract_subnetwork

_NUM_STATISTICS_BATCHES = 20


def debias(
    model: nn.Module | None = None,
    data: Data | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DebiasingResult:
    """Extract from a network a subnetwork that does without the shortcuts it has learned.

    Group attributes of the data are read by the final evaluation alone.

    Args:
        model: A trained classifier, not changed; if ``None``, the one that the config names is trained or loaded.
        data: The data it was trained on; if ``None``, those that the config names are loaded.
        config: Every setting; the defaults if ``None``.
        out: Run folder; without one nothing is written. A folder with an unfinished run of the same settings is
            resumed.
        force: Throw away what the run folder holds.
        progress: Whom to tell.

    Returns:
        The chosen network and everything about it.

    Raises:
        PruscError: If settings, data, network or run folder are not as they have to be.

    References:
        Le et al. 2024, arXiv:2407.14974.
    """
    if config is not None and config.method != "prusc":
        raise ConfigError(f"method {config.method!r} is not PruSC; prusc.methods.run_method runs it")
    run = open_run(model, data, config, out=out, force=force, progress=progress)
    return _Debiasing(run).run()


class _Debiasing:
    """The stages that follow the clusters."""

    def __init__(self, run: OpenRun) -> None:
        self.opened = run
        self.config, self.data, self.runtime = run.config, run.data, run.runtime
        self.folder, self.progress = run.folder, run.progress
        self.stages, self.say = run.stages, run.say
        self.transform, self.debiasing_transform = run.transform, run.debiasing_transform

    def run(self) -> DebiasingResult:
        """Go through the stages."""
        original = find_original(self.opened)
        model = original.model
        with self.stages.stage("debiasing_set"):
            setting = self.build_setting(original)
        with self.stages.stage("masks"):
            learned = self.learn(model, setting)
        with self.stages.stage("controls"):
            dense = self.stages.cached(DENSE, lambda: self.try_dense(model, setting))
            setting = order_judges(setting, dense)
            self.say(f"{setting.judges[0].kind} judge{' first' if len(setting.judges) > 1 else ''}")
        masked: dict[int, list[Candidate]] = {}
        for step in learned.masks:
            with self.stages.stage(f"candidates@{step}"):
                make = partial(self.try_mask, try_heads, model, learned, step, setting)
                masked[step] = self.stages.cached(f"mask-{step}", make)
        if self.config.finetune.learning_rates:
            # Training takes far longer than a new head: it is spent on the most promising mask.
            step = max(masked, key=lambda step: max(candidate.score for candidate in masked[step]))
            with self.stages.stage(f"weights@{step}"):
                make = partial(self.try_mask, try_training, model, learned, step, setting)
                masked[step] += self.stages.cached(f"mask-{step}-weights", make)
        with self.stages.stage("evaluation"):
            result = self.finish(original, setting, learned, dense, list(chain(*masked.values())))
        if self.folder is not None:
            self.folder.close()
        self.runtime.barrier()
        return result

    # ------------------------------------------------------------------------------------------------- stages

    def build_setting(self, original: Original) -> Setting:
        """Return the de-biasing set and the pseudo-groups that judge, which never share a sample."""
        config, data = self.config, self.data
        clustering, val_cluster_ids = original.clustering, original.val_cluster_ids
        judged = torch.arange(len(data.val))
        if config.debiasing_set.split == "val":
            order = torch.randperm(len(data.val), generator=stage_generator(config.seed, "halves of validation"))
            drawn, judged = order[: len(order) // 2].sort().values, order[len(order) // 2 :].sort().values
            split, debiasing_set = data.val.subset(drawn), self.draw_validation(original, drawn)
        else:
            split = data.train
            debiasing_set = build_debiasing_set(
                split.labels,
                clustering.cluster_ids,
                num_classes=data.num_classes,
                num_clusters=clustering.num_clusters,
                config=config.debiasing_set,
                margins=clustering.margins,
                final_ids=clustering.final_ids,
            )
        if self.folder is not None:
            write_debiasing_set(self.folder, debiasing_set, data)
        groups = group_ids(data.val, data) if config.selection.rule == "validation-groups" else None
        judges = make_judges(
            data.val.labels[judged],
            val_cluster_ids[judged],
            None if groups is None else groups[judged],
            clustering=clustering,
            config=config.selection,
        )
        used = debiasing_set.weights > 0
        cut_by = {"class": debiasing_set.labels, "cluster": debiasing_set.cluster_ids}
        if debiasing_set.final_ids is not None:
            cut_by["cluster of the final network"] = debiasing_set.final_ids
        num_cells = torch.stack(list(cut_by.values()))[:, used].unique(dim=1).shape[1]
        self.say(
            f"de-biasing set: {num_cells} cells ({' x '.join(cut_by)}) of {int(used.sum())} samples of the "
            f"{config.debiasing_set.split} split; {len(judges[0].sizes)} {judges[0].kind} of {len(judged)} validation "
            "samples may judge"
        )
        return Setting(
            data=data,
            head_name=original.head_name,
            source=split,
            debiasing_set=debiasing_set,
            judges=judges,
            judged=judged,
            judged_cluster_ids=val_cluster_ids[judged],
            untrained_clusters=clustering.untrained,
            held_out=self.hold_out(original),
            transform=self.transform,
            debiasing_transform=self.debiasing_transform,
            config=config,
            runtime=self.runtime,
            progress=self.progress,
        )

    def draw_validation(self, original: Original, indices: Tensor) -> DebiasingSet:
        """Return how some validation samples are drawn."""
        final_ids = original.val_final_ids
        return build_debiasing_set(
            self.data.val.labels[indices],
            original.val_cluster_ids[indices],
            num_classes=self.data.num_classes,
            num_clusters=original.clustering.num_clusters,
            config=self.config.debiasing_set,
            margins=original.val_margins[indices],
            final_ids=None if final_ids is None else final_ids[indices],
        )

    def hold_out(self, original: Original) -> HeldOut | None:
        """Return how validation samples are drawn for heads, if heads are fitted on them."""
        num_folds = self.config.finetune.head_folds
        if not num_folds:
            return None
        labels = self.data.val.labels
        held_out = hold_out(
            labels,
            cell_ids(labels, original.val_cluster_ids, original.clustering.num_clusters),
            partial(self.draw_validation, original),
            num_folds=num_folds,
            generator=stage_generator(self.config.seed, "folds of validation"),
        )
        num_drawn = int((held_out.weights[-1] > 0).sum())
        self.say(f"heads are fitted on {num_drawn} validation samples, drawn in the same way, in {num_folds} folds")
        return held_out

    def learn(self, model: nn.Module, setting: Setting) -> LearnedMasks:
        """Return the masks along the path of mask learning."""
        learned = self.stages.stored(read_masks)
        if learned is None:
            config = self.config.masks
            learned = learn_masks(
                model,
                setting.head_name,
                setting.source,
                setting.debiasing_set,
                self.debiasing_transform,
                config,
                self.runtime,
                generator=stage_generator(self.config.seed, "masks"),
                after_step=lambda step, _: self.progress.advance("mask learning", step, config.steps),
            )
            if self.folder is not None:
                write_masks(self.folder, learned)
        densities = ", ".join(f"{mask.density:.2f} at step {step}" for step, mask in learned.masks.items())
        self.say(f"masks: density {densities}")
        return learned

    def try_dense(self, model: nn.Module, setting: Setting) -> list[Candidate]:
        """Return the candidates without a mask."""
        config = self.config.masks
        mask = whole_mask(model, include=config.include, exclude=config.exclude)
        found = try_heads(model, DENSE, mask, setting)
        if not self.config.controls:
            return found
        return found + try_training(model, DENSE, mask, order_judges(setting, found))

    def try_mask(
        self,
        attempt: Callable[[nn.Module, str, BinaryMask, Setting], list[Candidate]],
        model: nn.Module,
        learned: LearnedMasks,
        step: int,
        setting: Setting,
    ) -> list[Candidate]:
        """Return the candidates that an attempt makes of the network with one mask."""
        mask = learned.masks[step]
        generator = stage_generator(self.config.seed, "batch norm statistics")
        batches = [
            setting.debiasing_set.draw(self.config.masks.batch_size, generator)
            for _ in range(_NUM_STATISTICS_BATCHES if self.config.masks.reestimate_batch_norm else 0)
        ]
        base = extract_subnetwork(model, mask, setting.source, batches, self.transform, self.runtime)
        return attempt(base, f"mask@{step}", mask, setting)

    def finish(
        self,
        original: Original,
        setting: Setting,
        learned: LearnedMasks,
        dense: list[Candidate],
        masked: list[Candidate],
    ) -> DebiasingResult:
        """Choose, evaluate and write."""
        model, clustering = original.model, original.clustering
        choice = choose_networks(model, setting, dense, masked)
        clusters = judge_clusters(
            choice.predictions["erm"]["val"],
            self.data.val.labels,
            original.val_cluster_ids,
            self.config.audit,
            num_clusters=clustering.num_clusters,
            num_classes=self.data.num_classes,
            untrained=clustering.untrained,
            generator=stage_generator(self.config.seed, "audit"),
        )
        if self.runtime.broadcast(self.folder is not None):
            after = choice.networks["subnetwork" if choice.verdict == "improved" else "erm"]
            exhibit = Exhibit(
                data=self.data,
                networks={"before": choice.networks["erm"], "after": after},
                predictions=choice.predictions,
                clusters=clusters,
                look_at=(),
                head_name=setting.head_name,
                transform=self.transform,
                seed=self.config.seed,
                runtime=self.runtime,
            )
            write_samples(self.folder, exhibit)
        chosen = choice.candidates["subnetwork"]
        self.say(f"chosen by {choice.judged_by}: {chosen.name}, density {chosen.mask.density:.2f}")
        self.say(f"verdict: {choice.verdict}: {VERDICT_TEXTS[choice.verdict]}")
        result = DebiasingResult(
            model=choice.networks["subnetwork"],
            erm=choice.networks["erm"],
            mask=chosen.mask,
            verdict=choice.verdict,
            judged_by=choice.judged_by,
            chosen={name: candidate.name for name, candidate in choice.candidates.items()},
            candidates=summarise(dense, choice.scores, DENSE_FAMILIES) + summarise(masked, choice.scores, {}),
            evaluations={
                name: {
                    split: evaluate_groups(found, self.data.splits[split], self.data)
                    for split, found in predictions.items()
                }
                for name, predictions in choice.predictions.items()
            },
            clustering=clustering,
            class_names=self.data.class_names,
            cells=choice.cells,
            clusters=clusters,
            history=learned.history,
            seconds=self.stages.seconds,
            config=self.config,
        )
        if self.folder is not None:
            self.folder.write_tensors("mask.safetensors", result.mask.tensors)
            self.folder.write_tensors("model.safetensors", result.model.state_dict())
            # Last of all: a folder that holds it is a finished run.
            circumstances = {**self.stages.circumstances, "given_in_python": self.opened.given}
            write_result(self.folder, result, self.data, circumstances=circumstances)
        return result
