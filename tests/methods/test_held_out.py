import torch
from torch import Tensor

from prusc.methods.held_out import NUM_FOLDS, Predict, cross_fit
from tests.networks import generator


def test_no_sample_is_predicted_by_a_fit_that_saw_it_and_all_are_predicted() -> None:
    strata = torch.arange(23) % 3
    seen: list[set[int]] = []

    def fit(chosen: Tensor) -> Predict:
        known = set(chosen.tolist())
        seen.append(known)

        def predict(asked: Tensor) -> Tensor:
            assert not known & set(asked.tolist())
            return torch.stack([asked, asked * 2], dim=1).float()

        return predict

    logits = cross_fit(fit, strata, generator())
    assert logits[:, 0].tolist() == list(range(23))
    assert logits[:, 1].tolist() == list(range(0, 46, 2))
    assert len(seen) == NUM_FOLDS
    assert all(len(known) in (18, 19) for known in seen)


def test_fewer_samples_than_folds_are_no_error() -> None:
    logits = cross_fit(lambda _: lambda asked: asked[:, None].float(), torch.zeros(3, dtype=torch.long), generator())
    assert logits[:, 0].tolist() == [0, 1, 2]
