"""Bad input through the command: one clear error, exit code 2, no traceback, nothing half-written."""

import dataclasses
import io
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prusc.cli.main import main, run_command_line
from prusc.config import read_config
from prusc.config.presets import get_preset
from prusc.models.build import SmallCNN

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]

NUM_IMAGES = 24
ATTRIBUTES, PARTITIONS = "list_attr_celeba.txt", "list_eval_partition.txt"
TINY = """
data_options = { image_size = 12 }
erm = { epochs = 1, batch_size = 8 }
clustering = { num_clusters = 2 }
masks = { steps = 2, snapshots = 1, batch_size = 8 }
finetune = { steps = 2, batch_size = 8, head_l2 = [0.1] }
runtime = { device = "cpu", num_workers = 0 }
"""


def write_faces(root: Path) -> Path:
    """CelebA's official layout: 24 images of noise, 16 of them for training, blond where the number is odd."""
    (root / "img_align_celeba").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 22, 18, 3), dtype=np.uint8)
    attributes, partitions = [str(NUM_IMAGES), "Blond_Hair Male"], []
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(image(root, number))
        attributes.append(f"{number:06d}.jpg {1 if number % 2 else -1} {1 if number // 2 % 2 else -1}")
        partitions.append(f"{number:06d}.jpg {(0, 0, 1, 2)[number // 4 % 4]}")
    (root / ATTRIBUTES).write_text("\n".join(attributes) + "\n")
    (root / PARTITIONS).write_text("\n".join(partitions) + "\n")
    (root / "tiny.toml").write_text(TINY)
    return root


def image(root: Path, number: int = 3) -> Path:
    return root / "img_align_celeba" / f"{number:06d}.jpg"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def on_faces(faces: Path, out: Path, options: str = "") -> list[str]:
    """The arguments of a run of less than a second."""
    settings = ["--config", str(faces / "tiny.toml"), "--data", str(faces), "--out", str(out)]
    return ["run", *settings, *options.split()]


