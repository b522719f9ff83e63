"""Stage 8: try what could follow a mask (or no mask), on equal terms for the subnetwork and for the controls."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data.table import Data, Split
from prusc.data.transforms import InputTransform
from prusc.engine.progress import Progress
from prusc.engine.runtime import Runtime, stage_generator
from prusc.engine.training import train_weights
from prusc.masks import BinaryMask
from prusc.models.head import get_head
from prusc.models.weights import copy_state
from prusc.stages.cross_fitting import HeldOut
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups
from prusc.stages.heads import fit_head, set_head
from prusc.stages.representations import Representations, extract_representations
from prusc.stages.selection.expected_accuracy import expected_accuracies
from prusc.stages.selection.judges import Answers, PseudoGroups, SelectionScore, choose, score_answers

DENSE = "dense"
"""What the network without a mask is called."""

DENSE_FAMILIES = {"as-is": "erm", "head": "last_layer", "weights": "finetune_all"}
"""What the candidates of the dense network are called, by what was fitted."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What every candidate is made with and judged on.

    Attributes:
        data: Its training split fits heads, its validation split judges.
        head_name: Module name of the head.
        source: The split that the de-biasing set draws from.
        debiasing_set: How it draws.
        judges: Pseudo-groups of the validation split that judge, its cells and its classes; the second is asked where
            the first finds nothing better than the original.
        judged: Indices of the validation samples that judge; those that the de-biasing set draws from do not.
        judged_cluster_ids: Cluster of each of them.
        untrained_clusters: Whether the clusters are of a network that had yet to learn the classes. Then the accuracy
            of a cell is smoothed towards what its cluster lets expect, and the cells judge first.
        held_out: How validation samples are drawn for heads; ``None`` if these are fitted on the de-biasing set.
        transform: Normalisation.
        debiasing_transform: Normalisation, and augmentation of what the de-biasing set draws.
        config: Every setting.
        runtime: Where to compute.
        progress: Whom to tell.
    """

    data: Data
    head_name: str
    source: Split
    debiasing_set: DebiasingSet
    judges: tuple[PseudoGroups, ...]
    judged: Tensor
    judged_cluster_ids: Tensor
    untrained_clusters: bool
    held_out: HeldOut | None
    transform: InputTransform
    debiasing_transform: InputTransform
    config: RunConfig
    runtime: Runtime
    progress: Progress

    def represent(self, model: nn.Module, split: Split) -> Representations:
        """Run a network over a split."""
        return extract_representations(model, self.head_name, split, self.transform, self.runtime)

    @property
    def judged_labels(self) -> Tensor:
        """Class of each validation sample that judges."""
        return self.data.val.labels[self.judged]

    def expect(self, val_logits: Tensor) -> Tensor | None:
        """Return how often a network should be right in the cell of each sample that judges, where that is asked."""
        # True groups, where they judge, are no cells.
        if not self.untrained_clusters or self.judges[0].kind == "groups":
            return None
        return expected_accuracies(val_logits[self.judged], self.judged_labels, self.judged_cluster_ids)

    def answers(self, candidate: "Candidate") -> Answers:
        """Return what a candidate says of the validation samples that judge."""
        return Answers(candidate.val_predictions[self.judged], candidate.expected)

    def score(self, candidate: "Candidate", judge: PseudoGroups) -> SelectionScore:
        """Judge a candidate."""
        return score_answers(self.answers(candidate), self.judged_labels, judge, self.config.selection)

    def choose(self, candidates: Sequence["Candidate"], judge: PseudoGroups) -> "Candidate":
        """Choose among candidates, the plainest first; those whose state was not kept cannot be chosen."""
        tolerance = self.config.selection.tolerance if judge.kind != "groups" else 0.0
        of_base: dict[str, list[tuple[Candidate, SelectionScore]]] = {}
        for candidate in candidates:
            if candidate.state:
                judged = (candidate, self.score(candidate, judge))
                of_base.setdefault(candidate.base_name, []).append(judged)
        if judge.kind == "classes":
            # First the plainest base, then what to do with it: a heavily pruned network must not decide how strongly
            # the head of the whole one is regularised.
            bests = [max((score for _, score in own), key=lambda score: score.score) for own in of_base.values()]
            ranked = list(of_base.values())[choose(bests, tolerance)]
        else:
            # Clusters that mirror what the network learned miss part of the shortcut: a new head of the whole network
            # can serve the cells that were found and keep it for the rest. Clusters of the untrained network do not
            # depend on what was learned, and a mask has to be worth what it costs.
            whole_first = self.untrained_clusters
            ranked = sorted(
                chain(*of_base.values()), key=lambda one: ((one[0].base_name == DENSE) != whole_first, -one[1].score)
            )
        return ranked[choose([score for _, score in ranked], tolerance)][0]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that could be the result.

    Attributes:
        name: Where it comes from.
        kind: ``as-is``, ``head`` or ``weights``: what was fitted after the mask.
        mask: Which weights it keeps.
        score: What the first judge thinks of it.
        val_predictions: Predicted class of each validation sample; of a head that was fitted on these, what the heads
            without the sample's fold predict.
        expected: See `Setting.expect`.
        val_average_accuracy: On the validation split.
        test: Figures on the test split, where they were asked for.
        state: Its state dict, on the CPU; empty if it did not have to be kept. Networks that differ in the head alone
            share all other tensors.
    """

    name: str
    kind: str
    mask: BinaryMask
    score: float
    val_predictions: Tensor
    expected: Tensor | None
    val_average_accuracy: float
    test: GroupEvaluation | None
    state: Mapping[str, Tensor]

    @property
    def base_name(self) -> str:
        """What the base network is called: ``dense``, or by the step of its mask."""
        return self.name.partition("/")[0]

    def restore(self, model: nn.Module) -> nn.Module:
        """Return the candidate as a copy of ``model``, a network of its class."""
        network = copy.deepcopy(model)
        network.load_state_dict(self.state)
        return network


