"""Bad options and settings through the command: one clear error, exit code 2, no traceback, nothing half-written."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prusc.cli.main import run_command_line
from prusc.config import read_config
from prusc.config.presets import get_preset
from prusc.models.build import SmallCNN
from tests.cli.faces import Capture, check_refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("rum", "unknown command 'rum'; did you mean run?; commands: check, audit, run, modularity, export, report"),
        ("--seed 1", "unknown command '--seed'; commands: check, audit, run, modularity, export, report"),
        ("run --config", "Missing value for argument '--config'"),
        (
            "run --preset celebb",
            "unknown preset 'celebb'; did you mean celeba?; known are celeba, waterbirds, isic",
        ),
        ("run --preset=isic --config a.toml", "--config a.toml and --preset isic each give every setting; name one of"),
        ("audit --preset", "Missing value for argument '--preset'"),
        ("audit --preset celeba", "data 'celeba' is neither a packaged data set"),
        ("run --preset celeba --data fashion-stickers", "'fashion-stickers' does not take image_size; its options are"),
        ("run --data fashion-sticker", "'fashion-sticker' is neither ... did you mean fashion-stickers?; ... CelebA ("),
        ("run --data /dev", "folder '/dev' has no layout that prusc knows; expected one of: CelebA (img_align_celeba/"),
        ("run --model small-cn", "unknown model 'small-cn'; did you mean small-cnn or ... ?; known are 'small-cnn'"),
        ("run --model q", "unknown model 'q'; known are 'small-cnn', timm's names (list them with"),
        ("run --erm.learning-rat 1", "Unrecognized options: --erm.learning-rat ... you meant: --erm.learning-rate F"),
        ("run --masks.step 5", "Unrecognized options: --masks.step ... Perhaps you meant: --masks.steps {None}|INT"),
        ("run --clustering.checkpoint late", "--clustering.checkpoint: no type matching {None}|INT|{early}"),
        ("run --pseudo-attribute.source tea", "invalid choice 'tea' for argument '--pseudo-attribute.source'"),
        ("run --pseudo-attribute.l2 0", "pseudo_attribute.l2 must be greater than 0, found 0.0"),
        ("run --selection.num-permutations 0", "selection.num_permutations must be at least 1, found 0"),
        ("run stray", "Unrecognized options: stray ... prusc run --help"),
        ("run --masks.negatives clustr", "invalid choice 'clustr' for argument '--masks.negatives' ... 'other-class'"),
        ("run --method jt", "unknown method 'jt'; did you mean jtt?; the methods are erm, erm-longer"),
        ("run --tuning-budget 0", "tuning_budget must be greater than 0, found 0"),
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


def test_a_device_that_is_not_there_is_named(out: Path, capsys: Capture) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    arguments = ["run", "--runtime.device", absent, "--out", str(out)]
    check_refused(capsys, arguments, f"runtime.device '{absent}' cannot be used: ... 'cpu' ... or 'auto'")
    assert not out.exists()


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
