"""Candidates are recipes: what is made again is what was judged."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from prusc import RunConfig
from prusc.config import FinetuneConfig, MaskConfig
from prusc.data.table import Data
from prusc.masks import BinaryMask, apply_mask, whole_mask
from prusc.models.build import SmallCNN
from prusc.stages.candidates import DENSE, Candidate, CandidateContext, try_heads, try_training
from prusc.stages.cells import Cells
from prusc.stages.cross_fitting import Folds, make_folds
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.evaluation import evaluate_groups
from prusc.stages.heads import fit_head
from prusc.stages.representations import extract_representations, predict
from tests.networks import NUM_CLASSES, Listener, feed_of, generator, randomise, striped_data

CONFIG = RunConfig(
    masks=MaskConfig(batch_size=16),
    finetune=FinetuneConfig(steps=3, batch_size=16, head_l2=(0.01, 1.0), learning_rates=(1e-3, 1e-2)),
)
BASES = [DENSE, "mask@7"]


def network() -> nn.Module:
    return randomise(SmallCNN(NUM_CLASSES))


def val_cells(data: Data) -> Cells:
    return Cells(data.val.labels, torch.arange(len(data.val)) % 2, num_classes=NUM_CLASSES)


def make_context(config: RunConfig = CONFIG, folds: Folds | None = None) -> CandidateContext:
    data = striped_data(48)
    flipped = replace(feed_of(data.train).transform, flip=True)
    return CandidateContext(
        model=network(),
        head_name="head",
        data=data,
        feed=feed_of(data.train),
        draws=feed_of(data.train, flipped),
        debiasing_set=build_debiasing_set(Cells(data.train.labels, torch.arange(48) % 2)),
        folds=folds,
        config=config,
        progress=Listener(),
    )


def mask_of(context: CandidateContext, name: str) -> BinaryMask:
    whole = whole_mask(context.model)
    if name == DENSE:
        return whole
    source = generator(3)
    return BinaryMask({key: torch.rand(kept.shape, generator=source) < 0.6 for key, kept in whole.tensors.items()})


def make_all(context: CandidateContext, name: str) -> list[Candidate]:
    mask = mask_of(context, name)
    return try_heads(name, mask, context) + try_training(name, mask, context)


def check_mask(candidate: Candidate, network: nn.Module) -> None:
    """What the mask prunes is zero."""
    parameters = dict(network.named_parameters())
    for key, kept in candidate.mask.tensors.items():
        assert not bool(parameters[key][~kept].any())


@pytest.mark.parametrize("name", BASES)
def test_what_is_made_again_has_the_logits_that_were_judged(name: str) -> None:
    context = make_context()
    before = {key: value.clone() for key, value in context.model.state_dict().items()}
    found = make_all(context, name)
    assert [(candidate.name, candidate.kind) for candidate in found] == [
        (name, "as-is"),
        (f"{name}/head(l2=1)", "head"),
        (f"{name}/head(l2=0.01)", "head"),
        (f"{name}/weights(lr=0.001)", "weights"),
        (f"{name}/weights(lr=0.01)", "weights"),
    ]
    # The state of the last one alone is kept; the one before is trained again.
    assert [bool(candidate.state) for candidate in found] == [False] * 4 + [True]
    logits = []
    for candidate in found:
        assert candidate.base_name == name
        for way in (candidate, replace(candidate, state={})):
            made = context.make_again(way)
            assert type(made) is SmallCNN
            assert made is not context.model
            check_mask(candidate, made)
            torch.testing.assert_close(predict(made, context.val), candidate.val_logits, rtol=1e-4, atol=1e-4)
            assert torch.equal(predict(made, context.val).argmax(dim=1), candidate.val_predictions)
        logits.append(candidate.val_logits)
    for first, second in pairwise(logits):
        assert not torch.allclose(first, second), "each candidate is another network"
    assert all(torch.equal(value, before[key]) for key, value in context.model.state_dict().items())


def test_weights_trained_again_are_the_same_bit_for_bit() -> None:
    context = make_context()
    last = make_all(context, "mask@7")[-1]
    again = context.make_again(replace(last, state={})).state_dict()
    assert last.state.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in last.state.items())


def test_as_is_is_the_masked_network_with_statistics_of_its_own() -> None:
    mask = mask_of(make_context(), "mask@7")
    kept, new = (
        try_heads("mask@7", mask, make_context(replace(CONFIG, masks=MaskConfig(reestimate_batch_norm=asked))))[0]
        for asked in (False, True)
    )
    expected = network()
    apply_mask(expected, mask)
    context = make_context()
    torch.testing.assert_close(kept.val_logits, predict(expected, context.val))
    assert not torch.allclose(new.val_logits, kept.val_logits)
    dense = try_heads(DENSE, mask_of(context, DENSE), context)[0]
    torch.testing.assert_close(dense.val_logits, predict(network(), context.val))


def test_heads_are_those_of_the_debiasing_set_and_prune_no_weight_of_theirs() -> None:
    context = make_context()
    heads = {c.name: c for c in try_heads("mask@7", mask_of(context, "mask@7"), context) if c.kind == "head"}
    base = context.make_base("mask@7", mask_of(context, "mask@7"))
    train, val = (
        extract_representations(base, context.feed.of(split)) for split in (context.data.train, context.data.val)
    )
    for l2 in (0.01, 1.0):
        expected = fit_head(train.values, train.labels, context.debiasing_set.weights, l2=l2, num_classes=NUM_CLASSES)
        candidate = heads[f"mask@7/head(l2={l2:g})"]
        torch.testing.assert_close(candidate.val_logits, expected.logits(val.values))
        assert bool(candidate.mask.tensors["head.weight"].all())
        assert candidate.mask.density > mask_of(context, "mask@7").density


def test_without_strengths_there_is_the_network_as_it_is_alone() -> None:
    context = make_context(replace(CONFIG, finetune=replace(CONFIG.finetune, head_l2=())))
    assert [candidate.kind for candidate in try_heads(DENSE, mask_of(context, DENSE), context)] == ["as-is"]


def test_heads_of_validation_are_judged_without_their_fold_and_made_again_with_all() -> None:
    data = striped_data(48)
    folds = make_folds(val_cells(data), CONFIG.debiasing_set, num_folds=4, generator=generator())
    context = make_context(folds=folds)
    as_is, *heads = try_heads(DENSE, mask_of(context, DENSE), context)
    values = extract_representations(context.model, context.val).values
    torch.testing.assert_close(predict(context.make_again(as_is), context.val), as_is.val_logits)
    for l2, candidate in zip((1.0, 0.01), heads, strict=True):
        kept, cross_fitted = folds.fit(values, l2=l2, num_classes=NUM_CLASSES)
        torch.testing.assert_close(candidate.val_logits, cross_fitted)
        # The network has the head that saw all folds.
        made = predict(context.make_again(candidate), context.val)
        torch.testing.assert_close(made, kept.logits(values), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(made, candidate.val_logits, rtol=1e-2, atol=1e-2)


def test_figures_on_the_test_split_are_there_if_asked_for_and_are_those_of_the_network() -> None:
    assert all(candidate.test is None for candidate in make_all(make_context(), DENSE))
    context = make_context(replace(CONFIG, evaluate_candidates=True))
    for candidate in make_all(context, "mask@7"):
        predictions = predict(context.make_again(candidate), context.test).argmax(dim=1)
        assert candidate.test == evaluate_groups(predictions, context.data.test, context.data)


def test_training_is_reported_by_the_name_of_the_candidate() -> None:
    context = make_context()
    try_training("mask@7", mask_of(context, "mask@7"), context)
    assert isinstance(context.progress, Listener)
    assert context.progress.steps == [
        (f"mask@7/weights(lr={rate})", step, 3) for rate in ("0.001", "0.01") for step in (1, 2, 3)
    ]
