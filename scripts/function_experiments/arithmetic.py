"""Arithmetic on two-digit numbers, modulo 100: two operations, or one operation on two pairs."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.stages.modularity import Examples

ADD, MULTIPLY = 0, 1


def all_pairs() -> tuple[Tensor, Tensor]:
    """Return the 10,000 pairs of numbers below 100."""
    numbers = torch.arange(100)
    first, second = torch.meshgrid(numbers, numbers, indexing="ij")
    return first.flatten(), second.flatten()


def digits(numbers: Tensor) -> Tensor:
    """Return the two digits of numbers below 100, ones first, shape [N, 2]."""
    return torch.stack([numbers % 10, numbers // 10], dim=1)


def calculate(first: Tensor, second: Tensor, operation: int) -> Tensor:
    """Return the sum or the product, modulo 100."""
    return (first + second if operation == ADD else first * second) % 100


def one_hot(first: Tensor, second: Tensor) -> Tensor:
    """Return both numbers digit by digit, ones first, shape [N, 2 digits, 20]."""
    parts = [F.one_hot(digits(number), 10) for number in (first, second)]
    return torch.cat(parts, dim=2).float()


def two_operations(*, as_sequence: bool) -> dict[str, Examples]:
    """Return all pairs under each operation, named by two bits.

    Args:
        as_sequence: For an LSTM: two steps with the digits, then two empty steps in which it answers. Otherwise all in
            one vector.

    Returns:
        The functions ``add`` and ``multiply``, of 10,000 samples and two digits each.
    """
    first, second = all_pairs()
    functions = {}
    for name, operation in (("add", ADD), ("multiply", MULTIPLY)):
        bits = F.one_hot(torch.full_like(first, operation), 2).float()
        read = one_hot(first, second)
        if as_sequence:
            inputs = torch.cat([read, bits[:, None].expand(-1, 2, -1)], dim=2)
            inputs = torch.cat([inputs, torch.zeros_like(inputs)], dim=1)
        else:
            inputs = torch.cat([read.flatten(1), bits], dim=1)
        functions[name] = Examples(inputs, digits(calculate(first, second, operation)))
    return functions


def concatenate(functions: dict[str, Examples]) -> Examples:
    """Return the samples of all functions together."""
    inputs = [function.inputs for function in functions.values()]
    assert all(isinstance(values, Tensor) for values in inputs)
    return Examples(torch.cat(inputs), torch.cat([function.labels for function in functions.values()]))  # type: ignore[arg-type]


def double_addition(num_samples: int, generator: torch.Generator, mode: str = "vector") -> Examples:
    """Return two pairs of numbers and their two sums, four digits.

    Args:
        num_samples: Number of samples, drawn from all 10**8.
        generator: Source of the numbers.
        mode: ``vector`` for an FNN. For an LSTM, one pair after the other, each with two steps to read and two to
            answer: ``same input`` and ``both`` feed both pairs through the same inputs, ``same output`` and
            ``separate`` through inputs of their own. Which outputs answer is a matter of the network.

    Returns:
        The samples.
    """
    numbers = torch.randint(100, (num_samples, 4), generator=generator)
    a, b, c, d = numbers.T
    labels = torch.cat([digits(calculate(a, b, ADD)), digits(calculate(c, d, ADD))], dim=1)
    pairs = [one_hot(a, b), one_hot(c, d)]
    if mode == "vector":
        return Examples(torch.cat(pairs, dim=1).flatten(1), labels)
    if mode in ("same output", "separate"):
        pairs = [F.pad(pairs[0], (0, 20)), F.pad(pairs[1], (20, 0))]
    silence = torch.zeros_like(pairs[0])
    return Examples(torch.cat([pairs[0], silence, pairs[1], silence], dim=1), labels)