def check_refused(capsys: Capture, arguments: list[str], expected: str) -> str:
    """Run the command, which has to print one error that says these things, in this order, and to return 2."""
    capsys.readouterr()
    assert run_command_line(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.count("prusc: ") <= 1
    assert re.search(".*".join(map(re.escape, expected.split(" ... "))), " ".join(printed.err.split())), printed.err
    return printed.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------------- files


def replace(name: str, old: str, new: str) -> Change:
    return lambda root: (root / name).write_text(re.sub(old, new, (root / name).read_text()))


def cut(root: Path, number: int = 3) -> None:
    image(root, number).write_bytes(image(root, number).read_bytes()[:300])


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
    assert "erm: trained before" in capsys.readouterr().err


def test_bad_images_are_skipped_where_that_is_asked_for(faces: Path, out: Path, capsys: Capture) -> None:
    whole = image(faces, 3).read_bytes()
    cut(faces, 3)
    image(faces, 13).unlink()
    arguments = on_faces(faces, out, "--skip-bad")
    assert run_command_line(arguments) == 0
    assert f"skipped 2 images that cannot be read, listed in {out / 'skipped.csv'}" in capsys.readouterr().err
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
    assert re.search(r"each attribute alone, before -> after: Male [\d.]+ -> [\d.]+; Young [\d.]+ -> [\d.]+", printed)
    val = json.loads((out / "metrics.json").read_text())["results"]["erm"]["val"]
    assert len(val["groups"]) == 8
    assert [attribute["name"] for attribute in val["attributes"]] == ["Male", "Young"]
    for attribute in val["attributes"]:
        assert list(attribute["worst_group"]["attributes"]) == [attribute["name"]]
        assert attribute["worst_group_accuracy"] >= val["worst_group_accuracy"]


# ----------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("rum", "unknown command 'rum'; did you mean run?; commands: check, audit, run, report, compare, bench"),
        ("--seed 1", "unknown command '--seed'; commands: check, audit, run, report, compare, bench"),
        ("run --config", "Missing value for argument '--config'"),
        (
            "run --preset celebb",
            "unknown preset 'celebb'; did you mean celeba or ... known are celeba, waterbirds, isic",
        ),
        ("run --preset=isic --config a.toml", "--config a.toml and --preset isic each give every setting; name one of"),
        ("audit --preset", "Missing value for argument '--preset'"),
        ("audit --preset celeba", "data 'celeba' is neither a packaged data set"),
        ("run --preset celeba --data fashion-stickers", "'fashion-stickers' does not take image_size; its options are"),
        ("run --data fashion-sticker", "'fashion-sticker' is neither ... did you mean fashion-stickers?; ... CelebA ("),
        ("run --data /", "folder '/' has no layout that prusc knows; expected one of: CelebA (img_align_celeba/"),
        ("run --model small-cn", "unknown model 'small-cn'; did you mean small-cnn or ... ?; known are 'small-cnn'"),
        ("run --model q", "unknown model 'q'; known are 'small-cnn', timm's names (list them with"),
        ("run --erm.learning-rat 1", "Unrecognized options: --erm.learning-rat ... you meant: --erm.learning-rate F"),
        ("run --masks.step 5", "Unrecognized options: --masks.step ... Perhaps you meant: --masks.steps INT"),
        ("run stray", "Unrecognized options: stray ... prusc run --help"),
        ("run --masks.negatives clustr", "invalid choice 'clustr' for argument '--masks.negatives' ... 'other-class'"),
        ("run --seed x", "--seed: invalid literal for int() with base 10: 'x'"),
        ("run --seed -1", "seed must be in 0..2**63-1, found -1"),
        ("run --masks.steps 0", "masks.steps must be at least 1, found 0"),
        ("run --erm.batch-size 1", "erm.batch_size must be at least 2, found 1"),
        ("run --erm.learning-rate nan", "erm.learning_rate must be in (0, 1e30], found nan"),
        ("run --clustering.checkpoint 21", "clustering.checkpoint must be in 0..erm.epochs (20), found 21"),
        ("run --data-options.correlation 2", "correlation is 2.0; expected a share from 0.25"),
        ("run --data-options.target Male", "'fashion-stickers' does not take target; its options are correlation"),
    ],
)
def test_bad_options_are_named(
    arguments: str, expected: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(capsys, arguments.split(), expected)
    assert not list(tmp_path.iterdir())


TINY_PRESET = (
    "--preset celeba --model small-cnn --data-options.image-size 14 --data-options.crop-size 12 --erm.epochs 1 "
    "--clustering.num-clusters 2 --masks.steps 2 --masks.batch-size 8 --finetune.steps 2 --finetune.batch-size 8 "
    "--runtime.device cpu --runtime.num-workers 0"
)


@pytest.mark.parametrize("weights", ["--no-pretrained", "--weights {}", "--trained={}"])
def test_options_replace_those_of_a_preset(faces: Path, out: Path, weights: str) -> None:
    path = faces / "w.safetensors"
    save_file(SmallCNN(2).state_dict(), path)
    options = [*TINY_PRESET.split(), *weights.format(path).split(), "--data", str(faces), "--out", str(out)]
    assert run_command_line(["run", *options]) == 0
    preset, written = get_preset("celeba"), read_config(out / "config.toml")
    assert written.masks == dataclasses.replace(preset.masks, steps=2, batch_size=8)
    assert written.erm == dataclasses.replace(preset.erm, epochs=1)
    assert written.debiasing_set == preset.debiasing_set
    assert written.data_options == dataclasses.replace(preset.data_options, image_size=14, crop_size=12)
    # What a trained network began with stays.
    assert written.pretrained == weights.startswith("--trained")
    given = {"--weights": written.weights, "--trained": written.trained}
    assert given.get(weights.split()[0].partition("=")[0]) == (None if weights == "--no-pretrained" else path)
    # The settings that were written repeat the run.
    again = ["run", "--config", str(out / "config.toml"), "--out", str(out.with_name("again"))]
    assert run_command_line(again) == 0
    assert (out / "candidates.csv").read_bytes() == (out.with_name("again") / "candidates.csv").read_bytes()


def test_a_folder_whose_name_is_no_text_is_refused(faces: Path, out: Path, capsys: Capture) -> None:
    odd = faces.with_name(os.fsdecode(b"\xff"))
    try:
        faces.rename(odd)
    except OSError:
        pytest.skip("this file system takes text only")
    check_refused(capsys, on_faces(odd, out), "hold a name that is no text ... and config.toml cannot; rename that")
    assert not out.exists()


def test_what_the_terminal_cannot_show_is_written_out(
    faces: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(faces)
    odd = faces.with_name("\u00df")
    faces.rename(odd)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with pytest.raises(SystemExit) as stop:
        main(["check", str(odd)])
    assert stop.value.code == 1
    sys.stdout.flush()
    assert b"/\\xdf/img_align_celeba/000003.jpg is damaged" in shown.getvalue()


def test_a_crop_larger_than_the_images_is_refused(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, "--data-options.crop-size 13")
    check_refused(capsys, arguments, "images have 12 x 12 pixels, fewer than crop_size 13; give a larger image_size")
    assert not out.exists()


def test_a_device_that_is_not_there_is_named(out: Path, capsys: Capture) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    arguments = ["run", "--runtime.device", absent, "--out", str(out)]
    check_refused(capsys, arguments, f"runtime.device '{absent}' cannot be used: ... 'cpu' ... or 'auto'")
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"seed = 1\nmodel = ", "is no valid TOML: Invalid value (at end of document)"),
        ("seed = 1".encode("utf-16"), "is no valid TOML: 'utf-8' codec"),
        (b"sed = 1", "unknown setting sed; did you mean seed?"),
        (b"[masks]\nstep = 1", "unknown setting masks.step; did you mean steps?"),
        (b"masks = 3", "masks must be a table of settings, found 3"),
        (b"seed = 'x'", "seed must be int, found 'x'"),
        (b"[masks]\nsteps = 0", "masks.steps must be at least 1, found 0"),
    ],
)
def test_a_bad_config_file_is_named(content: bytes, expected: str, tmp_path: Path, out: Path, capsys: Capture) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    check_refused(capsys, ["run", "--config", str(path), "--out", str(out)], f"config file {path} ... {expected}")
    assert not out.exists()


