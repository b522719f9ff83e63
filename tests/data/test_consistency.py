"""What must hold for all samples together; each answer is compared with that of two loops."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from prusc.data.consistency import check_samples, drop, find_bad_masks, find_shared
from prusc.data.image_folder import list_image_folder
from prusc.data.listing import Listing, Problems
from tests.data.folders import write_class_folders


def pets(root: Path) -> Listing:
    for number, split in enumerate(("train", "val", "test")):
        write_class_folders(root / split, 4, first=5 * number)
    return list_image_folder(root, Problems())


def test_files_in_two_splits_are_those_that_two_loops_find(tmp_path: Path) -> None:
    listing = pets(tmp_path)
    assert find_shared(listing) == {}
    content = (tmp_path / "train" / "cat" / "0.png").read_bytes()
    for copy in ("train/cat/1.png", "val/cat/1.png", "test/dog/2.png"):  # the first one stays in its split
        (tmp_path / copy).write_bytes(content)
    for empty in ("train/dog/3.png", "val/dog/3.png"):  # reported as unreadable
        (tmp_path / empty).write_bytes(b"")
    expected = set()
    for first, second in combinations(range(len(listing)), 2):
        contents = [Path(str(listing.images[index])).read_bytes() for index in (first, second)]
        if contents[0] and contents[0] == contents[1] and listing.splits[first] != listing.splits[second]:
            expected.add(second)
    found = find_shared(listing)
    assert set(found) == expected
    assert sorted(listing.sample_ids[index] for index in found) == ["test/dog/2.png", "val/cat/1.png"]
    assert all("is the same file as train/cat/0.png (train)" in message for message in found.values())
    assert find_shared(drop(listing, list(found))) == {}
    # Two files of one size are not one file.
    (tmp_path / "val" / "cat" / "1.png").write_bytes(content[:-1] + b"x")
    assert sorted(find_shared(listing)) == [index for index in sorted(found) if "test" in listing.sample_ids[index]]


def test_classes_and_splits_without_images_are_named(tmp_path: Path) -> None:
    listing, problems = pets(tmp_path), Problems(collect=True)
    check_samples(listing, problems)
    assert problems.found == []
    moved = replace(listing, splits=np.where(listing.labels == 1, 1, np.minimum(listing.splits, 1)))
    check_samples(moved, problems)
    assert [(problem.kind, problem.message.split(";")[0]) for problem in problems.found] == [
        ("class", "class 'dog' has no usable training image, yet images of val"),
        ("split", "split test has no usable image"),
    ]


def test_masks_that_cannot_be_read_are_found_by_their_sample(tmp_path: Path) -> None:
    listing = pets(tmp_path)
    assert find_bad_masks(listing, 8) == {}
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    masks = tuple(bad if index in (2, 7) else None for index in range(len(listing)))
    assert sorted(find_bad_masks(replace(listing, masks=masks), 8)) == [2, 7]
