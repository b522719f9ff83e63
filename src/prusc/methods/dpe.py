"""DPE: replace the head by an ensemble of class prototypes that a loss keeps diverse."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.engine.training import check_finite
from prusc.losses import prototype_similarity
from prusc.methods.held_out import NUM_FOLDS, Predict, cross_fit
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class DPESettings:
    """Settings of DPE; the defaults are those of the published code that do not depend on the network.

    Attributes:
        num_members: Number of members of the ensemble; each one has a prototype of every class.
        epochs: Passes of each member over its own class-balanced subset of the validation split.
        batch_size: Samples per step.
        learning_rate: Learning rate of stochastic gradient descent with momentum 0.9.
        diversity: Weight of the similarity to the earlier members. The published code multiplies it by 1e5 and divides
            it by the dimensions less one. With the 2,048 dimensions of the paper's networks, that is about 50.
        shrinkage: Weight of the mean squared norm of the prototypes. Distances do not depend on the norm, but the angle
            by which a step turns a prototype does.
        entropic_scale: Multiplies the logits in the training loss.
        initial_deviation: Standard deviation of the prototypes' start. A step turns a short prototype further than a
            long one.
    """

    num_members: int = 15
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3
    diversity: float = 50.0
    shrinkage: float = 10.0
    entropic_scale: float = 30.0
    initial_deviation: float = 0.01

    def __post_init__(self) -> None:
        require_positive(
            self, "num_members", "epochs", "batch_size", "learning_rate", "entropic_scale", "initial_deviation"
        )
        require_not_negative(self, "diversity", "shrinkage")


def standardise(representations: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Give each representation mean 0 over its dimensions and length 1; a constant one becomes 0."""
    return F.normalize(representations - representations.mean(dim=1, keepdim=True), dim=1)


def distance_logits(
    directions: Float[Tensor, "batch dim"],
    prototypes: Float[Tensor, "members classes dim"],
    scales: Float[Tensor, " members"],
) -> Float[Tensor, "members batch classes"]:
    """Return the logits of each member: the negative, scaled distances to its prototypes on the unit sphere.

    Args:
        directions: Representations of length 1.
        prototypes: Prototypes of any length other than 0.
        scales: Multiply the distances; their sign does not matter.

    References:
        Macedo and Ludermir 2021, arXiv:2105.14399 (IsoMax+), whose logits DPE uses.
    """
    distances = torch.cdist(directions.expand(len(prototypes), -1, -1), F.normalize(prototypes, dim=2))
    return -scales.abs()[:, None, None] * distances


