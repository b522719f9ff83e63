from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prusc.data.image_folder import is_image_folder, list_image_folder
from prusc.data.listing import NO_SPLIT, Problems
from prusc.errors import ConfigError, DataError
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


def test_folders_called_as_splits_are_classes_if_they_hold_the_images_themselves(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2, classes=("bus", "test", "train"))
    assert is_image_folder(tmp_path)
    listing = list_image_folder(tmp_path, Problems())
    assert listing.class_names == ("bus", "test", "train")
    assert set(listing.splits.tolist()) == {NO_SPLIT}


def test_classes_come_in_a_given_order_and_must_all_be_given(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2, classes=("grade1", "grade2", "grade10"))
    listing = list_image_folder(tmp_path, Problems(), classes=("grade1", "grade2", "grade10"))
    assert listing.class_names == ("grade1", "grade2", "grade10")
    assert [Path(name).parent.name for name in listing.sample_ids] == [
        listing.class_names[label] for label in listing.labels
    ]
    with pytest.raises(ConfigError, match=r"names 'grade3', for which .* no folder .*did you mean grade"):
        list_image_folder(tmp_path, Problems(), classes=("grade1", "grade3"))
    with pytest.raises(ConfigError, match="names a class twice"):
        list_image_folder(tmp_path, Problems(), classes=("grade1", "grade2", "grade10", "grade1"))
    with pytest.raises(DataError, match=r"class folder 'grade10' of .* is not among data_options.classes"):
        list_image_folder(tmp_path, Problems(), classes=("grade2", "grade1"))


@pytest.mark.parametrize("present", [("train",), ("train", "val", "test")])
def test_images_that_no_split_uses_are_counted_and_never_replaced(present: tuple[str, ...], tmp_path: Path) -> None:
    for number, name in enumerate((*present, "evaluation")):
        write_class_folders(tmp_path / name, 3, first=4 * number)
    write_image(tmp_path / "loose.png", 99)
    write_image(tmp_path / "train" / "loose.png", 98)
    problems = Problems(collect=True)
    assert len(list_image_folder(tmp_path, problems)) == 6 * len(present)
    assert [problem.message.split(" of ")[0] for problem in problems.found] == ["6 images", "1 images", "1 images"]
    if len(present) == 3:
        assert len(list_image_folder(tmp_path, Problems())) == 18
    else:
        with pytest.raises(DataError, match=r"6 images of .*evaluation .* yet val and test would be made"):
            list_image_folder(tmp_path, Problems())


def test_a_split_without_class_folders_is_not_made_of_training_images(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", 3)
    write_image(tmp_path / "test" / "0.png", 9)
    with pytest.raises(DataError, match=r"1 images of .*test are in no class folder, so the split test has no labels"):
        list_image_folder(tmp_path, Problems())


def test_links_inside_are_followed_and_others_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pets", 2)
    for number in range(3):
        write_image(root / "cat" / ".ipynb_checkpoints" / f"{number}-checkpoint.png", 20)
        write_image(tmp_path / "elsewhere" / f"{number}.png", 30 + number)
        write_image(root / "dog" / "more" / f"{number}.png", 40 + number)
    (root / "cat" / "out").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "in").symlink_to(root / "dog" / "more")
    (root / "cat" / "loop").symlink_to(root / "cat")
    (root / "owl").symlink_to(tmp_path / "elsewhere")
    problems = Problems(collect=True)
    listing = list_image_folder(root, problems)
    expected = ["cat/0.png", "cat/1.png", *(f"cat/in/{number}.png" for number in range(3)), "dog/0.png", "dog/1.png"]
    assert [name for name in listing.sample_ids if "more" not in name and "owl" not in name] == expected
    assert listing.class_names == ("cat", "dog", "owl")
    assert sorted(problem.kind for problem in problems.found) == ["link", "link"]
    assert any("to " + str(tmp_path / "elsewhere") + ", so its 3 images" in p.message for p in problems.found)
    assert problems.remarks == [f"hidden folder {root}/cat/.ipynb_checkpoints is passed over; it holds 3 images"]


def test_masks_beside_the_classes_are_no_class(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 3)
    for number in range(3):
        Image.new("L", (14, 12), 255 * (number % 2)).save(write_image(tmp_path / "masks" / f"{number}.png", 1))
        Image.new("L", (14, 12), 255 * (number % 2)).save(write_image(tmp_path / "lesions" / f"{number}.png", 1))
    named = [tmp_path / "lesions"]
    problems = Problems()
    assert list_image_folder(tmp_path, problems, mask_folders=named).class_names == ("cat", "dog")
    assert len(problems.remarks) == 2
    assert list_image_folder(tmp_path, Problems()).class_names == ("cat", "dog", "lesions")
    classes = ("masks", "lesions", "cat", "dog")
    assert list_image_folder(tmp_path, Problems(), classes=classes).class_names == classes


def test_a_class_of_faces_with_masks_is_a_class(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("mask", "beard", "no_mask"):
        for number in range(3):
            pixels = noise.integers(0, 256, (9, 9, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(write_image(tmp_path / name / f"{number}.png", 1))
    assert list_image_folder(tmp_path, Problems()).class_names == ("beard", "mask", "no_mask")
