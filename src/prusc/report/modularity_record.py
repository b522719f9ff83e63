"""The content of a folder of ``prusc modularity`` as its report uses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prusc.config import RunConfig
from prusc.stages.modularity.accuracy import AccuracyTable
from prusc.stages.modularity.class_removal import ClassRemoval
from prusc.stages.modularity.comparison import ALL_LAYERS, Overlap, SharedWeights


@dataclass(frozen=True, eq=False)
class ModularityRecord:
    """Masks of functions and what they share.

    Attributes:
        path: The folder.
        outcome: Content of ``modularity.json``.
        config: All settings.
        accuracies: Accuracy under each mask on each function.
        overlaps: Overlaps of different functions.
        stability: Overlaps of two seeds of one function.
        shares: How much of each mask the other functions have too.
        removal: Class removal; ``None`` if the functions are no classes.
        log: Content of ``log.txt``.
        missing: One line per file that could not be read.
    """

    path: Path
    outcome: Mapping[str, Any]
    config: RunConfig
    accuracies: AccuracyTable
    overlaps: tuple[Overlap, ...]
    stability: tuple[Overlap, ...]
    shares: tuple[SharedWeights, ...]
    removal: ClassRemoval | None
    log: str
    missing: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of the functions, the control first."""
        return [str(function["name"]) for function in self.outcome["functions"]]

    @property
    def layers(self) -> list[str]:
        """Names of the masked parameters, then `ALL_LAYERS`."""
        return [str(layer) for layer in self.outcome["layers"]]

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time by stage."""
        seconds: Mapping[str, float] = self.outcome["seconds"]
        return seconds

    def between(self, first: str, second: str, layer: str = ALL_LAYERS) -> Overlap:
        """Return the overlap of two functions, or of two seeds of one function."""
        found = self.stability if first == second else self.overlaps
        return next(o for o in found if o.layer == layer and {o.first, o.second} == {first, second})
