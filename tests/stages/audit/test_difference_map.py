"""The map of a planted sticker, and an empty one where nothing was planted."""

import torch

from prusc.stages.audit.difference_map import map_differences, shrink_pictures
from tests.stages.audit import planted
from tests.stages.audit.planted import generator, make_pictures


def test_the_map_shows_where_the_sticker_is_and_nothing_else() -> None:
    pictures, labels, values = make_pictures(0, 160)
    changed = planted.change(pictures, values == 1, planted.add_sticker)
    found = map_differences(shrink_pictures(changed), labels, values, [1], num_permutations=49, generator=generator())
    assert found.shape == (1, 24, 24)
    sticker = torch.zeros(24, 24, dtype=torch.bool)
    sticker[8:16, :8] = True  # With the neighbours that the smoothing reaches.
    assert (found[0, 10:14, 2:6] > 1.5).all()
    assert (found[0][~sticker] > 0).double().mean() < 0.02


def test_the_map_of_values_that_say_nothing_is_empty() -> None:
    drawn = 0
    for seed in range(6):
        pictures, labels, values = make_pictures(200 + seed, 120)
        found = map_differences(
            shrink_pictures(pictures), labels, values, [0, 1], num_permutations=39, generator=generator(seed)
        )
        drawn += bool(found.any())
    assert drawn <= 2


def test_large_and_gray_pictures_become_small() -> None:
    gray = torch.randint(0, 256, (2, 1, 50, 30), generator=generator(), dtype=torch.uint8)
    assert shrink_pictures(gray).shape == (2, 3, 24, 24)
    assert shrink_pictures(gray[:, :, :10]).shape == (2, 3, 10, 24)