def try_heads(base: nn.Module, name: str, mask: BinaryMask, setting: Setting) -> list[Candidate]:
    """Judge a network as it is and with refitted heads.

    Args:
        base: The dense network or one with a mask applied; on the runtime's device, not changed.
        name: What to call it.
        mask: Which weights it keeps.
        setting: What every candidate is made with and judged on.

    Returns:
        The network as it is, then the heads, the most strongly regularised first.
    """
    val = setting.represent(base, setting.data.val)
    test = setting.represent(base, setting.data.test) if setting.config.evaluate_candidates else None
    as_is = _judge(name, "as-is", mask, copy_state(base), val.logits, None if test is None else test.logits, setting)
    return [as_is, *_heads(base, as_is, val, test, setting)]


def try_training(base: nn.Module, name: str, mask: BinaryMask, setting: Setting) -> list[Candidate]:
    """Judge a network after training its surviving weights.

    Args:
        base: As in `try_heads`.
        name: What to call it.
        mask: Which weights it keeps.
        setting: What every candidate is made with and judged on.

    Returns:
        All of them; the best by score has its state.
    """
    return _keep_best(_trained(base, name, mask, setting))


def _heads(
    base: nn.Module, as_is: Candidate, val: Representations, test: Representations | None, setting: Setting
) -> Iterator[Candidate]:
    """Yield the base with its head refitted, for every strength of regularisation."""
    l2s = sorted(setting.config.finetune.head_l2, reverse=True)
    if not l2s:
        return
    fit = _head_fitter(base, as_is, val.values, setting)
    # The head is fitted anew, so none of its weights is pruned any more.
    head_weight = f"{setting.head_name}.weight"
    mask = BinaryMask(
        {key: torch.ones_like(kept) if key == head_weight else kept for key, kept in as_is.mask.tensors.items()}
    )
    model = copy.deepcopy(base)
    head = get_head(model, setting.head_name)
    for l2 in l2s:
        weight, bias, val_logits = fit(l2=l2)
        set_head(head, weight, bias)
        state = {key: _shared(value.detach().cpu(), as_is.state[key]) for key, value in model.state_dict().items()}
        test_logits = None if test is None else test.values @ weight.T + bias
        yield _judge(f"{as_is.name}/head(l2={l2:g})", "head", mask, state, val_logits, test_logits, setting)