# ----------------------------------------------------------------------------------------------------------- weights


class RunsCode(str):
    """The name of a folder that is made when this is unpickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self),)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": RunsCode(f"{path}.ran")}))


def pickled_by_torch(path: Path) -> None:
    torch.save({"w": RunsCode(f"{path}.ran")}, path)


def other_weights(path: Path) -> None:
    save_file({"other.weight": torch.ones(1)}, path)


def weights_with(name: str, *shape: int, value: float = 1.0) -> Change:
    return lambda path: save_file({**SmallCNN(4).state_dict(), name: torch.full(shape, value)}, path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("file", "write", "expected"),
    [
        ("--weights w.pt", lambda path: None, "does not exist"),
        ("--weights w.pt", lambda path: path.mkdir(), "is no file"),
        ("--trained w.pt", lambda path: path.write_bytes(b""), "cannot be read (EOFError ... expected safetensors or"),
        ("--trained w.pt", lambda path: path.write_text("hello"), "cannot be read (KeyError ... save or copy it again"),
        ("--trained w.safetensors", lambda path: path.write_text("hello"), "cannot be read (SafetensorError ... again"),
        (
            "--trained w.pt",
            pickled,
            "does not open it, because reading those could run code; save the plain state dict",
        ),
        ("--weights w.pt", pickled_by_torch, "does not open it, because reading those could run code; save the plain"),
        ("--weights w.pt", lambda path: torch.save({"epoch": 1}, path), "holds dict, not a state dict ... save model"),
        (
            "--weights w.safetensors",
            other_weights,
            "missing: encoder.0.weight, ... and 12 more; not in the model: other",
        ),
        ("--trained w.safetensors", weights_with("head.bias", 9), "another shape: head.bias [9] instead of [4]; name"),
        ("--trained w.safetensors", weights_with("head.bias", 4, value=torch.inf), "not finite, in head.bias; use an"),
        ("--weights w.safetensors", weights_with("encoder.1.running_mean", 32, value=torch.nan), "in encoder.1.runni"),
    ],
)
def test_bad_weights_are_named(
    file: str, write: Change, expected: str, tmp_path: Path, out: Path, capsys: Capture
) -> None:
    option, name = file.split()
    path = tmp_path / name
    write(path)
    before = list(tmp_path.iterdir())
    check_refused(capsys, ["run", option, str(path), "--out", str(out)], f"weight file {path} ... {expected}")
    assert list(tmp_path.iterdir()) == before, "there is a run folder, or the code of the file has run"


CLUSTERS = "index,label,cluster_assign\n" + "".join(f"{i},{i % 2},{i % 3}\n" for i in range(16))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cluster_assign", "cluster", "lacks the columns ['cluster_assign']; it has ['index', 'label', 'cluster']"),
        ("\n5,1,2", "\n5,0,2", "row 7: label 0 for sample 5, whose class is 1; use a file made for these data"),
        ("\n5,1,2", "\n5,1,two", "row 7, column 'cluster_assign': 'two' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,-1", "row 7, column 'cluster_assign': '-1' is no"),
        ("\n5,1,2", "\n5,1,", "row 7, column 'cluster_assign': '' is no"),
        ("15,1,0\n", "", "each of the 16 training samples once, as index 0 to 15; it has 15 rows"),
        ("\n5,1,2", "\n4,0,2", "each of the 16 training samples once ... 16 rows, 15 different"),
        ("\n5,1,2", "\n5,1,2,7", "cannot be read as CSV: ... Expected 3 fields in line 7, saw 4"),
        ("(?s).+", "", "cannot be read as CSV: No columns"),
        # The rows of other splits are passed over, yet counted.
        ("(?s).+", "index,label,cluster_assign,split\n0,0,0,val\n0,0,x,train\n", "row 3, column 'cluster_assign': 'x'"),
        ("(?s)\n.+", ",split\n0,0,0,val" + "\n{},0,0,train" * 16, "row 4: label 0 for sample 1"),
    ],
)
def test_bad_clusters_are_named(faces: Path, out: Path, capsys: Capture, old: str, new: str, expected: str) -> None:
    path = faces / "clusters.csv"
    path.write_text(re.sub(old, new, CLUSTERS).format(*range(16)))
    arguments = on_faces(faces, out, f"--clustering.from-csv {path}")
    check_refused(capsys, arguments, f"cluster file {path} ... {expected}")
    assert not out.exists()


def test_good_clusters_are_taken_and_a_missing_file_is_named(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, f"--clustering.from-csv {faces / 'clusters.csv'}")
    check_refused(capsys, arguments, "clusters.csv does not exist or is not a file")
    assert not out.exists()
    (faces / "clusters.csv").write_text(CLUSTERS)
    assert run_command_line(arguments) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--erm.learning-rate 1e30", "ERM training: the loss is nan at step 2; try a lower learning rate"),
        ("--masks.beta 1e39", "mask learning: the loss is inf at step 1; try a lower learning rate"),
        ("--finetune.learning-rates 1e30", "fine-tuning ... the loss is nan at step 2; try a lower learning rate"),
        ("--erm.learning-rate 1e30 --erm.batch-size 16", "16 of 16 samples ... '000000.jpg'; check the network's we"),
    ],
)
def test_a_loss_that_is_no_number_names_its_step(
    faces: Path, out: Path, capsys: Capture, options: str, expected: str
) -> None:
    for _ in range(2):  # the second time from where the run had come to
        check_refused(capsys, on_faces(faces, out, options), expected)
        assert (out / "log.txt").exists()
        assert not (out / "metrics.json").exists()


# -------------------------------------------------------------------------------------------------------- run folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("file", "run folder ... /file is a file; name another folder with --out"),
        ("file/run", "/file/run cannot be written: Not a directory; ... name a folder that you may write to with --o"),
        ("/proc/run", "run folder /proc/run cannot be written: ... name a folder that you may write to with --out"),
        ("a" * 300, "File name too long: ... aaa/metrics.json'; check the name and your permissions"),
        ("full", "/full holds files but no config.toml, so it is no run folder; name an empty or a new one"),
    ],
)
def test_a_folder_that_cannot_be_used(faces: Path, tmp_path: Path, capsys: Capture, name: str, expected: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    before = snapshot(tmp_path)
    check_refused(capsys, on_faces(faces, tmp_path / name), expected)
    assert snapshot(tmp_path) == before


def test_a_run_that_is_there_is_kept(faces: Path, out: Path, capsys: Capture) -> None:
    assert run_command_line(on_faces(faces, out)) == 0
    finished = snapshot(out)
    check_refused(
        capsys,
        on_faces(faces, out),
        "a finished run; read its metrics.json, name another",
    )
    check_refused(capsys, on_faces(faces, out, "--force --weights no.pt"), "weight file no.pt does not exist")
    assert snapshot(out) == finished
    (out / "metrics.json").unlink()
    begun = snapshot(out)
    expected = "run with other settings (masks.steps was 2, is 3; seed was 0, is 5); ... --out, ... with --force"
    check_refused(capsys, on_faces(faces, out, "--seed 5 --masks.steps 3"), expected)
    assert snapshot(out) == begun


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered: not even by root, who takes the part of somebody else."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


@pytest.mark.parametrize("option", ["--out", "--data", "--config", "--weights", "--clustering.from-csv"])
def test_what_may_not_be_read_is_named(closed: Path, capsys: Capture, option: str) -> None:
    path = str(closed / "x")
    assert path in check_refused(capsys, ["run", "--out", "/nowhere/run", option, path], "Permission denied")


@pytest.mark.parametrize("num_bytes", [100, 100_000])  # too few for the settings, and for the weights
def test_a_run_without_space_goes_on_when_there_is_some(
    faces: Path, out: Path, capsys: Capture, num_bytes: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        expected = f"run folder {out} cannot be written: ... File too large ... ; free some space, or name a folder"
        check_refused(capsys, on_faces(faces, out), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(out.rglob(".*")), "a file that was half written"
    assert run_command_line(on_faces(faces, out)) == 0


def test_a_full_disk_can_be_enlarged(faces: Path, tmp_path: Path, capsys: Capture) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        expected = f"{disk / 'run'} cannot be written: ... No space left on device ... ; free some space"
        check_refused(capsys, on_faces(faces, disk / "run"), expected)
        assert not list(disk.rglob(".*")), "a file that was half written"
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        assert run_command_line(on_faces(faces, disk / "run")) == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -------------------------------------------------------------------------------------------------- the real command


def test_ctrl_c_ends_the_run_and_the_same_command_goes_on(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, "--masks.steps 200")
    # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import prusc.__main__ as p; p.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    stages = out / "stages" / "seconds.json"  # the stages that are over
    while process.poll() is None and not (stages.exists() and "debiasing_set" in stages.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert errors.endswith("\nprusc: interrupted; the same command goes on with the stage that it was in\n")
    assert "Traceback" not in errors
    assert not (out / "stages" / "masks.safetensors").exists(), "the masks were learned before the interruption"
    assert run_command_line(arguments) == 0
    assert "erm: loaded from the run folder" in capsys.readouterr().err


def test_the_command_itself_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prusc", "run", "--trained", "nowhere.pt"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "prusc: weight file nowhere.pt does not exist or is no file\n"
    assert not list(tmp_path.iterdir())
