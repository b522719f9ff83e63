import json
import re
import shutil
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.data import _PACKAGED, PACKAGED_NAMES, load_data
from prusc.data.check import check_data
from prusc.errors import ConfigError, DataError
from tests.data.folders import write_class_folders, write_image, write_table, write_waterbirds


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_waterbirds(tmp_path / "birds", 32)


def kinds(path: Path, **options: object) -> list[str]:
    return sorted(problem.kind for problem in check_data(str(path), **options).problems)


def test_counts_of_a_good_data_set(birds: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_data(str(birds), progress=lambda *call: calls.append(call))
    assert report.is_good
    assert (report.layout, report.num_samples) == ("waterbirds", 32)
    assert report.num_by_split == {"train": 16, "val": 8, "test": 8}
    assert report.num_by_class["val"] == {"landbird": 4, "waterbird": 4}
    assert len(report.groups) == 12
    assert {group.num_samples for group in report.groups} == {4, 2}
    assert report.groups[1].attributes == {"place": "water"}
    assert calls[-1] == (32, 32)


def test_everything_that_is_wrong_is_found_at_once(birds: Path, tmp_path: Path) -> None:
    table = birds / "metadata.csv"
    rows = table.read_text().splitlines()
    image = lambda number: birds / f"{number // 8:03d}.Species" / f"bird_{number}.png"  # noqa: E731
    image(0).write_bytes(image(0).read_bytes()[:60])  # cut off
    image(1).write_text("hello")
    image(2).unlink()
    shutil.copy(image(3), image(12))  # of training in test
    image(5).unlink()
    image(5).symlink_to(write_image(tmp_path / "secret.png", 77))
    rows[7] = rows[7].replace("bird_6", "../../secret")
    rows[8] = rows[8].replace(",1,0,1", ",7,0,1")  # no class
    rows[9] = rows[9].replace("bird_8", "bird_9")
    table.write_text("\n".join(rows))
    report = check_data(str(birds))
    assert sorted(problem.kind for problem in report.problems) == [
        "label", "missing", "path", "path", "repeated", "shared", "unreadable", "unreadable",
    ]  # fmt: skip
    messages = {problem.kind: problem.message for problem in report.problems}
    assert "row 9: the class in column 'y' is '7'; expected one of 0, 1" in messages["label"]
    assert "metadata.csv, row 4: " in messages["missing"]
    assert "bird_12.png (test) is the same file as 000.Species/bird_3.png (train)" in messages["shared"]
    assert "row 11: image '001.Species/bird_9.png' is listed again" in messages["repeated"]
    assert report.num_samples == 32 - 3 - 4
    assert not report.is_good


def test_files_that_are_no_images_and_classes_without_any(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_class_folders(tmp_path / split, 4, ("cat", "dog") if split == "train" else ("cat", "dog", "owl"))
    (tmp_path / "train" / "cat" / "list.txt").write_text("hello")
    assert kinds(tmp_path) == ["ignored", "label"] + ["shared"] * 8
    for path in (tmp_path / "train" / "dog").iterdir():
        path.write_bytes(b"")
    found = check_data(str(tmp_path))
    assert "class" in [problem.kind for problem in found.problems]
    assert found.made_splits == ("val",)


def test_a_lesion_in_two_splits_is_shared(tmp_path: Path) -> None:
    birds = write_waterbirds(tmp_path)
    table = birds / "metadata.csv"
    rows = [f"{row},{'nest' if number == 0 else number // 4}" for number, row in enumerate(table.read_text().split())]
    table.write_text("\n".join(rows))
    assert kinds(birds) == []
    assert kinds(birds, keep_together="nest") == ["shared"] * 2


def test_the_command_prints_text_or_json_and_returns_1_for_problems(
    birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["check", str(birds)]) == 0
    text = capsys.readouterr().out
    assert "data: layout waterbirds" in text
    assert "train: 16 images (8 landbird, 8 waterbird)" in text
    assert "landbird, place: land, 4 images" in text
    assert text.endswith("nothing is wrong\n")
    (birds / "000.Species" / "bird_1.png").write_text("hello")
    assert run_command_line(["check", str(birds)]) == 1
    assert "1 problem: 1 unreadable\n  unreadable: " in capsys.readouterr().out
    assert run_command_line(["check", str(birds), "--format", "json", "--data-options.attributes"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["is_good"] is False
    assert found["num_by_split"]["train"] == 15
    assert found["groups"] == []
    assert found["problems"][0]["kind"] == "unreadable"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["BIRDS/nowhere"], "neither a packaged data set (fashion-stickers, colored-mnist"),
        (["dominose"], "did you mean dominoes?"),
        (["BIRDS", "--layout", "tabel"], "unknown layout 'tabel'; did you mean table?; known are celeba, cub"),
        (["BIRDS", "--layout", "imagefolder"], "'BIRDS' does not take attributes"),
        (["BIRDS", "--data-options.target", "z"], "has no column 'z' (target)"),
    ],
)
def test_what_cannot_be_checked_is_an_error(
    birds: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [argument.replace("BIRDS", str(birds)) for argument in arguments]
    if "imagefolder" in arguments:
        arguments += ["--data-options.attributes", "place"]
    assert run_command_line(["check", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert expected.replace("BIRDS", str(birds)) in " ".join(printed.err.split())


@pytest.mark.parametrize("name", PACKAGED_NAMES)
def test_a_packaged_data_set_needs_no_check(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"'{name}' comes with prusc, so there is nothing to check; use it: --data {name}"
    ):
        check_data(name)


def test_the_packaged_names_are_those_that_can_be_loaded() -> None:
    assert set(PACKAGED_NAMES) == set(_PACKAGED)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ("train test", "the split val is missing and would be made"),
        ("train", "the splits val, test are missing and would be made"),
        ("train val test", "images that can be used"),
    ],
)
def test_missing_splits_and_few_validation_images_are_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], splits: str, expected: str
) -> None:
    for number, split in enumerate(splits.split()):
        write_class_folders(tmp_path / split, 30, first=100 * number)
    few = tmp_path / "train" / "owl"
    few.mkdir()
    for number in range(10):
        write_image(few / f"{number}.png", 1000 + number)
    if "val" in splits:
        (tmp_path / "val" / "owl").mkdir()
        write_image(tmp_path / "val" / "owl" / "0.png", 2000)
    assert run_command_line(["check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert expected + "\n" in text
    num = 1 if "val" in splits else 2
    assert re.search(rf"few validation images: .*owl \({num}\)", text)
    assert ("cat (" in text.split("few validation images")[1]) == ("val" not in splits)


def test_a_run_refuses_what_a_check_calls_wrong(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    for number, split in enumerate(("train", "val", "test")):
        write_class_folders(root / split, 4, first=5 * number)
    assert check_data(str(root)).is_good
    shutil.copy(root / "train" / "cat" / "0.png", root / "test" / "cat" / "9.png")
    shutil.copy(root / "val" / "dog" / "1.png", root / "test" / "dog" / "9.png")
    found = [problem.message for problem in check_data(str(root)).problems]
    assert len(found) == 2
    with pytest.raises(DataError) as refused:
        load_data(str(root), image_size=8)
    assert all(message in str(refused.value) for message in found)
    data = load_data(str(root), image_size=8, skip_bad=True)
    assert [(skipped.split, skipped.sample_id) for skipped in data.skipped] == [
        ("test", "test/cat/9.png"),
        ("test", "test/dog/9.png"),
    ]


def test_where_nothing_is_left_the_first_cause_is_named(tmp_path: Path) -> None:
    rows = [
        {"image": f"{write_image(tmp_path / f'{n}.png', n).name}", "y": n % 2, "split": n % 3 + 0.5} for n in range(6)
    ]
    write_table(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match=r"no usable images.*6 problems, the first: .*row 2: the split .* is '0.5'"):
        check_data(str(tmp_path / "t.csv"))
