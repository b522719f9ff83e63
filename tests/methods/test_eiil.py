import torch

from prusc.losses import scale_gradients
from prusc.methods.eiil import infer_environments
from tests.networks import generator
from tests.reference import methods as reference


def test_no_other_split_has_a_larger_penalty() -> None:
    source = generator(4)
    logits, labels = torch.randn(7, 3, generator=source), torch.randint(0, 3, (7,), generator=source)
    slopes = scale_gradients(logits, labels).tolist()
    found = infer_environments(logits, labels).double().tolist()
    penalties = [reference.split_penalty(slopes, [float(code >> bit & 1) for bit in range(7)]) for code in range(2**7)]
    assert reference.split_penalty(slopes, found) >= max(penalties) - 1e-9
    assert len({round(p, 9) for p in penalties}) > 10
    for seed in range(50):
        soft = torch.rand(7, generator=generator(seed)).tolist()
        assert reference.split_penalty(slopes, soft) < reference.split_penalty(slopes, found)


def test_the_ascent_of_the_paper_ends_at_the_same_split() -> None:
    source = generator(6)
    logits, labels = 2 * torch.randn(40, 4, generator=source), torch.randint(0, 4, (40,), generator=source)
    slopes = scale_gradients(logits, labels)
    assignment = torch.randn(40, generator=source).requires_grad_()
    optimizer = torch.optim.Adam([assignment], lr=0.05)
    for _ in range(1500):
        first = (assignment.sigmoid() * slopes).mean()
        second = ((1 - assignment.sigmoid()) * slopes).mean()
        optimizer.zero_grad()
        (-(first**2 + second**2) / 2).backward()
        optimizer.step()
    ascended = assignment > 0
    exact = infer_environments(logits, labels)
    # Which of the two is called the first is up to the random start.
    assert torch.equal(ascended, exact) or torch.equal(~ascended, exact)


def test_with_two_classes_the_environments_are_right_and_wrong() -> None:
    source = generator(8)
    logits, labels = torch.randn(60, 2, generator=source), torch.randint(0, 2, (60,), generator=source)
    assert torch.equal(infer_environments(logits, labels), logits.argmax(dim=1) != labels)
