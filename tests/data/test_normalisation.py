"""The usual normalisations and their names."""

import pytest

from prusc.data.normalisation import default_normalisation, name_normalisation, usual_normalisations


@pytest.mark.parametrize("num_channels", [1, 2, 3])
def test_every_usual_normalisation_has_a_number_a_channel_and_is_known_by_its_name(num_channels: int) -> None:
    usual = usual_normalisations(num_channels)
    assert len(usual) == (6 if num_channels == 3 else 3)
    for name, (mean, std) in usual.items():
        assert len(mean) == len(std) == num_channels
        assert name_normalisation(mean, std) == name
    assert default_normalisation(num_channels) in usual.values()


def test_other_numbers_are_named_by_themselves() -> None:
    assert name_normalisation((0.1, 0.2), (0.3, 0.25)) == "mean 0.1 0.2 and std 0.3 0.25"
    assert name_normalisation((0.485, 0.456, 0.41), (0.229, 0.224, 0.225)).startswith("mean 0.485")
