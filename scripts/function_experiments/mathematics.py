"""The mathematics data set (Saxton et al. 2019, arXiv:1904.01557): a reader of its published text files.

The files are a download of their own (mathematics_dataset-v1.0), with a question and an answer on alternate lines. They
were not at hand, so no figure of docs/results/modularity.md comes from them.
"""

from pathlib import Path

import torch

from prusc.errors import DataError
from prusc.stages.modularity import IGNORED, Examples

# Published: questions of at most 160 and answers of at most 30 characters.
MAX_QUESTION, MAX_ANSWER = 160, 30
PADDING, BEGIN, END = 0, 1, 2
CHARACTERS = "".join(map(chr, range(32, 127)))
NUM_CHARACTERS = len(CHARACTERS) + 3

LEVELS = ("train-easy", "train-medium", "train-hard")


def read_questions(path: Path) -> list[tuple[str, str]]:
    """Read one file, such as ``train-easy/arithmetic__add_or_sub.txt``.

    Raises:
        DataError: If the file cannot be read, has an odd number of lines, or a line that is too long or not ASCII.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(lines) % 2 or not lines:
        raise DataError(f"{path} has {len(lines)} lines; expected questions and answers on alternate lines")
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    for number, (question, answer) in enumerate(pairs):
        if len(question) > MAX_QUESTION or len(answer) > MAX_ANSWER or not (question + answer).isascii():
            raise DataError(
                f"{path}, line {2 * number + 1}: expected ASCII text of at most {MAX_QUESTION} characters, and an "
                f"answer of at most {MAX_ANSWER}"
            )
    return pairs


def as_examples(pairs: list[tuple[str, str]]) -> Examples:
    """Return padded numbers, in the form of the SCAN experiment: questions with the padding on the left."""
    ids = {character: number for number, character in enumerate(CHARACTERS, start=3)}
    commands = torch.full((len(pairs), MAX_QUESTION), PADDING)
    previous = torch.full((len(pairs), MAX_ANSWER + 1), PADDING)
    labels = torch.full((len(pairs), MAX_ANSWER + 1), IGNORED)
    for row, (question, answer) in enumerate(pairs):
        said = [ids[character] for character in answer]
        commands[row, MAX_QUESTION - len(question) :] = torch.tensor([ids[character] for character in question])
        previous[row, : len(said) + 1] = torch.tensor([BEGIN, *said])
        labels[row, : len(said) + 1] = torch.tensor([*said, END])
    return Examples({"commands": commands, "previous": previous}, labels)
