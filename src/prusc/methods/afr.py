"""AFR: refit the last layer on held-out training samples, weighted towards those with a low class probability."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.methods.budget import Cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.head import get_head
from prusc.stages.heads import Head

_HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class AFRSettings:
    """Settings of AFR.

    Attributes:
        sharpness: gamma; how steeply a sample's weight falls with the probability of its class.
        l2: lambda; weight of the squared distance from the ERM network's head.
    """

    sharpness: float = 14.0
    l2: float = 0.2

    def __post_init__(self) -> None:
        require_positive(self, "l2")
        require_not_negative(self, "sharpness")


def weigh_samples(
    logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"], *, sharpness: float
) -> Float[Tensor, " samples"]:
    """Weight each sample by ``exp(-gamma * p)`` divided by the size of its class.

    ``p`` is the probability that the ERM network gives to the class of the sample.

    Args:
        logits: Logits of the ERM network.
        labels: Class of each sample.
        sharpness: gamma, at least 0.

    Returns:
        Weights that sum to 1.

    References:
        Qiu et al. 2023, arXiv:2306.11074, equation 3.
    """
    probability = logits.double().softmax(dim=1).gather(1, labels[:, None])[:, 0]
    weights = (-sharpness * probability).exp() / torch.bincount(labels)[labels]
    return weights / weights.sum()


def refit_head(
    values: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    weights: Float[Tensor, " samples"],
    head: Head,
    *,
    l2: float,
) -> Head:
    """Refit a head by weighted cross-entropy, and keep it near its start.

    Minimises the weighted cross-entropy plus ``l2`` times the squared distance of weight and bias from ``head``.

    Args:
        values: Representations.
        labels: Class of each sample.
        weights: Weight of each sample; they sum to 1.
        head: Head that the fit starts from and stays near to.
        l2: Greater than 0, so that there is one minimum.

    Returns:
        The refitted head.
    """
    design = torch.cat([values, values.new_ones(len(values), 1)], dim=1).double()
    origin = torch.cat([head[0], head[1][:, None]], dim=1).double()
    coefficients = origin.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [coefficients], max_iter=500, tolerance_grad=1e-7, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        losses = F.cross_entropy(design @ coefficients.T, labels, reduction="none")
        total = weights @ losses + l2 * (coefficients - origin).square().sum()
        total.backward()
        return total

    solver.step(objective)
    fitted = coefficients.detach().float()
    return Head(fitted[:, :-1], fitted[:, -1])


def _first_stage(inputs: MethodInputs) -> tuple[nn.Module, Tensor]:
    """Train by ERM on 80 % of the training split; return the network and the indices of the other 20 %."""
    order = torch.randperm(len(inputs.train), generator=inputs.generator("parts"))
    held_out, rest = order.split([num := round(_HELD_OUT_SHARE * len(order)), len(order) - num])
    schedule = inputs.epochs("batches", inputs.config.erm.epochs, rest)
    return inputs.fit(inputs.new_network(), schedule, "AFR, first stage"), held_out


def _train(inputs: MethodInputs, settings: AFRSettings) -> Trained:
    """Train on 80 % of the training split, then refit the head on the other 20 %.

    The paper stops its gradient descent early, by the groups of the validation split. Here the head is fitted to the
    minimum, and only the distance from the ERM network's head regularises it. The paper tunes gamma and lambda for
    every data set; the defaults are those of its code for Waterbirds.
    """
    first, held_out = inputs.once("first stage", lambda: _first_stage(inputs))
    seen = inputs.once("held out", lambda: inputs.represent(first, inputs.train.subset(held_out)))
    weights = weigh_samples(seen.logits, seen.labels, sharpness=settings.sharpness)
    network = copy.deepcopy(first)
    head = get_head(network, inputs.head_name)
    weight = head.weight.detach().cpu()
    bias = weight.new_zeros(len(weight))
    if head.bias is not None:
        bias = head.bias.detach().cpu()
    refit_head(seen.held, seen.labels, weights, Head(weight, bias), l2=settings.l2).write(head)
    wrong = seen.predictions != seen.labels
    return Trained(network, facts={"num_mistakes": int(wrong.sum()), "weight_of_mistakes": weights[wrong].sum().item()})


AFR = TrainedMethod(
    name="afr",
    title="AFR",
    paper="Qiu et al. 2023, arXiv:2306.11074",
    group_labels="none",
    train=_train,
    settings=(
        AFRSettings(),
        # Three strengths first: so many settings are tried by default.
        *(
            AFRSettings(sharpness=sharpness, l2=l2)
            for l2 in (1e-3, 1e-5, 1e-1, 1e-2, 1e-4)
            for sharpness in (4.0, 8.0, 2.0, 14.0, 1.0)
        ),
    ),
    starts_from_erm=False,
    cost=lambda _settings, _erm: Cost(0.0, {"first stage": 1 - _HELD_OUT_SHARE}),
)
