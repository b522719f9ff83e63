import math

import pytest
import torch
from torch import Tensor

from prusc.errors import ConfigError
from prusc.losses import cluster_contrastive_loss, cluster_contrastive_terms
from tests.networks import generator
from tests.reference import contrastive as reference

NEGATIVES = pytest.mark.parametrize("negatives", ["other-class", "cluster"])


def random_batch(seed: int, num_samples: int = 14) -> tuple[Tensor, Tensor, Tensor]:
    source = generator(seed)
    representations = torch.randn(num_samples, 5, generator=source) * 10 ** torch.randn(1, generator=source)
    labels = torch.randint(0, 3, (num_samples,), generator=source)
    return representations, labels, torch.randint(0, 1 + seed % 5, (num_samples,), generator=source)


def slow_loss(batch: tuple[Tensor, Tensor, Tensor], temperature: float, negatives: str) -> tuple[float, int]:
    lists = (tensor.double().tolist() if tensor.is_floating_point() else tensor.tolist() for tensor in batch)
    return reference.contrastive_loss(*lists, temperature, negatives)


@NEGATIVES
@pytest.mark.parametrize("temperature", [0.07, 0.5, 3.0])
@pytest.mark.parametrize("seed", range(12))
def test_it_equals_its_slow_twin(seed: int, temperature: float, negatives: str) -> None:
    batch = random_batch(seed)
    terms = cluster_contrastive_terms(*batch, temperature=temperature, negatives=negatives)
    expected, num_without = slow_loss(batch, temperature, negatives)
    assert terms.loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert terms.num_without_positives.item() == num_without
    assert torch.equal(cluster_contrastive_loss(*batch, temperature=temperature, negatives=negatives), terms.loss)


def test_a_loss_worked_out_by_hand() -> None:
    # The first sample has one positive (the second) at cosine 0 and one negative (the third) at cosine 1.
    representations = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    loss = cluster_contrastive_loss(representations, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), temperature=0.5)
    of_first = -math.log(1 / (1 + math.exp(2)))
    of_second = -math.log(1 / 1)  # one positive, no negative
    assert loss.item() == pytest.approx((of_first + of_second) / 2, rel=1e-5)


def test_the_defaults_are_those_of_the_paper() -> None:
    batch = random_batch(3)
    assert cluster_contrastive_loss(*batch).item() == pytest.approx(slow_loss(batch, 0.07, "other-class")[0], rel=1e-4)


def test_the_two_definitions_of_negatives_differ() -> None:
    batch = random_batch(3)
    paper, public_code = (cluster_contrastive_loss(*batch, negatives=kind) for kind in ("other-class", "cluster"))
    # More negatives, a larger denominator.
    assert public_code > paper + 0.01


@NEGATIVES
def test_the_gradient_is_the_slope(negatives: str) -> None:
    representations, labels, cluster_ids = random_batch(7, num_samples=9)
    representations = representations / representations.norm(dim=1, keepdim=True)
    representations.requires_grad_()
    cluster_contrastive_loss(representations, labels, cluster_ids, temperature=0.5, negatives=negatives).backward()
    assert representations.grad is not None
    assert representations.grad.abs().max() > 0.01
    step = 1e-5
    for index in range(representations.numel()):
        sides = []
        for sign in (1, -1):
            moved = representations.detach().double()
            moved.view(-1)[index] += sign * step
            sides.append(slow_loss((moved, labels, cluster_ids), 0.5, negatives)[0])
        assert representations.grad.view(-1)[index].item() == pytest.approx(
            (sides[0] - sides[1]) / (2 * step), rel=1e-3, abs=1e-5
        )


@NEGATIVES
def test_anchors_without_a_positive_get_no_loss_and_are_counted(negatives: str) -> None:
    representations, labels, cluster_ids = random_batch(11)
    terms = cluster_contrastive_terms(representations, labels, cluster_ids, negatives=negatives)
    # A class of its own, in a cluster of its own: nobody's positive and nobody's negative.
    more = cluster_contrastive_terms(
        torch.cat([representations, torch.randn(2, 5, generator=generator())]),
        torch.cat([labels, torch.tensor([3, 4])]),
        torch.cat([cluster_ids, torch.tensor([8, 9])]),
        negatives=negatives,
    )
    assert more.loss.item() == pytest.approx(terms.loss.item(), rel=1e-5)
    assert more.num_without_positives == terms.num_without_positives + 2


@pytest.mark.parametrize(
    ("labels", "cluster_ids"),
    [([0, 0, 1, 1], [2, 2, 3, 3]), ([0, 1, 2, 3], [0, 1, 2, 3]), ([0, 1, 2, 3], [0, 0, 0, 0]), ([0], [0])],
)
@NEGATIVES
def test_without_any_positive_the_loss_is_a_differentiable_zero(
    labels: list[int], cluster_ids: list[int], negatives: str
) -> None:
    representations = torch.randn(len(labels), 3, generator=generator(), requires_grad=True)
    terms = cluster_contrastive_terms(
        representations, torch.tensor(labels), torch.tensor(cluster_ids), negatives=negatives
    )
    assert terms.loss.item() == 0
    assert terms.num_without_positives == len(labels)
    terms.loss.backward()
    assert representations.grad is not None
    assert torch.equal(representations.grad, torch.zeros_like(representations))


@NEGATIVES
def test_the_gradient_is_finite_with_anchors_without_pairs_and_zero_vectors(negatives: str) -> None:
    representations = torch.randn(5, 3, generator=generator())
    representations[0] = 0
    representations.requires_grad_()
    labels, cluster_ids = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 4, 2, 2])
    loss = cluster_contrastive_loss(representations, labels, cluster_ids, negatives=negatives)
    loss.backward()
    assert loss.isfinite()
    assert representations.grad is not None
    assert representations.grad.isfinite().all()


def test_the_scale_of_a_representation_and_the_order_do_not_matter() -> None:
    representations, labels, cluster_ids = random_batch(4)
    loss = cluster_contrastive_loss(representations, labels, cluster_ids)
    scales = torch.rand(len(labels), 1, generator=generator()) + 0.1
    order = torch.randperm(len(labels), generator=generator())
    other = cluster_contrastive_loss((representations * scales)[order], labels[order], cluster_ids[order])
    assert other.item() == pytest.approx(loss.item(), rel=1e-4)


def test_half_precision_representations_are_compared_in_32_bits() -> None:
    representations, labels, cluster_ids = random_batch(4)
    rounded = representations.bfloat16()
    loss = cluster_contrastive_loss(rounded, labels, cluster_ids)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_loss((rounded, labels, cluster_ids), 0.07, "other-class")[0], rel=1e-4)


def test_extreme_similarities_do_not_overflow() -> None:
    batch = random_batch(4)
    assert cluster_contrastive_loss(*batch, temperature=1e-3).isfinite()


@pytest.mark.parametrize("temperature", [0.0, -0.1])
def test_a_temperature_has_to_be_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match=f"greater than 0, found {temperature}"):
        cluster_contrastive_loss(*random_batch(0), temperature=temperature)


def test_unknown_negatives_are_refused() -> None:
    # Past the checker of types, which the users do not run.
    unchecked = getattr(cluster_contrastive_terms, "__wrapped__", cluster_contrastive_terms)
    with pytest.raises(ConfigError, match="'other-class' or 'cluster', found 'all'"):
        unchecked(*random_batch(0), negatives="all")
