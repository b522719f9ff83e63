"""How every run begins: inputs and run folder, the trained network, its clusters."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import Data, InputTransform
from prusc.data.batches import take_inputs
from prusc.engine.progress import Progress, SilentProgress
from prusc.engine.runtime import Runtime, stage_generator
from prusc.engine.training import epoch_batches, num_epoch_batches, train_weights
from prusc.errors import ConfigError, RunFolderError
from prusc.models.calls import to_device
from prusc.models.head import find_head
from prusc.models.reset import untrained_copy
from prusc.models.weights import copy_state
from prusc.runs.artifacts import ERM_WEIGHTS, read_clustering, write_clustering, write_skipped
from prusc.runs.folder import SKIPPED, RunFolder, read_cluster_csv
from prusc.runs.inputs import build_run_model, load_run_data, read_run_weights
from prusc.runs.resume import RunStages
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations, given_clustering
from prusc.stages.representations import extract_representations


@dataclass
class OpenRun:
    """What the stages of a run share.

    Attributes:
        config: Every setting.
        data: What to work on.
        network: Trained, or to be trained; ours to change.
        is_trained: Which of the two.
        given: What was given in Python, and is therefore not in the settings: ``model``, ``data``.
        runtime: Where to compute.
        folder: The run folder; ``None`` without one and in all processes but the main one.
        progress: Whom to tell.
    """

    config: RunConfig
    data: Data
    network: nn.Module
    is_trained: bool
    given: tuple[str, ...]
    runtime: Runtime
    folder: RunFolder | None
    progress: Progress

    def __post_init__(self) -> None:
        self.stages = RunStages(self.folder, self.runtime, self.progress)
        self.say = self.stages.say
        erm, drawn = self.config.erm, self.config.debiasing_set
        self.transform = InputTransform(self.data.mean, self.data.std, crop_size=self.config.data_options.crop_size)
        self.train_transform = replace(self.transform, flip=erm.flip, min_crop_scale=erm.min_crop_scale)
        self.debiasing_transform = replace(
            self.transform,
            flip=erm.flip if drawn.flip is None else drawn.flip,
            min_crop_scale=erm.min_crop_scale if drawn.min_crop_scale is None else drawn.min_crop_scale,
        )


@dataclass(frozen=True, eq=False)
class Original:
    """The network that a run starts from, and the clusters that show its shortcuts.

    Attributes:
        model: The network, on the runtime's device.
        head_name: Module name of its head.
        clustered: The network whose representations were clustered: the same one, one of its epochs, or one of its
            kind that was trained for a short time.
        clustering: Of the training split.
        val_cluster_ids: Nearest cluster of each validation sample.
        val_margins: See `Clustering.measure_margins`.
        val_final_ids: Cluster of each validation sample among those of the final network, where these were made.
    """

    model: nn.Module
    head_name: str
    clustered: nn.Module
    clustering: Clustering
    val_cluster_ids: Tensor
    val_margins: Tensor
    val_final_ids: Tensor | None


def open_run(
    model: nn.Module | None,
    data: Data | None,
    config: RunConfig | None,
    *,
    out: Path | str | None,
    force: bool,
    progress: Progress | None,
    check: Callable[[Data], None] | None = None,
) -> OpenRun:
    """Check and load what a run is made from, then open its folder; the arguments are those of :func:`prusc.debias`.

    ``check`` may refuse the data before anything is written.

    Raises:
        PruscError: If settings, data, network or run folder are not as they have to be.
    """
    config = config or RunConfig()
    runtime = Runtime(config.runtime)
    folder = RunFolder(Path(out)) if out is not None and runtime.is_main else None
    if folder is not None and folder.is_finished and not force:
        raise RunFolderError(
            f"run folder {folder.path} holds a finished run; read its metrics.json, name another folder, or run it "
            "anew with --force"
        )
    given = tuple(name for name, value in (("model", model), ("data", data)) if value is not None)
    weights = read_run_weights(config) if model is None else None
    progress = progress if progress is not None and runtime.is_main else SilentProgress()
    if data is None:
        data = load_run_data(config, progress)
    if config.selection.rule == "validation-groups" and data.val.attributes is None:
        raise ConfigError(
            f"selection.rule validation-groups needs group labels, and the validation split of {data.name!r} has no "
            "attributes; name them (data_options.attributes), or choose another rule"
        )
    if check is not None:
        check(data)
    is_trained = model is not None or config.trained is not None
    network = copy.deepcopy(model) if model is not None else build_run_model(config, data, weights)
    if config.trained is not None and config.weights is not None:
        _build_untrained(config, data)
    # Only now: an error in the data or the weights must leave no folder behind.
    if folder is not None:
        folder.open(config, force=force)
        write_skipped(folder, data)
    run = OpenRun(config, data, network, is_trained, given, runtime, folder, progress)
    run.say(
        f"data {data.name}: {', '.join(f'{len(s)} {n}' for n, s in data.splits.items())} samples of "
        f"{data.num_classes} classes"
    )
    if data.skipped:
        where = "" if folder is None else f", listed in {folder.path / SKIPPED}"
        run.say(f"skipped {len(data.skipped)} images that cannot be read{where}")
    return run


def find_original(run: OpenRun) -> Original:
    """Go through the first stages: train the network or take the trained one, and cluster its representations."""
    with run.stages.stage("erm"):
        model, checkpoints = _train_or_load(run)
    sample = to_device(take_inputs(run.data.train.inputs, torch.arange(2)), run.runtime.device)
    head_name = find_head(model, run.transform(sample), run.data.num_classes)
    clustered, which, untrained = model, "the final network", False
    epoch = run.config.clustering.checkpoint
    if epoch is not None and epoch in checkpoints:
        clustered, which = copy.deepcopy(model), f"the network of epoch {epoch}" if epoch else "the untrained network"
        clustered.load_state_dict(checkpoints[epoch])
        untrained = epoch == 0
    elif epoch is not None and run.is_trained and run.config.clustering.from_csv is None:
        with run.stages.stage("early_network"):
            early = _train_early(run, epoch)
        if early is not None:
            untrained = epoch == 0
            clustered, which = early, f"a network of its kind after {epoch} epoch{'s' * (epoch != 1)} of training"
    with run.stages.stage("clustering"):
        found = _cluster(run, model, clustered, head_name, which, untrained=untrained)
    return Original(model, head_name, clustered, *found)


def make_untrained(run: OpenRun) -> nn.Module | None:
    """Return a network of the run's kind as training begins with it; `find_original` trains the run's own.

    Returns:
        The network; ``None`` if a trained one was given in Python whose weights cannot be drawn anew.
    """
    if not run.is_trained:
        return copy.deepcopy(run.network)
    if "model" in run.given:
        return untrained_copy(run.network, stage_generator(run.config.seed, "model"))
    return _build_untrained(run.config, run.data)


def _build_untrained(config: RunConfig, data: Data) -> nn.Module:
    begin = replace(config, trained=None)
    return build_run_model(begin, data, read_run_weights(begin))


def _train_early(run: OpenRun, epoch: int) -> nn.Module | None:
    """Return what a network of the run's kind is after some epochs of ERM: a trained network shows less.

    It has memorised the samples that contradict its shortcut, and clusters them with the rest of their class.
    """
    network = make_untrained(run)
    if network is None:
        run.say("early network: none, the weights of the given network cannot be drawn anew (no reset_parameters)")
        return None
    network = run.runtime.place(network)
    stored = run.stages.stored(partial(_read_if_there, name=_checkpoint_name(epoch)))
    if stored is None:
        how = "trained for a short time" if epoch else "made"
        run.say(f"early network: no epochs of the given network are known; one of its kind is {how}")
        _train(run, network, {}, num_epochs=epoch)
        network.load_state_dict(run.runtime.broadcast(network.state_dict()))
    else:
        network.load_state_dict(stored)
    return network


def begin_from(original: RunFolder, folder: RunFolder, config: RunConfig) -> None:
    """Begin a run with the network and the clusters of another one, which went as far as `find_original`.

    Args:
        original: The folder of that run, whose settings differ from this one's after the clusters only.
        folder: Of the run to begin; what it holds already stays.
        config: The settings of the run to begin.

    Raises:
        RunFolderError: If the original is not there, or the folder cannot be begun.
    """
    if not has_original(original):
        raise RunFolderError(f"run folder {original.path} holds no trained and clustered network to begin with")
    folder.open(config, force=False)
    # The network comes last: with it, a run takes the rest for given.
    for name in (SKIPPED, "checkpoints", "clusters.csv", "stages", ERM_WEIGHTS):
        folder.take_over(original, name)


def has_original(folder: RunFolder) -> bool:
    """Whether the stages of `find_original` have come to their end in a run folder."""
    return folder.has(ERM_WEIGHTS) and read_clustering(folder) is not None


def _train_or_load(run: OpenRun) -> tuple[nn.Module, Mapping[int, Mapping[str, Tensor]]]:
    """Return the ERM network and its epoch checkpoints, by epoch."""
    model = run.runtime.place(run.network)
    stored = run.stages.stored(partial(_read_if_there, name=ERM_WEIGHTS))
    if stored is not None:
        if run.is_trained and any(not torch.equal(v.cpu(), stored[k]) for k, v in model.state_dict().items()):
            where = "" if run.folder is None else f" {run.folder.path}"
            raise RunFolderError(f"run folder{where} was begun with another network; name another folder or use force")
        model.load_state_dict(stored)
        run.say("erm: trained before, loaded")
        return model, {} if run.is_trained else _stored_checkpoints(run)
    checkpoints: dict[int, Mapping[str, Tensor]] = {}
    if run.is_trained:
        run.say("erm: a trained network was given")
    else:
        _train(run, model, checkpoints)
    model.load_state_dict(run.runtime.broadcast(model.state_dict()))
    if run.folder is not None:
        run.folder.write_tensors(ERM_WEIGHTS, model.state_dict())
    return model, checkpoints


def _train(
    run: OpenRun, model: nn.Module, checkpoints: dict[int, Mapping[str, Tensor]], num_epochs: int | None = None
) -> None:
    """Train by ERM, keeping a checkpoint of each epoch: on disk, and the one that clusters need in memory.

    ``num_epochs`` ends it early, in the midst of the schedule.
    """
    erm, num_samples = run.config.erm, len(run.data.train)
    last = erm.epochs if num_epochs is None else num_epochs
    generator = stage_generator(run.config.seed, "erm")
    per_epoch = num_epoch_batches(num_samples, erm.batch_size)
    num_steps = erm.epochs * per_epoch

    def keep(epoch: int) -> None:
        if run.folder is not None:
            run.folder.write_tensors(_checkpoint_name(epoch), model.state_dict())
        if epoch == run.config.clustering.checkpoint:
            checkpoints[epoch] = copy_state(model)

    def after_step(step: int, loss: float) -> None:
        run.progress.advance("ERM training", step, last * per_epoch)
        if step % per_epoch:
            return
        epoch = step // per_epoch
        run.say(f"erm: epoch {epoch} of {last}, loss {loss:.3f}")
        keep(epoch)

    if run.config.clustering.checkpoint == 0:
        keep(0)
    train_weights(
        model,
        run.data.train,
        (batch for _ in range(last) for batch in epoch_batches(num_samples, erm.batch_size, generator)),
        num_steps,
        learning_rate=erm.learning_rate,
        weight_decay=erm.weight_decay,
        transform=run.train_transform,
        runtime=run.runtime,
        generator=stage_generator(run.config.seed, "erm augmentation"),
        stage="ERM training",
        after_step=after_step,
    )


def _cluster(
    run: OpenRun, model: nn.Module, clustered: nn.Module, head_name: str, which: str, *, untrained: bool
) -> tuple[Clustering, Tensor, Tensor, Tensor | None]:
    """Return the clustering of the training split, and what `Original` tells of the validation samples."""
    stored = run.stages.stored(read_clustering)
    if stored is not None:
        return stored
    config, data = run.config.clustering, run.data

    def extract(network: nn.Module) -> tuple[Tensor, Tensor]:
        splits = data.train, data.val
        seen = (extract_representations(network, head_name, split, run.transform, run.runtime) for split in splits)
        train, val = (found.values for found in seen)
        return train, val

    train, val = extract(clustered)
    if config.from_csv is not None:
        clustering = given_clustering(train, read_cluster_csv(config.from_csv, data.train.labels))
    else:
        generator = stage_generator(run.config.seed, "clustering")
        clustering = cluster_representations(train, config, num_classes=data.num_classes, generator=generator)
        if untrained:
            clustering = replace(clustering, structure="untrained")
    val_cluster_ids = clustering.assign(val)
    val_margins, val_final_ids = clustering.measure_margins(val, val_cluster_ids), None
    num_final = run.config.debiasing_set.final_clusters
    if num_final:
        final_train, final_val = (train, val) if clustered is model else extract(model)
        final = cluster_representations(
            final_train,
            replace(config, num_clusters=num_final, candidates=(num_final,)),
            num_classes=data.num_classes,
            generator=stage_generator(run.config.seed, "clusters of the final network"),
            option="debiasing_set.final_clusters",
        )
        clustering, val_final_ids = replace(clustering, final_ids=final.cluster_ids), final.assign(final_val)
    if run.folder is not None:
        write_clustering(
            run.folder, clustering, val_cluster_ids, val_margins, val_final_ids, data, train=train, val=val
        )
    sizes = torch.bincount(clustering.cluster_ids, minlength=clustering.num_clusters).tolist()
    how = "given" if config.from_csv is not None else f"of the representations of {which}"
    structure = "" if clustering.untrained else f"; {clustering.structure} structure"
    run.say(f"clusters: {clustering.num_clusters} {how}, of {', '.join(map(str, sizes))} training samples{structure}")
    return clustering, val_cluster_ids, val_margins, val_final_ids


def _stored_checkpoints(run: OpenRun) -> Mapping[int, Mapping[str, Tensor]]:
    """Read the checkpoint that the clusters need."""
    epoch = run.config.clustering.checkpoint
    if epoch is None:
        return {}
    checkpoint = run.stages.stored(partial(RunFolder.read_tensors, name=_checkpoint_name(epoch)))
    assert checkpoint is not None, "called for a run that has a folder"
    return {epoch: checkpoint}


def _checkpoint_name(epoch: int) -> str:
    return f"checkpoints/epoch-{epoch:03d}.safetensors"


def _read_if_there(folder: RunFolder, name: str) -> dict[str, Tensor] | None:
    return folder.read_tensors(name) if folder.has(name) else None
