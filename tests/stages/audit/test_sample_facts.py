"""Facts of samples as features, and a planted size that is named."""

import torch

from prusc.stages.audit.naming import name_values
from prusc.stages.audit.sample_facts import encode_facts
from tests.stages.audit.planted import generator


def test_numbers_values_and_gaps_become_features() -> None:
    columns = {
        "age": ["1", "2.5", "", "", "", "", "", "4"],
        "sex": ["f", "m", "f", "f", "m", "f", "f", "m"],
        "name": [f"n{index}" for index in range(8)],
        "same": ["x"] * 8,
        "yes": ["1", "0", "1", "1", "1", "1", "0", "0"],
    }
    values, described = encode_facts(columns, 8)
    assert [feature.name for feature in described] == ["age", "age=", "sex=f", "yes=1"]
    assert values[:, 0].tolist() == [1, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 4]
    assert values[:, 1].tolist() == [0, 0, 1, 1, 1, 1, 1, 0]
    assert values[:, 2].tolist() == [1, 0, 1, 1, 0, 1, 1, 0]
    assert described[2].describe(0.5) == "sex is f: more often"
    assert described[1].describe(-0.5) == "age is missing: less often"
    assert described[0].describe(-0.5) == "age: lower"


def test_no_columns_and_infinite_numbers_do_no_harm() -> None:
    values, described = encode_facts({}, 4)
    assert (values.shape, described) == ((4, 0), ())
    values, described = encode_facts({"x": ["inf", "nan", "1", "2", "3"]}, 5)
    assert described == ()


def test_a_planted_size_and_a_planted_value_are_named() -> None:
    source = generator()
    labels, values = torch.arange(200) % 2, torch.randint(3, (200,), generator=source)
    width = 500 + 50 * torch.randn(200, generator=source) + 90 * (values == 2)
    hospital = torch.where(torch.rand(200, generator=source) < torch.where(values == 2, 0.9, 0.3), 0, 1)
    columns = {
        "width in pixels": [str(number) for number in width.round().int().tolist()],
        "hospital": ["AB"[number] for number in hospital.tolist()],
        "month": [str(number) for number in torch.randint(12, (200,), generator=source).tolist()],
    }
    features, described = encode_facts(columns, 200)
    found = name_values(features, described, labels, values, [2], num_permutations=99, generator=source)[2]
    assert found[0].text == "width in pixels: higher"
    assert 60 < found[0].ci95[0] < 90 < found[0].ci95[1] < 120
    by_text = {item.text: item for item in found}
    assert set(by_text) == {"width in pixels: higher", "hospital is A: more often", "hospital is B: less often"}
    assert by_text["hospital is A: more often"].inside > 0.8
    # Where there are two values, the rarer says the same.
    assert by_text["hospital is B: less often"].follows == "hospital=A"