def _head_fitter(
    base: nn.Module, as_is: Candidate, val: Tensor, setting: Setting
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Return what makes of an ``l2`` a head's weight and bias, and the logits of validation that judge it."""
    num_classes, has_bias = setting.data.num_classes, f"{setting.head_name}.bias" in as_is.state
    if setting.held_out is not None:
        return partial(setting.held_out.fit, val, num_classes=num_classes, has_bias=has_bias)
    views = _views(base, as_is.name, setting)
    values = torch.cat(views)
    labels, weights = (of_each.repeat(len(views)) for of_each in (setting.source.labels, setting.debiasing_set.weights))

    def fit(l2: float) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = fit_head(values, labels, weights, num_classes=num_classes, l2=l2)
        bias = bias if has_bias else torch.zeros_like(bias)
        return weight, bias, val @ weight.T + bias

    return fit


def _views(base: nn.Module, name: str, setting: Setting) -> list[Tensor]:
    """Return the representations that heads are fitted on: of random views of the images, or of these as they are."""
    num_views = setting.config.finetune.head_views
    if not num_views:
        return [setting.represent(base, setting.source).values]
    view = partial(
        extract_representations, base, setting.head_name, setting.source, setting.debiasing_transform, setting.runtime
    )
    names = (f"view {number} for the heads of {name}" for number in range(num_views))
    return [view(generator=stage_generator(setting.config.seed, name)).values for name in names]


def _shared(value: Tensor, original: Tensor) -> Tensor:
    """Return the original where it is the same, so that networks that differ in little take little memory."""
    return original if torch.equal(value, original) else value.clone()


def _trained(base: nn.Module, name: str, mask: BinaryMask, setting: Setting) -> Iterator[Candidate]:
    """Yield the base with all surviving weights trained on the de-biasing set, for every learning rate."""
    config = setting.config.finetune
    for rate in config.learning_rates:
        full_name = f"{name}/weights(lr={rate:g})"
        generator = stage_generator(setting.config.seed, full_name)
        model = copy.deepcopy(base)
        train_weights(
            model,
            setting.source,
            (setting.debiasing_set.draw(config.batch_size, generator) for _ in range(config.steps)),
            config.steps,
            learning_rate=rate,
            weight_decay=config.weight_decay,
            transform=setting.debiasing_transform,
            runtime=setting.runtime,
            generator=generator,
            stage=f"fine-tuning {full_name}",
            mask=mask,
            after_step=partial(_advance, setting.progress, full_name, config.steps),
        )
        val = setting.represent(model, setting.data.val)
        test = setting.represent(model, setting.data.test) if setting.config.evaluate_candidates else None
        test_logits = None if test is None else test.logits
        yield _judge(full_name, "weights", mask, copy_state(model), val.logits, test_logits, setting)


def _advance(progress: Progress, task: str, total: int, step: int, _loss: float) -> None:
    progress.advance(task, step, total)


def _judge(
    name: str,
    kind: str,
    mask: BinaryMask,
    state: Mapping[str, Tensor],
    val_logits: Tensor,
    test_logits: Tensor | None,
    setting: Setting,
) -> Candidate:
    predictions = val_logits.argmax(dim=1)
    candidate = Candidate(
        name=name,
        kind=kind,
        mask=mask,
        score=0.0,
        val_predictions=predictions,
        expected=setting.expect(val_logits),
        val_average_accuracy=(predictions == setting.data.val.labels).double().mean().item(),
        test=None
        if test_logits is None
        else evaluate_groups(test_logits.argmax(dim=1), setting.data.test, setting.data),
        state=state,
    )
    return replace(candidate, score=setting.score(candidate, setting.judges[0]).score)


def _keep_best(candidates: Iterator[Candidate]) -> list[Candidate]:
    """Drop the state of all but the best, one at a time, so that two networks at most are in memory."""
    found: list[Candidate] = []
    best = -1
    for candidate in candidates:
        found.append(candidate)
        if best < 0 or candidate.score > found[best].score:
            if best >= 0:
                found[best] = replace(found[best], state={})
            best = len(found) - 1
        else:
            found[-1] = replace(candidate, state={})
    return found
