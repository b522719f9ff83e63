import inspect

import pytest

from prusc import errors
from prusc.errors import PruscError, nearest_names

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PruscError) and kind is not PruscError
]
# The built-in error that each kind is as well, so that callers who do not know prusc catch it too.
BUILT_IN = {
    "ConfigError": ValueError,
    "DataError": ValueError,
    "ModelError": ValueError,
    "TrainingError": RuntimeError,
    "RunFolderError": OSError,
}


def test_every_kind_is_listed() -> None:
    assert {kind.__name__ for kind in KINDS} == set(BUILT_IN)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_caught_by_its_base_class_and_by_a_built_in_one(kind: type[PruscError]) -> None:
    for base in (PruscError, BUILT_IN[kind.__name__]):
        with pytest.raises(base, match=r"image a\.png is empty"):
            raise kind("image a.png is empty")
    others = {other for other in BUILT_IN if other != kind.__name__}
    assert not any(issubclass(kind, getattr(errors, other)) for other in others)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("celebb", ("celeba", "isic"), "; did you mean celeba?"),
        ("resnet1", ("resnet18", "resnet10", "vgg"), "; did you mean resnet18 or resnet10?"),
        ("", ("celeba",), ""),
        ("zzz", ("celeba", "isic"), ""),
        ("celeba", (), ""),
        ("celeba", {"celeba": 1}, "; did you mean celeba?"),
    ],
)
def test_similar_names_are_suggested(name: str, known: tuple[str, ...], expected: str) -> None:
    assert nearest_names(name, known) in (expected, expected.replace("resnet18 or resnet10", "resnet10 or resnet18"))


def test_the_number_of_suggestions_is_limited() -> None:
    known = [f"resnet{number}" for number in range(10)]
    assert nearest_names("resnet", known).count("resnet") == 3
    assert nearest_names("resnet", known, num_names=1).count("resnet") == 1
