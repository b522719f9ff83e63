"""SCAN (Lake and Baroni 2018, arXiv:1711.00350): commands and actions, made from the grammar.

A command is one phrase, or two joined by ``and`` or ``after``. A phrase is a verb phrase: once, twice or thrice.
"""

from collections.abc import Sequence
from itertools import product

import torch

from prusc.stages.modularity import IGNORED, Examples

PRIMITIVES = {"walk": "WALK", "look": "LOOK", "run": "RUN", "jump": "JUMP"}
TURNS = {"left": "LTURN", "right": "RTURN"}

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""Words of a command, and its actions."""

PADDING, BEGIN, END = 0, 1, 2
WORDS = (
    "walk",
    "look",
    "run",
    "jump",
    "turn",
    "left",
    "right",
    "opposite",
    "around",
    "twice",
    "thrice",
    "and",
    "after",
)
ACTIONS = ("WALK", "LOOK", "RUN", "JUMP", "LTURN", "RTURN")
NUM_WORDS, NUM_ACTIONS = len(WORDS) + 1, len(ACTIONS) + 3


def verb_phrases() -> list[Pair]:
    """Return the 34 verb phrases, such as ``jump around left``."""
    found: list[Pair] = [((verb,), (action,)) for verb, action in PRIMITIVES.items()]
    for verb, (side, turn) in product(("turn", *PRIMITIVES), TURNS.items()):
        act = () if verb == "turn" else (PRIMITIVES[verb],)
        found.append(((verb, side), (turn, *act)))
        found.append(((verb, "opposite", side), (turn, turn, *act)))
        found.append(((verb, "around", side), (turn, *act) * 4))
    return found


def all_commands() -> list[Pair]:
    """Return the 20,910 commands with their actions."""
    phrases: list[Pair] = []
    for words, actions in verb_phrases():
        phrases += [(words, actions), ((*words, "twice"), actions * 2), ((*words, "thrice"), actions * 3)]
    commands = list(phrases)
    for (first, early), (second, late) in product(phrases, phrases):
        commands.append(((*first, "and", *second), early + late))
        commands.append(((*first, "after", *second), late + early))
    return commands


def split_simple(commands: Sequence[Pair], generator: torch.Generator) -> tuple[list[Pair], list[Pair]]:
    """Return 80 % of the commands, at random, and the rest."""
    order = torch.randperm(len(commands), generator=generator).tolist()
    num_train = round(0.8 * len(commands))
    return [commands[i] for i in order[:num_train]], [commands[i] for i in order[num_train:]]


def split_primitive(commands: Sequence[Pair], primitive: tuple[str, ...]) -> tuple[list[Pair], list[Pair]]:
    """Return a training part with a primitive only on its own, as a tenth of the samples, and all that combine it.

    Args:
        commands: All commands.
        primitive: ``("jump",)`` or ``("turn", "left")``.
    """
    alone = [pair for pair in commands if pair[0] == primitive]
    combined = [pair for pair in commands if _contains(pair[0], primitive) and pair[0] != primitive]
    others = [pair for pair in commands if not _contains(pair[0], primitive)]
    return others + alone * round(len(others) / 9), combined


def split_length(commands: Sequence[Pair], longest: int = 22) -> tuple[list[Pair], list[Pair]]:
    """Return the commands of at most so many actions, and the longer ones."""
    return [p for p in commands if len(p[1]) <= longest], [p for p in commands if len(p[1]) > longest]


def as_examples(pairs: Sequence[Pair], max_actions: int = 48) -> Examples:
    """Return padded numbers: commands with the padding on the left, the actions so far, and the actions to say."""
    word_ids = {word: number for number, word in enumerate(WORDS, start=1)}
    action_ids = {action: number for number, action in enumerate(ACTIONS, start=3)}
    commands = torch.full((len(pairs), 9), PADDING)
    previous = torch.full((len(pairs), max_actions + 1), PADDING)
    labels = torch.full((len(pairs), max_actions + 1), IGNORED)
    for row, (words, actions) in enumerate(pairs):
        commands[row, 9 - len(words) :] = torch.tensor([word_ids[word] for word in words])
        numbers = [action_ids[action] for action in actions]
        previous[row, : len(numbers) + 1] = torch.tensor([BEGIN, *numbers])
        labels[row, : len(numbers) + 1] = torch.tensor([*numbers, END])
    return Examples({"commands": commands, "previous": previous}, labels)


def _contains(words: Sequence[str], primitive: tuple[str, ...]) -> bool:
    return any(tuple(words[i : i + len(primitive)]) == primitive for i in range(len(words)))
