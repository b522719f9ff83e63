"""The help of each command follows from the docstrings of these classes."""

import dataclasses
import re
from pathlib import Path

import pytest
import tomli_w

from prusc.cli.commands import (
    AuditCommand,
    BenchCommand,
    CheckCommand,
    CompareCommand,
    ExportCommand,
    ModularityCommand,
    ReportCommand,
    RunCommand,
)
from prusc.cli.main import run_command_line
from prusc.config import RunConfig, config_to_dict

Capture = pytest.CaptureFixture[str]
CLASSES: dict[str, type] = {
    "audit": AuditCommand,
    "bench": BenchCommand,
    "check": CheckCommand,
    "compare": CompareCommand,
    "modularity": ModularityCommand,
    "export": ExportCommand,
    "report": ReportCommand,
    "run": RunCommand,
}


def read_help(name: str, capsys: Capture) -> str:
    """The help of a command without its frames, in one line."""
    assert run_command_line([name, "--help-all"]) == 0
    return " ".join(re.sub(r"[\u2500-\u257f]", " ", capsys.readouterr().out).split())


def describe_attributes(command: type) -> dict[str, str]:
    """What the docstring says of each attribute."""
    text = command.__doc__ or ""
    if "Attributes:" not in text:
        return describe_attributes(command.__base__)  # type: ignore[arg-type]
    found = re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", text, flags=re.MULTILINE)
    return {name: " ".join(description.split()) for name, description in found}


@pytest.mark.parametrize("name", CLASSES)
def test_the_help_describes_the_command_and_every_option(name: str, capsys: Capture) -> None:
    command = CLASSES[name]
    printed = read_help(name, capsys)
    assert f"usage: prusc {name}" in printed
    assert (command.__doc__ or "").splitlines()[0] in printed
    described = describe_attributes(command)
    # `run` is the settings themselves, whose options have the texts of their own classes.
    assert described.keys() == {field.name for field in dataclasses.fields(command)} - {"run"}
    for option, text in described.items():
        assert text in printed, option
        assert text[0].isupper(), option


@pytest.mark.parametrize("name", CLASSES)
def test_no_sentence_is_longer_than_25_words(name: str) -> None:
    texts = [*describe_attributes(CLASSES[name]).values(), *(CLASSES[name].__doc__ or "").split("Attributes:")[:1]]
    for text in texts:
        for sentence in re.split(r"(?<=[.:;])\s+", text):
            assert len(sentence.split()) <= 25, sentence


def test_the_settings_of_a_run_are_its_options(capsys: Capture) -> None:
    printed = read_help("run", capsys)
    for option in ("--seed INT", "--masks.snapshots INT", "--erm.learning-rate FLOAT", "--data-options.image-size"):
        assert option in printed


@pytest.mark.parametrize(("text", "expected"), [("early", "early"), ("3", 3), ("0", 0), ("None", None)])
def test_the_epoch_to_infer_from_is_read_from_options_and_from_a_file_alike(
    text: str, expected: str | int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[RunConfig] = []

    def remember(command: RunCommand, *_: object) -> int:
        asked.append(command.run)
        return 0

    monkeypatch.setattr("prusc.cli.main._go", remember)
    (tmp_path / "other.toml").write_text("[clustering]\ncheckpoint = 2\n")
    option = ["--clustering.checkpoint", text]
    for first in ([], ["--config", str(tmp_path / "other.toml")]):
        assert run_command_line(["run", *first, *option]) == 0
    written = tmp_path / "written.toml"
    written.write_text(tomli_w.dumps(config_to_dict(asked[0])))
    assert run_command_line(["run", "--config", str(written)]) == 0
    assert [config.clustering.checkpoint for config in asked] == [expected] * 3


def test_defaults_of_the_commands() -> None:
    assert CheckCommand("images").format == "text"
    assert BenchCommand().backend == "loky"
    assert BenchCommand().workers is None
    assert not BenchCommand().trust_models
