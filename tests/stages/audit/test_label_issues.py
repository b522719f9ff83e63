"""Planted wrong labels beside a planted shortcut: each is found as what it is."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.stages.audit.label_issues import KINDS, check_labels, find_label_issues
from prusc.stages.cells import Cells
from tests.reference.label_issues import off_diagonal


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_samples(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return representations, probabilities of a network with a shortcut, given labels, places, and which are wrong.

    Of 600 samples, 90 % have the place of their class, 5 % the label of the other class.
    """
    source = generator(seed)
    truth = torch.arange(600) % 2
    place = torch.where(torch.rand(600, generator=source) < 0.9, truth, 1 - truth)
    is_flipped = torch.rand(600, generator=source) < 0.05
    labels = torch.where(is_flipped, 1 - truth, truth)
    core, shortcut = (2 * ids[:, None] - 1 + 0.35 * torch.randn(600, 1, generator=source) for ids in (truth, place))
    noise = torch.randn(600, 4, generator=source)
    # The network sees the place thrice as strongly as the core.
    logit = 2.0 * core[:, 0] + 6.0 * shortcut[:, 0]
    probabilities = torch.stack([-logit / 2, logit / 2], dim=1).softmax(dim=1)
    return torch.cat([core, shortcut, noise], dim=1), probabilities, labels, place, is_flipped


def test_wrong_labels_and_errors_of_the_shortcut_are_told_apart() -> None:
    representations, probabilities, labels, place, is_flipped = make_samples()
    cells = Cells(labels, place)
    found = check_labels(representations, probabilities, cells, [(0, 0), (1, 1)], generator=generator())
    assert found is not None
    mislabelled = found.kinds == KINDS.index("mislabelled")
    shortcut = found.kinds == KINDS.index("shortcut")
    # A wrong label looks wrong to the network only where the place does not support it.
    visible = is_flipped & (place != labels)
    misled = ~is_flipped & (place != labels)
    # Confident learning asks for more than the mean confidence of a class, which about half of the samples have.
    assert mislabelled[visible].double().mean() >= 0.5
    assert (mislabelled & ~is_flipped).sum() <= 0.1 * mislabelled.sum()
    assert shortcut[misled].double().mean() > 0.85
    # The network alone would call most errors of the shortcut wrong labels.
    assert find_label_issues(labels, probabilities)[misled].double().mean() > 0.5
    assert (found.suggested[mislabelled] != labels[mislabelled]).all()
    assert found.confidence[mislabelled].mean() > 0.8


def test_clean_labels_of_a_good_network_are_left_alone() -> None:
    representations, _, _, place, _ = make_samples(1)
    truth = torch.arange(600) % 2
    probabilities = torch.stack([-4 * representations[:, 0], 4 * representations[:, 0]], dim=1).softmax(dim=1)
    found = check_labels(representations, probabilities, Cells(truth, place), [], generator=generator())
    assert found is not None
    assert (found.kinds == KINDS.index("mislabelled")).sum() <= 3
    assert (found.kinds == KINDS.index("shortcut")).sum() == 0


def test_issues_equal_those_of_a_slow_twin() -> None:
    source = generator(2)
    for num_classes in (2, 3, 5):
        labels = torch.randint(num_classes, (80,), generator=source)
        logits = 2 * F.one_hot(labels, num_classes) + 2.5 * torch.randn(80, num_classes, generator=source)
        probabilities = logits.softmax(dim=1)
        found = set(find_label_issues(labels, probabilities).nonzero()[:, 0].tolist())
        assert found == off_diagonal(labels.tolist(), probabilities.tolist())
        assert 0 < len(found) < 60


def test_a_class_without_a_label_is_never_suggested_by_the_rule() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    probabilities = torch.tensor([[0.1, 0.0, 0.9], [0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.9, 0.1, 0.0]])
    assert find_label_issues(labels, probabilities).tolist() == [False, False, False, True]


def test_a_handful_of_samples_is_not_checked() -> None:
    labels = torch.tensor([0, 0, 1])
    cells = Cells(labels, torch.zeros(3, dtype=torch.long))
    uniform = torch.full((3, 2), 0.5)
    assert check_labels(torch.randn(3, 2, generator=generator()), uniform, cells, [], generator=generator()) is None
