import math

import numpy as np
import pytest
import torch

from prusc.runs.samples.attention import mean_with_interval, share_inside, summarise_region
from tests.networks import generator
from tests.reference.attention import share_inside_slowly


@pytest.mark.parametrize("size", [(3, 5), (7, 7), (12, 9)])
def test_the_share_is_that_of_a_slow_twin(size: tuple[int, int]) -> None:
    maps = torch.rand(4, 3, 4, generator=generator())
    inside = torch.rand(4, *size, generator=generator(1)) < 0.4
    expected = [share_inside_slowly(attention, region) for attention, region in zip(maps, inside, strict=True)]
    assert torch.allclose(share_inside(maps, inside), torch.tensor(expected), atol=1e-5)


def test_even_attention_gives_the_area_and_none_gives_no_number() -> None:
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    inside[:, :2, :4] = True
    maps = torch.stack([torch.ones(4, 4), torch.zeros(4, 4), torch.zeros(4, 4)])
    maps[2, 3, 3] = 1
    shares = share_inside(maps, inside)
    assert shares[0].item() == pytest.approx(8 / 64)
    assert shares[1].isnan()
    assert shares[2].item() == 0


def test_the_summary_is_of_the_samples_on_which_every_network_looks_somewhere() -> None:
    found = summarise_region("sticker", [0.1, 0.3, 0.9], [0.4, 0.6, math.nan], [0.1, 0.5, 0.2])
    assert found is not None
    assert (found.region, found.num_samples, found.area) == ("sticker", 2, pytest.approx(0.2))
    assert found.after is not None
    assert found.change is not None
    assert (found.before.mean, found.after.mean) == (pytest.approx(0.5), pytest.approx(0.3))
    assert found.change.mean == pytest.approx(-0.2)
    assert summarise_region("sticker", [0.1], [math.nan], None) is None
    alone = summarise_region("sticker", [0.1], [0.5], None)
    assert alone is not None
    assert (alone.before.ci95, alone.after, alone.change) == (None, None, None)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        found = mean_with_interval(torch.from_numpy(rng.beta(2, 5, size=20)), lowest=0.0)
        assert found.ci95 is not None
        hits += found.ci95[0] <= 2 / 7 <= found.ci95[1]
    assert 930 <= hits <= 970
    edge = mean_with_interval(torch.tensor([0.0, 0.9], dtype=torch.float64), lowest=0.0)
    assert edge.ci95 == (0.0, 1.0)
