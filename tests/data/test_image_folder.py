from pathlib import Path

import pytest

from prusc.data.image_folder import is_image_folder, list_image_folder
from prusc.data.listing import NO_SPLIT, Problems
from prusc.errors import DataError
from tests.data.folders import write_class_folders, write_image


def test_folders_are_classes_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 3, classes=("10", "9", "b"))
    write_image(tmp_path / "9" / "deeper" / "x.JPEG", 7)
    listing = list_image_folder(tmp_path, Problems())
    assert listing.class_names == ("10", "9", "b")
    assert listing.sample_ids[3:7] == ("9/0.png", "9/1.png", "9/2.png", "9/deeper/x.JPEG")
    assert listing.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert set(listing.splits.tolist()) == {NO_SPLIT}
    assert listing.attributes.shape == (10, 0)
    assert listing.origin["classes"] == ["10", "9", "b"]


@pytest.mark.parametrize(("names", "numbers"), [(("train", "val", "test"), (0, 1, 2)), (("Training", "valid"), (0, 1))])
def test_folders_of_splits_may_stand_above(tmp_path: Path, names: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    for name in names:
        write_class_folders(tmp_path / name, 2)
    listing = list_image_folder(tmp_path, Problems())
    assert listing.class_names == ("cat", "dog")
    assert listing.splits.tolist() == [number for number in numbers for _ in range(4)]
    assert listing.labels.tolist() == [0, 0, 1, 1] * len(names)


def test_classes_called_as_splits_are_classes(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2, classes=("0", "1", "2"))
    assert list_image_folder(tmp_path, Problems()).class_names == ("0", "1", "2")


def test_what_is_an_image_folder(tmp_path: Path) -> None:
    assert not is_image_folder(tmp_path)
    write_image(tmp_path / "cat" / "1.png", 1)
    assert not is_image_folder(tmp_path)
    write_image(tmp_path / "dog" / "1.png", 2)
    assert is_image_folder(tmp_path)
    (tmp_path / "split").mkdir()
    (tmp_path / "cat").rename(tmp_path / "split" / "cat")
    assert not is_image_folder(tmp_path / "split")


def test_other_files_are_passed_over_and_noted(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2)
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / "cat" / ".hidden.png").write_text("hello")
    problems = Problems(collect=True)
    assert len(list_image_folder(tmp_path, Problems())) == len(list_image_folder(tmp_path, problems)) == 4
    assert [problem.kind for problem in problems.found] == ["ignored"]
    assert "notes.txt" in problems.found[0].message


def test_a_class_without_images_or_without_training_images_is_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_class_folders(tmp_path / split, 2)
    write_image(tmp_path / "test" / "owl" / "1.png", 90)
    with pytest.raises(DataError, match="class 'owl' of test has no folder with images in train, which has cat, dog"):
        list_image_folder(tmp_path, Problems())
    (tmp_path / "train" / "owl").mkdir()
    problems = Problems(collect=True)
    listing = list_image_folder(tmp_path, problems)
    assert [problem.kind for problem in problems.found] == ["class", "label"]
    assert listing.class_names == ("cat", "dog")
    assert len(listing) == 8
