from pathlib import Path

import pytest

from prusc.data.aligned_folders import find_variants, list_aligned_folders
from prusc.data.listing import Problems
from prusc.errors import ConfigError, DataError
from tests.data.folders import write_image


def write_coloured_digits(root: Path, variants: tuple[str, ...] = ("0.5pct",)) -> Path:
    """As ColoredMNIST: folders of classes, `valid` below the variant."""
    for variant in variants:
        for number in range(4):
            digit = number % 2
            write_image(root / variant / "align" / str(digit) / f"{number}_{digit}_{digit}.png", number)
            write_image(root / variant / "valid" / str(digit) / f"{number}_{digit}_{number // 2}.png", 20 + number)
        write_image(root / variant / "conflict" / "1" / "9_1_0.png", 10)
    for number in range(6):
        write_image(root / "test" / str(number % 2) / f"{number}_{number % 2}_{number // 3}.png", 30 + number)
    return root


def test_coloured_digits(tmp_path: Path) -> None:
    listing = list_aligned_folders(write_coloured_digits(tmp_path), Problems())
    assert listing.class_names == ("0", "1")
    assert listing.attribute_values == (("0", "1"),)
    assert listing.splits.tolist() == [0] * 5 + [1] * 4 + [2] * 6
    assert listing.labels.tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert listing.attributes[:5, 0].tolist() == [0, 0, 1, 1, 0]
    assert listing.sample_ids[4] == "0.5pct/conflict/1/9_1_0.png"


def test_faces_without_folders_of_classes(tmp_path: Path) -> None:
    """As bFFHQ: `valid` and `test` stand beside the variant and hold the images themselves."""
    for part, split in (("0.5pct/align/0", 0), ("0.5pct/conflict/1", 0), ("valid", 1), ("test", 2)):
        for number in range(2):
            write_image(
                tmp_path / part / f"face_{number}_{part[-1] if split == 0 else number}_{number}.png", number + 5 * split
            )
    listing = list_aligned_folders(tmp_path, Problems())
    assert listing.splits.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert listing.labels.tolist() == [0, 0, 1, 1, 0, 1, 0, 1]
    assert listing.attributes[:, 0].tolist() == [0, 1] * 4


def test_one_of_several_variants_has_to_be_chosen(tmp_path: Path) -> None:
    write_coloured_digits(tmp_path, ("0.5pct", "5pct"))
    assert find_variants(tmp_path) == ("0.5pct", "5pct")
    with pytest.raises(ConfigError, match=r"variant is missing; .* has 0\.5pct, 5pct"):
        list_aligned_folders(tmp_path, Problems())
    with pytest.raises(ConfigError, match=r"variant is '2pct'; .* has 0\.5pct, 5pct"):
        list_aligned_folders(tmp_path, Problems(), variant="2pct")
    assert list_aligned_folders(tmp_path, Problems(), variant="5pct").sample_ids[0].startswith("5pct/")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("3.png", "does not end in _CLASS_ATTRIBUTE"),
        ("3_x_1.png", "does not end"),
        ("3_0_1.png", "says class 0, its folder"),
    ],
)
def test_a_wrong_name_is_refused_or_left_out(tmp_path: Path, name: str, message: str) -> None:
    write_image(write_coloured_digits(tmp_path) / "0.5pct" / "align" / "1" / name, 80)
    with pytest.raises(DataError, match=message):
        list_aligned_folders(tmp_path, Problems())
    problems = Problems(collect=True)
    assert len(list_aligned_folders(tmp_path, problems)) == 15
    assert [problem.kind for problem in problems.found] == ["label"]


def test_without_images_there_is_nothing_to_list(tmp_path: Path) -> None:
    (tmp_path / "1pct" / "align").mkdir(parents=True)
    with pytest.raises(DataError, match="hold no images"):
        list_aligned_folders(tmp_path, Problems())