class PrototypeHead(nn.Module):
    """Head whose logits are the logarithm of the members' mean class probabilities.

    Args:
        num_members: Number of members.
        num_classes: Number of classes.
        dim: Dimension of the representations.
    """

    def __init__(self, num_members: int, num_classes: int, dim: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.ones(num_members, num_classes, dim))
        self.scales = nn.Parameter(torch.ones(num_members))

    def forward(self, representations: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Return logits whose softmax is the mean over the members."""
        logits = distance_logits(standardise(representations.float()), self.prototypes, self.scales)
        return logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(self.scales))


def balanced_subset(labels: Int[Tensor, " samples"], generator: torch.Generator) -> Int[Tensor, " chosen"]:
    """Draw equally many samples of every class, as many as the smallest non-empty class has, in random order."""
    order = torch.randperm(len(labels), generator=generator)
    classes, sizes = labels.unique(return_counts=True)
    chosen = torch.cat([order[labels[order] == label][: int(sizes.min())] for label in classes])
    return chosen[torch.randperm(len(chosen), generator=generator)]


def _fit_member(
    directions: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    others: Float[Tensor, "members classes dim"],
    settings: DPESettings,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, ""]]:
    """Train one member, prototypes and scale, to be unlike the earlier members."""
    subset = balanced_subset(labels, generator)
    start = settings.initial_deviation * torch.randn(others.shape[1:], generator=generator)
    prototypes = start.requires_grad_()
    scale = torch.ones(1).requires_grad_()
    optimizer = torch.optim.SGD([prototypes, scale], lr=settings.learning_rate, momentum=0.9)
    for step in range(settings.epochs):
        for batch in subset[torch.randperm(len(subset), generator=generator)].split(settings.batch_size):
            logits = distance_logits(directions[batch], prototypes[None], scale)[0]
            loss = F.cross_entropy(settings.entropic_scale * logits, labels[batch])
            loss = loss + settings.shrinkage * prototypes.square().sum(dim=1).mean()
            if len(others):
                loss = loss + settings.diversity * prototype_similarity(prototypes, others)
            check_finite(loss, step, "DPE")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return prototypes.detach(), scale.detach()[0]


def _train(inputs: MethodInputs, settings: DPESettings) -> Trained:
    """Fit the members, one after another, to validation representations of the frozen ERM network.

    As in the paper without group labels, the classes are balanced. The samples are those of validation, because the
    network has memorised those of training. The paper's code keeps the best epoch of each member by the groups of
    validation; here the last epoch counts.

    The method assumes that the attribute is independent of the class in a class-balanced validation split. That holds
    for Waterbirds. It does not hold for fashion-stickers, where the prototypes learn the shortcut.
    """
    found = inputs.represent(inputs.trained, inputs.val)
    directions, generator = standardise(found.held), inputs.generator("prototypes")
    done = 0

    def fit(chosen: Tensor) -> PrototypeHead:
        nonlocal done
        prototypes = torch.empty(0, inputs.num_classes, directions.shape[1])
        scales = []
        for _ in range(settings.num_members):
            own, scale = _fit_member(directions[chosen], found.labels[chosen], prototypes, settings, generator)
            prototypes = torch.cat([prototypes, own[None]])
            scales.append(scale)
            done += 1
            inputs.progress.advance("DPE", done, settings.num_members * (NUM_FOLDS + 1))
        head = PrototypeHead(*prototypes.shape)
        head.load_state_dict({"prototypes": prototypes, "scales": torch.stack(scales)})
        return head.requires_grad_(False)

    def fit_fold(chosen: Tensor) -> Predict:
        head = fit(chosen)
        return lambda asked: head(found.values[asked])

    head = fit(torch.arange(len(found.labels)))
    val_logits = cross_fit(fit_fold, found.labels, inputs.generator("folds"))
    network = _with_head(inputs, head.state_dict())
    return Trained(network, facts={"mean_similarity": _mean_similarity(head.prototypes)}, val_logits=val_logits)


def _mean_similarity(prototypes: Float[Tensor, "members classes dim"]) -> float:
    """Return the mean cosine similarity of two members' prototypes of one class; 1 for a single member."""
    unit = F.normalize(prototypes, dim=2)
    cosines = torch.einsum("mcd,ncd->cmn", unit, unit)
    num_members = len(prototypes)
    if num_members == 1:
        return 1.0
    return ((cosines.sum(dim=(1, 2)) - num_members) / (num_members * (num_members - 1))).mean().item()


def _with_head(inputs: MethodInputs, state: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the ERM network with the prototypes of the state as its head."""
    head = PrototypeHead(*state["prototypes"].shape)
    head.load_state_dict(state)
    network = inputs.erm_network()
    network.set_submodule(inputs.head_name, head.to(inputs.feed.runtime.device))
    return network


def _rebuild(inputs: MethodInputs, state: Mapping[str, Tensor]) -> nn.Module:
    prefix = f"{inputs.head_name}."
    network = _with_head(inputs, {name: state[prefix + name] for name in ("prototypes", "scales")})
    network.load_state_dict(state)
    return network


DPE = TrainedMethod(
    name="dpe",
    title="DPE",
    paper="To et al. 2025, arXiv:2505.23027",
    group_labels="none",
    train=_train,
    settings=(
        DPESettings(),
        DPESettings(diversity=5.0),
        DPESettings(epochs=100),
        DPESettings(diversity=0.0),
        DPESettings(diversity=5.0, epochs=100),
        DPESettings(learning_rate=1e-2),
        DPESettings(diversity=5.0, learning_rate=1e-2),
        DPESettings(shrinkage=0.0),
    ),
    starts_from_erm=True,
    trains_on_validation=True,
    rebuild=_rebuild,
)
