"""The mathematics data set (Saxton et al. 2019, arXiv:1904.01557): its published text files, and easy and hard masks.

The files are a download of their own (mathematics_dataset-v1.0), with a question and an answer on alternate lines. They
were not at hand, so no figure of docs/results/modularity.md comes from them.
"""

from pathlib import Path

import torch
from torch import Tensor

from function_experiments.measuring import Figure, Place, Settings, describe_masks, learn_twice, make, train
from function_experiments.networks import TransformerTranslator
from prusc.errors import DataError
from prusc.stages.modularity import IGNORED, Examples

# Published: questions of at most 160 and answers of at most 30 characters.
MAX_QUESTION, MAX_ANSWER = 160, 30
PADDING, BEGIN, END = 0, 1, 2
CHARACTERS = "".join(map(chr, range(32, 127)))
NUM_CHARACTERS = len(CHARACTERS) + 3

LEVELS = {"easy": "train-easy", "medium": "train-medium", "hard": "train-hard"}
MODULE = "arithmetic__add_or_sub"
# So many questions of each level are held out for the test, or a tenth of a small file.
NUM_TEST = 2000


def easy_and_hard(settings: Settings, seed: int, place: Place) -> list[Figure]:
    """Masks for the easy, the medium and the hard questions of one module, over a transformer trained on all of them.

    Here the limit is the number of attention heads, and the number of samples is that of each level.

    Raises:
        DataError: If the source is not given, or lacks a file.
    """
    if place.source is None:
        files = ", ".join(f"{folder}/{MODULE}.txt" for folder in LEVELS.values())
        raise DataError(
            f"the mathematics data set is a download of its own (mathematics_dataset-v1.0); name its folder, which "
            f"holds {files}, with --source"
        )
    levels, tests = {}, {}
    for level, folder in LEVELS.items():
        pairs = read_questions(place.source / folder / f"{MODULE}.txt")[: settings.num_samples or None]
        num_test = max(1, min(NUM_TEST, len(pairs) // 10))
        # Mask learning needs questions, too.
        if len(pairs) < 2:
            raise DataError(f"{place.source / folder / MODULE}.txt has {len(pairs)} question; expected at least 2")
        levels[level], tests[level] = as_examples(pairs[num_test:]), as_examples(pairs[:num_test])
    model = make(
        TransformerTranslator,
        *(NUM_CHARACTERS, NUM_CHARACTERS, settings.width, settings.num_layers, settings.limit, MAX_QUESTION),
        seed=seed,
        device=place.device,
    )
    train(model, _together(levels), settings.training, seed=seed)
    masks, again = learn_twice(model, levels, settings.masks, seed=seed)
    return describe_masks(model, masks, again, tests, seed=seed)


def _together(levels: dict[str, Examples]) -> Examples:
    """Return the questions of all levels."""
    parts: list[dict[str, Tensor]] = [dict(data.inputs) for data in levels.values()]  # type: ignore[arg-type]
    inputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Examples(inputs, torch.cat([data.labels for data in levels.values()]))


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
