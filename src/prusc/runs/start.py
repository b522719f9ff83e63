"""The first stages of every run: the ERM network, trained or given, and the pseudo-attribute."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.engine.runtime import stage_generator
from prusc.errors import RunFolderError
from prusc.models.head import find_head
from prusc.models.reset import untrained_copy
from prusc.models.weights import copy_state
from prusc.runs.artifacts import ERM_WEIGHTS, read_attribute, write_attribute
from prusc.runs.first_look import look_first
from prusc.runs.folder import SKIPPED, RunFolder
from prusc.runs.inputs import build_untrained
from prusc.runs.session import Session
from prusc.stages.cells import make_cells
from prusc.stages.erm import train_erm
from prusc.stages.evidence import choose_source, describe_evidence, measure_evidence
from prusc.stages.kept_representations import ERM, KeptRepresentations
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.pseudo_attributes.given import read_cluster_csv
from prusc.stages.pseudo_attributes.infer import Seen, infer_attribute, take_given_attribute
from prusc.stages.representations import Representations, extract_representations

State = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Start:
    """What every remedy starts from.

    Attributes:
        erm: The ERM network, on the runtime's device.
        head_name: Module name of its head.
        clustered: The network whose representations were clustered: the ERM network, one of its epochs, or an early
            network of the same architecture.
        attribute: The pseudo-attribute of the training and the validation split.
        kept: Representations that several stages need.
    """

    erm: nn.Module
    head_name: str
    clustered: nn.Module
    attribute: PseudoAttribute
    kept: KeptRepresentations = field(default_factory=KeptRepresentations)

    def represent_erm(self, session: Session) -> Representations:
        """Return representations and logits of the ERM network, of the validation split."""
        return _represent_val(session, self.kept, ERM, self.erm, self.head_name)

    def represent_clustered(self, session: Session) -> Representations:
        """Return the representations that were clustered, of the validation split."""
        name = _name_clustered(self.clustered, self.erm)
        return _represent_val(session, self.kept, name, self.clustered, self.head_name)


@dataclass(frozen=True)
class _Clustered:
    """The network whose representations are clustered, and its title in the log."""

    network: nn.Module
    title: str
    is_untrained: bool


def start_run(session: Session) -> Start:
    """Train the ERM network, or take the given one, and infer the pseudo-attribute."""
    with session.stages.timed("erm"):
        erm, checkpoints = train_or_load(session)
    head_name = find_head(erm, session.feed.take(torch.arange(2)), session.data.num_classes)
    clustered, kept = _choose_clustered(session, erm, checkpoints), KeptRepresentations()
    attribute = session.stages.stage(
        "clustering",
        lambda: _infer(session, erm, head_name, clustered, kept),
        read_attribute,
        partial(write_attribute, data=session.data),
    )
    return Start(erm, head_name, clustered.network, attribute, kept)


def make_untrained(session: Session) -> nn.Module | None:
    """Return a network of the run's architecture as it is before training.

    Returns:
        The network; ``None`` if a trained network was given in Python and its weights cannot be initialised again.
    """
    if not session.is_trained:
        return copy.deepcopy(session.network)
    if "model" in session.given:
        return untrained_copy(session.network, stage_generator(session.config.seed, "model"))
    return build_untrained(session.config, session.data)


def begin_from(original: RunFolder, folder: RunFolder, config: RunConfig) -> None:
    """Begin a run with the ERM network and the pseudo-attribute of another run.

    Args:
        original: The folder of the other run, whose settings differ only for stages after the clustering.
        folder: The folder of the run to begin; existing files stay.
        config: The settings of the run to begin.

    Raises:
        RunFolderError: If the other run lacks these stages, or the folder cannot be opened.
    """
    if not has_start(original):
        raise RunFolderError(f"run folder {original.path} holds no trained and clustered network to begin with")
    folder.open(config, force=False)
    # The network comes last, because a resumed run with a network expects the other files.
    for name in (SKIPPED, "checkpoints", "clusters.csv", "stages", ERM_WEIGHTS):
        folder.take_over(original, name)


def has_start(folder: RunFolder) -> bool:
    """Whether a run folder holds the results of `start_run`."""
    return folder.has(ERM_WEIGHTS) and read_attribute(folder) is not None


def train_or_load(session: Session) -> tuple[nn.Module, dict[int, State]]:
    """Train the ERM network, or take the given one or that of the run folder.

    Returns:
        The ERM network, and the state of the epoch that is clustered, if it was trained now.
    """
    model = session.runtime.place(session.network)
    checkpoints: dict[int, State] = {}
    is_stored = True

    def make() -> dict[str, Tensor]:
        nonlocal is_stored
        is_stored = False
        if session.is_trained:
            session.log("erm: using the given trained network")
        else:
            _train(session, model, checkpoints)
        return session.runtime.broadcast(model.state_dict())

    state = session.stages.make_or_read(make, partial(_read_if_there, name=ERM_WEIGHTS), _write_erm)
    given = model.state_dict() if is_stored and session.is_trained else {}
    if any(not torch.equal(value.cpu(), state[key].cpu()) for key, value in given.items()):
        raise RunFolderError(
            f"{session.stages.title} holds a run of another network; name another folder with --out, or delete that "
            "run with --force"
        )
    model.load_state_dict(state)
    if is_stored:
        session.log("erm: loaded from the run folder")
    if session.is_trained:
        look_first(session, model)
    return model, checkpoints


def _train(session: Session, model: nn.Module, checkpoints: dict[int, State], num_epochs: int | None = None) -> None:
    """Train by ERM; keep the epoch to cluster in memory, and on disk, where a resumed run reads it."""

    def keep(epoch: int) -> None:
        if epoch == session.config.early_epoch:
            session.stages.write(model.state_dict(), partial(_write_checkpoint, epoch=epoch))
            checkpoints[epoch] = copy_state(model)

    if session.config.early_epoch == 0:
        keep(0)
    train_erm(
        model,
        session.train_feed,
        session.config.erm,
        seed=session.config.seed,
        num_epochs=num_epochs,
        after_epoch=keep,
        progress=session.stages,
    )


def _choose_clustered(session: Session, erm: nn.Module, checkpoints: Mapping[int, State]) -> _Clustered:
    """Return the network whose representations are clustered."""
    epoch = session.config.early_epoch
    if epoch is None:
        return _Clustered(erm, "the ERM network", is_untrained=False)
    if not session.is_trained:
        network = copy.deepcopy(erm)
        network.load_state_dict(checkpoints.get(epoch) or _read_checkpoint(session, epoch))
        title = f"the network after epoch {epoch}" if epoch else "the untrained network"
        return _Clustered(network, title, is_untrained=epoch == 0)
    if session.config.clustering.from_csv is None:
        with session.stages.timed("early_network"):
            early = _train_early(session, epoch)
        if early is not None:
            title = f"your architecture after {_count_epochs(epoch)} of training"
            return _Clustered(early, title, is_untrained=epoch == 0)
    return _Clustered(erm, "the ERM network", is_untrained=False)


def _train_early(session: Session, epoch: int) -> nn.Module | None:
    """Retrain the run's architecture for some epochs of ERM, because a fully trained network hides the evidence.

    It has memorised the samples that contradict its shortcut, and clusters them with the rest of their class.
    """
    network = make_untrained(session)
    if network is None:
        session.log(
            "early network: none, because most weights of the given network have no reset_parameters that initialises "
            "them; clustering the ERM network instead"
        )
        return None
    network = session.runtime.place(network)

    def make() -> dict[str, Tensor]:
        how = f"training your architecture for {_count_epochs(epoch)}" if epoch else "your architecture, untrained"
        session.log(f"early network: {how}, because a fully trained network hides the evidence")
        _train(session, network, {}, num_epochs=epoch)
        return session.runtime.broadcast(network.state_dict())

    network.load_state_dict(session.stages.make_or_read(make, partial(_read_if_there, name=_checkpoint_name(epoch))))
    return network


def _read_checkpoint(session: Session, epoch: int) -> State:
    """Read the state of an epoch that an earlier part of the run has trained."""

    def fail() -> dict[str, Tensor]:
        raise RunFolderError(
            f"{session.stages.title} lacks {_checkpoint_name(epoch)}; start the run again with --force"
        )

    return session.stages.make_or_read(fail, partial(_read_if_there, name=_checkpoint_name(epoch)))


def _infer(
    session: Session, erm: nn.Module, head_name: str, clustered: _Clustered, kept: KeptRepresentations
) -> PseudoAttribute:
    """Infer the pseudo-attribute from the representations of the clustered network."""
    config, data = session.config, session.data
    network = clustered.network
    values = {
        "train": extract_representations(network, session.feed, head_name=head_name).values,
        "val": _represent_val(session, kept, _name_clustered(network, erm), network, head_name).values,
    }
    if config.clustering.from_csv is not None:
        ids = read_cluster_csv(config.clustering.from_csv, data.train.labels)
        attribute, how = take_given_attribute(values, ids), f"from {config.clustering.from_csv}"
    else:
        seen = Seen(
            values=values,
            labels={name: data.splits[name].labels for name in values},
            num_classes=data.num_classes,
            is_untrained=clustered.is_untrained,
            clustering=config.clustering,
            config=config.pseudo_attribute,
            seed=config.seed,
        )
        predictions = _represent_val(session, kept, ERM, erm, head_name).predictions
        attribute = _choose_source(session, seen, predictions)
        how = f"{attribute.source}, from the representations of {clustered.title}"
    sizes = torch.bincount(attribute.splits["train"].ids, minlength=attribute.num_values).tolist()
    structure = f"; {attribute.clustering.structure} structure" if attribute.mirrors_network else ""
    counts = ", ".join(map(str, sizes))
    session.log(f"pseudo-attribute: {attribute.num_values} values {how}, with {counts} training samples{structure}")
    return attribute


def _choose_source(session: Session, seen: Seen, predictions: Tensor) -> PseudoAttribute:
    """Infer the pseudo-attribute from each source, and take the one on whose conflicting samples ERM fails most."""
    data = session.data
    found = {source: infer_attribute(source, seen) for source in seen.config.compared}
    evidence = {
        source: measure_evidence(source, predictions, make_cells(attribute, data, "val"))
        for source, attribute in found.items()
    }
    best = choose_source(evidence)
    for source, one in evidence.items():
        session.log(f"source {source}: {describe_evidence(one)}{'; used' * (source == best and len(found) > 1)}")
    others = tuple(one for source, one in evidence.items() if source != best)
    return replace(found[best], evidence=(evidence[best], *others))


def _represent_val(
    session: Session, kept: KeptRepresentations, name: str, network: nn.Module, head_name: str
) -> Representations:
    """Return the representations of the validation split, extracted if no stage has needed them so far."""
    feed = session.feed.of(session.data.val)
    return kept.take(name, "val", lambda: extract_representations(network, feed, head_name=head_name))


def _name_clustered(clustered: nn.Module, erm: nn.Module) -> str:
    return ERM if clustered is erm else "clustered"


def _count_epochs(number: int) -> str:
    return f"{number} epoch{'s' * (number != 1)}"


def _checkpoint_name(epoch: int) -> str:
    return f"checkpoints/epoch-{epoch:03d}.safetensors"


def _write_checkpoint(folder: RunFolder, state: State, epoch: int) -> None:
    folder.write_tensors(_checkpoint_name(epoch), state)


def _write_erm(folder: RunFolder, state: State) -> None:
    folder.write_tensors(ERM_WEIGHTS, state)


def _read_if_there(folder: RunFolder, name: str) -> dict[str, Tensor] | None:
    return folder.read_tensors(name) if folder.has(name) else None
