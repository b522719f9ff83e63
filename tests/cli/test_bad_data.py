"""Bad data through the command: one clear error, exit code 2, no traceback, nothing half-written."""

import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from prusc.cli.main import run_command_line
from tests.cli.faces import ATTRIBUTES, PARTITIONS, Capture, Change, check_refused, cut, image, on_faces, replace


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (cut, "img_align_celeba/000003.jpg is damaged or truncated ... a complete image file: copy or download"),
        (
            lambda root: image(root).write_text("hello"),
            "000003.jpg is not an image ... expected JPEG, PNG ... remove it",
        ),
        (lambda root: image(root).write_bytes(b""), "000003.jpg is empty (0 bytes); ... copy or download it again"),
        (lambda root: Image.new("F", (9, 9)).save(image(root), "TIFF"), "000003.jpg has 32 bits ... convert it"),
        (lambda root: image(root).unlink(), f"lacks 1 of the 24 listed ... '000003.jpg' ( ... {ATTRIBUTES}, line 6)"),
        (lambda root: (root / ATTRIBUTES).unlink(), f"faces has no {ATTRIBUTES} ... expected CelebA's own file"),
        (lambda root: (root / PARTITIONS).unlink(), f"faces has no {PARTITIONS} ... expected CelebA's own file"),
        (replace(ATTRIBUTES, "3.jpg 1", "3.jpg 2"), f"{ATTRIBUTES}, line 6: ... Blond_Hair is '2'; ... of -1, 0, 1"),
        (replace(PARTITIONS, "3.jpg 0", "3.jpg 3"), f"{PARTITIONS}, line 4: ... partition is '3'; ... one of 0, 1, 2"),
        (replace(ATTRIBUTES, "g -?1", "g 1"), f"one class only ('Blond_Hair') ... choose ... faces/{ATTRIBUTES})"),
        (replace(PARTITIONS, "g 0", "g 2"), f"{PARTITIONS} and ... names no training samples; expected"),
    ],
)
def test_bad_files_are_named(faces: Path, out: Path, capsys: Capture, change: Change, expected: str) -> None:
    change(faces)
    check_refused(capsys, on_faces(faces, out), expected)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--clustering.num-clusters 17", "16 training samples, fewer than the 17 clusters ... lower clustering.num"),
        ("--clustering.num-clusters None --clustering.candidates 30 20", "16 training samples, fewer than the 20"),
        ("--data-options.target Blond", f"{ATTRIBUTES} has no attribute 'Blond'; did you mean Blond_Hair?"),
        ("--data-options.attributes Mal", f"{ATTRIBUTES} has no attribute 'Mal'; did you mean Male?"),
        ("--data-options.correlation 0.5", "not take correlation; its options are target, attributes, image_size"),
        ("--data-options.image-size 0", "image size is 0; expected at least 1"),
        ("--model vit_tiny_patch16_224", "'vit_tiny_patch16_224' does not take ... height (12) ... choose another"),
    ],
)
def test_what_does_not_go_with_the_data(faces: Path, out: Path, capsys: Capture, options: str, expected: str) -> None:
    check_refused(capsys, on_faces(faces, out, options), expected)
    assert not out.exists()


def test_a_crop_larger_than_the_images_is_refused(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, "--data-options.crop-size 13")
    check_refused(capsys, arguments, "images have 12 x 12 pixels, fewer than crop_size 13; give a larger image_size")
    assert not out.exists()


def test_a_folder_whose_name_is_no_text_is_refused(faces: Path, out: Path, capsys: Capture) -> None:
    odd = faces.with_name(os.fsdecode(b"\xff"))
    try:
        faces.rename(odd)
    except OSError:
        pytest.skip("this file system takes text only")
    check_refused(capsys, on_faces(odd, out), "hold a name that is no text ... and config.toml cannot; rename that")
    assert not out.exists()


def test_images_of_any_mode_are_understood(faces: Path, out: Path) -> None:
    for number, (mode, kind) in enumerate([("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG")]):
        Image.new(mode, (18, 22)).save(image(faces, number), kind)
    assert run_command_line(on_faces(faces, out, "--data-options.memory-limit-gib inf")) == 0
    assert (out / "metrics.json").exists()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_image_that_is_met_late_can_be_put_right(
    faces: Path, out: Path, capsys: Capture, num_workers: int
) -> None:
    whole = image(faces, 13).read_bytes()  # of the test split, which comes last
    cut(faces, 13)
    arguments = on_faces(faces, out, f"--data-options.memory-limit-gib 0 --runtime.num-workers {num_workers}")
    check_refused(capsys, arguments, "000013.jpg is damaged or truncated ... copy or download it again")
    assert (out / "stages" / "masks.safetensors").exists()
    assert not (out / "metrics.json").exists()
    image(faces, 13).write_bytes(whole)
    assert run_command_line(arguments) == 0
    assert "erm: loaded from the run folder" in capsys.readouterr().err


def test_bad_images_are_skipped_where_that_is_asked_for(faces: Path, out: Path, capsys: Capture) -> None:
    whole = image(faces, 3).read_bytes()
    cut(faces, 3)
    image(faces, 13).unlink()
    arguments = on_faces(faces, out, "--skip-bad")
    assert run_command_line(arguments) == 0
    assert (
        f"skipped 2 images that cannot be read or are in another split too, listed in {out / 'skipped.csv'}"
        in capsys.readouterr().err
    )
    rows = (out / "skipped.csv").read_text().splitlines()
    assert rows[0] == "split,sample_id,problem"
    assert [row.split(",")[:2] for row in rows[1:]] == [["train", "000003.jpg"], ["test", "000013.jpg"]]
    assert "is damaged or truncated" in rows[1]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["data"]["num_skipped"] == 2
    assert metrics["results"]["erm"]["test"]["num_samples"] == 3
    # An unfinished run goes on with the same images only: its clusters are numbered by them.
    (out / "metrics.json").unlink()
    image(faces, 3).write_bytes(whole)
    check_refused(capsys, arguments, "skipped 2 images, and these data skip 1; restore the images")
    assert run_command_line([*arguments, "--force"]) == 0
    assert len((out / "skipped.csv").read_text().splitlines()) == 2


def test_several_attributes_have_groups_together_and_each_its_own_worst_group(
    faces: Path, out: Path, capsys: Capture
) -> None:
    lines = (faces / ATTRIBUTES).read_text().splitlines()
    lines = [
        lines[0],
        lines[1] + " Young",
        *(f"{line} {1 - 2 * (number % 3 // 2)}" for number, line in enumerate(lines[2:])),
    ]
    (faces / ATTRIBUTES).write_text("\n".join(lines) + "\n")
    assert run_command_line(on_faces(faces, out, "--data-options.attributes Male Young")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"each attribute alone, ERM network -> chosen network: Male [\d.]+ -> [\d.]+; Young [\d.]+ -> [\d.]+", printed
    )
    val = json.loads((out / "metrics.json").read_text())["results"]["erm"]["val"]
    assert len(val["groups"]) == 8
    assert [attribute["name"] for attribute in val["attributes"]] == ["Male", "Young"]
    for attribute in val["attributes"]:
        assert list(attribute["worst_group"]["attributes"]) == [attribute["name"]]
        assert attribute["worst_group_accuracy"] >= val["worst_group_accuracy"]
