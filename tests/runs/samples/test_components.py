"""Principal components against a singular value decomposition."""

import numpy as np
import torch

from prusc.runs.samples.components import find_components


def test_components_are_those_of_the_directions() -> None:
    values = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * torch.rand(40, 1)
    components, shares = find_components(values)
    unit = (values / values.norm(dim=1, keepdim=True)).double().numpy()
    centred = unit - unit.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert np.allclose((components.astype(float) ** 2).sum(axis=0), singular**2, rtol=1e-4)
    assert np.allclose(shares, singular**2 / (singular**2).sum())
    alike, no_shares = find_components(torch.ones(5, 1))
    assert alike.shape == (5, 2)
    assert no_shares.tolist() == [0, 0]
