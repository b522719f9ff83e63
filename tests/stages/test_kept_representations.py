import torch

from prusc.stages.kept_representations import KeptRepresentations
from prusc.stages.representations import Representations


def made(num_samples: int, value: float = 0.0) -> Representations:
    """8 bytes a sample."""
    labels = torch.zeros(num_samples, dtype=torch.long)
    ids = tuple(map(str, range(num_samples)))
    return Representations(torch.full((num_samples, 1), value), torch.zeros(num_samples, 1), labels, ids)


def test_each_network_and_split_is_extracted_once() -> None:
    kept, calls = KeptRepresentations(), []

    def take(network: str, split: str) -> Representations:
        def extract() -> Representations:
            calls.append((network, split))
            return made(2, value=float(len(calls)))

        return kept.take(network, split, extract)

    for _ in range(2):
        assert take("dense", "val").values[0] == 1
        assert take("dense", "test").values[0] == 2
        assert take("mask@3", "val").values[0] == 3
    assert calls == [("dense", "val"), ("dense", "test"), ("mask@3", "val")]


def test_what_is_too_large_is_extracted_again() -> None:
    kept, calls = KeptRepresentations(max_bytes=8 * 10), []

    def take(network: str, num_samples: int) -> None:
        kept.take(network, "val", lambda: calls.append(network) or made(num_samples))  # type: ignore[func-returns-value]

    for network, num_samples in (("a", 6), ("b", 5), ("c", 4)) * 2:
        take(network, num_samples)
    assert calls == ["a", "b", "c", "b"]
