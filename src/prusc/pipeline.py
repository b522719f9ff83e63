"""The main job: from a network that takes shortcuts to one that does without them, stage by stage."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from prusc.candidates import Candidate, Setting, try_heads, try_training
from prusc.choice import choose_networks
from prusc.clustering import Clustering, cluster_representations, given_clustering
from prusc.config import RunConfig
from prusc.data import Data, InputTransform
from prusc.data.batches import take_inputs
from prusc.debiasing_set import build_debiasing_set, cell_ids
from prusc.errors import RunFolderError
from prusc.evaluation import evaluate_groups
from prusc.mask_learning import LearnedMasks, learn_masks
from prusc.masks import BinaryMask, whole_mask
from prusc.models import copy_state, find_head, to_device
from prusc.progress import Progress, SilentProgress
from prusc.representations import extract_representations
from prusc.result import DENSE_FAMILIES, VERDICT_TEXTS, DebiasingResult, summarise
from prusc.run_files import (
    read_clustering,
    read_masks,
    write_clustering,
    write_debiasing_set,
    write_masks,
    write_result,
)
from prusc.run_folder import RunFolder, read_cluster_csv
from prusc.run_inputs import build_run_model, load_run_data, read_run_weights
from prusc.run_samples import write_samples
from prusc.run_stages import RunStages
from prusc.runtime import Runtime, stage_generator
from prusc.selection import make_pseudo_groups
from prusc.subnetwork import extract_subnetwork
from prusc.training import epoch_batches, num_epoch_batches, train_weights

_ERM_NAME = "erm.safetensors"
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
    config = config or RunConfig()
    runtime = Runtime(config.runtime)
    folder = RunFolder(Path(out)) if out is not None and runtime.is_main else None
    if folder is not None and folder.is_finished and not force:
        raise RunFolderError(
            f"run folder {folder.path} holds a finished run; read its metrics.json, or run it anew with --force"
        )
    given = tuple(name for name, value in (("model", model), ("data", data)) if value is not None)
    weights = read_run_weights(config) if model is None else None
    progress = progress if progress is not None and runtime.is_main else SilentProgress()
    if data is None:
        data = load_run_data(config, progress)
    is_trained = model is not None or config.trained is not None
    network = copy.deepcopy(model) if model is not None else build_run_model(config, data, weights)
    # Only now: an error in the data or the weights must leave no folder behind.
    if folder is not None:
        folder.open(config, force=force)
    return _Run(config, data, runtime, folder, progress, given).run(network, is_trained=is_trained)


@dataclass
class _Run:
    """What the stages share while they run."""

    config: RunConfig
    data: Data
    runtime: Runtime
    folder: RunFolder | None
    progress: Progress
    given: tuple[str, ...]

    def __post_init__(self) -> None:
        self.stages = RunStages(self.folder, self.runtime, self.progress)
        self.say = self.stages.say
        mean, std = self.data.mean, self.data.std
        erm = self.config.erm
        self.transform = InputTransform(mean, std)
        self.train_transform = InputTransform(mean, std, flip=erm.flip, min_crop_scale=erm.min_crop_scale)

    def run(self, network: nn.Module, *, is_trained: bool) -> DebiasingResult:
        """Go through the stages."""
        self.say(
            f"data {self.data.name}: {', '.join(f'{len(s)} {n}' for n, s in self.data.splits.items())} samples of "
            f"{self.data.num_classes} classes"
        )
        with self.stages.stage("erm"):
            model, checkpoints = self.train_or_load(network, is_trained=is_trained)
        sample = to_device(take_inputs(self.data.train.inputs, torch.arange(2)), self.runtime.device)
        head_name = find_head(model, self.transform(sample), self.data.num_classes)
        with self.stages.stage("clustering"):
            clustering, val_cluster_ids = self.cluster(model, checkpoints, head_name)
        with self.stages.stage("debiasing_set"):
            setting = self.build_setting(head_name, clustering, val_cluster_ids)
        with self.stages.stage("masks"):
            learned = self.learn(model, setting)
        with self.stages.stage("controls"):
            dense = self.stages.cached("dense", lambda: self.try_dense(model, setting))
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
            result = self.finish(model, setting, clustering, learned, dense, list(chain(*masked.values())))
        if self.folder is not None:
            self.folder.close()
        self.runtime.barrier()
        return result

    # ------------------------------------------------------------------------------------------------- stages

    def train_or_load(
        self, network: nn.Module, *, is_trained: bool
    ) -> tuple[nn.Module, Mapping[int, Mapping[str, Tensor]]]:
        """Return the ERM network and its epoch checkpoints, by epoch."""
        model = self.runtime.place(network)
        stored = self.stages.stored(partial(_read_if_there, name=_ERM_NAME))
        if stored is not None:
            if is_trained and any(not torch.equal(v.cpu(), stored[k]) for k, v in model.state_dict().items()):
                where = "" if self.folder is None else f" {self.folder.path}"
                raise RunFolderError(
                    f"run folder{where} was begun with another network; name another folder or use force"
                )
            model.load_state_dict(stored)
            self.say("erm: trained before, loaded")
            return model, {} if is_trained else self.stored_checkpoints()
        checkpoints: dict[int, Mapping[str, Tensor]] = {}
        if is_trained:
            self.say("erm: a trained network was given")
        else:
            self.train(model, checkpoints)
        model.load_state_dict(self.runtime.broadcast(model.state_dict()))
        if self.folder is not None:
            self.folder.write_tensors(_ERM_NAME, model.state_dict())
        return model, checkpoints

    def train(self, model: nn.Module, checkpoints: dict[int, Mapping[str, Tensor]]) -> None:
        """Train by ERM, keeping a checkpoint of each epoch: on disk, and the one that clusters need in memory."""
        erm, num_samples = self.config.erm, len(self.data.train)
        generator = stage_generator(self.config.seed, "erm")
        per_epoch = num_epoch_batches(num_samples, erm.batch_size)
        num_steps = erm.epochs * per_epoch

        def after_step(step: int, loss: float) -> None:
            self.progress.advance("ERM training", step, num_steps)
            if step % per_epoch:
                return
            epoch = step // per_epoch
            self.say(f"erm: epoch {epoch} of {erm.epochs}, loss {loss:.3f}")
            if self.folder is not None:
                self.folder.write_tensors(_checkpoint_name(epoch), model.state_dict())
            if epoch == self.config.clustering.checkpoint:
                checkpoints[epoch] = copy_state(model)

        train_weights(
            model,
            self.data.train,
            (batch for _ in range(erm.epochs) for batch in epoch_batches(num_samples, erm.batch_size, generator)),
            num_steps,
            learning_rate=erm.learning_rate,
            weight_decay=erm.weight_decay,
            transform=self.train_transform,
            runtime=self.runtime,
            generator=stage_generator(self.config.seed, "erm augmentation"),
            stage="ERM training",
            after_step=after_step,
        )

    def cluster(
        self, model: nn.Module, checkpoints: Mapping[int, Mapping[str, Tensor]], head_name: str
    ) -> tuple[Clustering, Tensor]:
        """Return the clustering of the training split and the nearest cluster of each validation sample."""
        stored = self.stages.stored(read_clustering)
        if stored is not None:
            return stored
        config, data = self.config.clustering, self.data
        source, which = model, "the final network"
        if config.checkpoint is not None and config.checkpoint in checkpoints:
            source, which = copy.deepcopy(model), f"the network of epoch {config.checkpoint}"
            source.load_state_dict(checkpoints[config.checkpoint])
        train, val = (
            extract_representations(source, head_name, split, self.transform, self.runtime).values
            for split in (data.train, data.val)
        )
        if config.from_csv is not None:
            clustering = given_clustering(train, read_cluster_csv(config.from_csv, data.train.labels))
        else:
            generator = stage_generator(self.config.seed, "clustering")
            clustering = cluster_representations(train, config, num_classes=data.num_classes, generator=generator)
        val_cluster_ids = clustering.assign(val)
        if self.folder is not None:
            write_clustering(self.folder, clustering, val_cluster_ids, data, train=train, val=val)
        sizes = torch.bincount(clustering.cluster_ids, minlength=clustering.num_clusters).tolist()
        how = "given" if config.from_csv is not None else f"of the representations of {which}"
        judges = {"strong": "cells judge first", "reasonable": "classes judge first", "weak": "the classes judge alone"}
        self.say(
            f"clusters: {clustering.num_clusters} {how}, of {', '.join(map(str, sizes))} training samples; "
            f"{clustering.structure} structure, {judges[clustering.structure]}"
        )
        return clustering, val_cluster_ids

    def build_setting(self, head_name: str, clustering: Clustering, val_cluster_ids: Tensor) -> Setting:
        """Return the de-biasing set and the pseudo-groups that judge, which never share a sample."""
        config, data = self.config, self.data
        split, cluster_ids, judged = data.train, clustering.cluster_ids, torch.arange(len(data.val))
        if config.debiasing_set.split == "val":
            order = torch.randperm(len(data.val), generator=stage_generator(config.seed, "halves of validation"))
            drawn, judged = order[: len(order) // 2].sort().values, order[len(order) // 2 :].sort().values
            split, cluster_ids = data.val.subset(drawn), val_cluster_ids[drawn]
        debiasing_set = build_debiasing_set(
            split.labels,
            cluster_ids,
            num_classes=data.num_classes,
            num_clusters=clustering.num_clusters,
            config=config.debiasing_set,
        )
        if self.folder is not None:
            write_debiasing_set(self.folder, debiasing_set, data)
        make = partial(
            make_pseudo_groups,
            data.val.labels[judged],
            num_clusters=clustering.num_clusters,
            config=config.selection,
        )
        classes, cells = make(None), make(val_cluster_ids[judged])
        judges = {"strong": (cells, classes), "reasonable": (classes, cells), "weak": (classes,)}[clustering.structure]
        num_cells = len(cell_ids(split.labels, cluster_ids, clustering.num_clusters).unique())
        self.say(
            f"de-biasing set: {num_cells} cells (class x cluster) of the {config.debiasing_set.split} split; "
            f"{len(judges[0].sizes)} pseudo-groups of {len(judged)} validation samples judge"
        )
        return Setting(
            data=data,
            head_name=head_name,
            source=split,
            debiasing_set=debiasing_set,
            judges=judges,
            judged=judged,
            judged_cluster_ids=val_cluster_ids[judged],
            transform=self.transform,
            train_transform=self.train_transform,
            config=config,
            runtime=self.runtime,
            progress=self.progress,
        )

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
                self.train_transform,
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
        found = try_heads(model, "dense", mask, setting)
        return found + try_training(model, "dense", mask, setting) if self.config.controls else found

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
        model: nn.Module,
        setting: Setting,
        clustering: Clustering,
        learned: LearnedMasks,
        dense: list[Candidate],
        masked: list[Candidate],
    ) -> DebiasingResult:
        """Choose, evaluate and write."""
        choice = choose_networks(model, setting, dense, masked)
        if self.runtime.broadcast(self.folder is not None):
            write_samples(self.folder, choice, setting)
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
            history=learned.history,
            seconds=self.stages.seconds,
            config=self.config,
        )
        if self.folder is not None:
            self.folder.write_tensors("mask.safetensors", result.mask.tensors)
            self.folder.write_tensors("model.safetensors", result.model.state_dict())
            # Last of all: a folder that holds it is a finished run.
            circumstances = {**self.stages.circumstances, "given_in_python": self.given}
            write_result(self.folder, result, self.data, circumstances=circumstances)
        return result

    def stored_checkpoints(self) -> Mapping[int, Mapping[str, Tensor]]:
        """Read the checkpoint that the clusters need."""
        epoch = self.config.clustering.checkpoint
        if epoch is None:
            return {}
        checkpoint = self.stages.stored(partial(RunFolder.read_tensors, name=_checkpoint_name(epoch)))
        assert checkpoint is not None, "called for a run that has a folder"
        return {epoch: checkpoint}


def _checkpoint_name(epoch: int) -> str:
    return f"checkpoints/epoch-{epoch:03d}.safetensors"


def _read_if_there(folder: RunFolder, name: str) -> dict[str, Tensor] | None:
    return folder.read_tensors(name) if folder.has(name) else None
