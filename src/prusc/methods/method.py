"""The contract of a remedy: what it needs, what it is charged with, and how it is applied."""

import tomllib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from prusc.config import RunConfig, config_from_dict
from prusc.data import Data
from prusc.engine.display import describe_with_table
from prusc.errors import ConfigError
from prusc.runs.result import FAMILY_TITLES, DebiasingResult, tabulate_networks
from prusc.runs.session import Session
from prusc.stages.evaluation import GroupEvaluation

GroupLabels = Literal["none", "validation", "training"]

_SPLITS_WITH_GROUPS: dict[GroupLabels, tuple[str, ...]] = {
    "none": (),
    "validation": ("val",),
    "training": ("train", "val"),
}


@dataclass(frozen=True)
class Method(ABC):
    """A remedy.

    Attributes:
        name: On the command line.
        title: In tables.
        paper: Whose it is: authors, year, arXiv number.
        group_labels: Whose group labels it needs: of no split, of validation, or of training (and validation).
        settings: What tuning tries, the published defaults first, the rest in order of promise; frozen dataclasses of
            one class. One alone is not tuned.
        starts_from_erm: Whether it takes the ERM network, whose training then belongs to its cost.
        trains_on_validation: Whether it fits weights to validation samples, which is an advantage.
    """

    name: str
    title: str
    paper: str
    group_labels: GroupLabels
    settings: tuple[Any, ...]
    starts_from_erm: bool
    trains_on_validation: bool = False

    @abstractmethod
    def apply(self, session: Session) -> "MethodResult":
        """Go through all stages of a run that is open, and write what it leaves."""

    @property
    def family(self) -> str:
        """What the network that it hands back is called in ``metrics.json``."""
        return self.name

    @property
    def shared_stages(self) -> frozenset[str]:
        """Stages of a run whose time it is not charged with, because all remedies share them."""
        return frozenset({"clustering", "evaluation"} if self.starts_from_erm else {"erm", "clustering", "evaluation"})

    def fits_validation(self, config: RunConfig) -> bool:  # noqa: ARG002 -- of PruSC it depends on the settings
        """Whether a run with these settings fits weights to validation samples."""
        return self.trains_on_validation

    def settings_to_try(self, config: RunConfig) -> tuple[Any, ...]:
        """Return the settings that a run of this remedy trains.

        Raises:
            ConfigError: If ``config.method_options`` does not fit the remedy.
        """
        if not config.method_options:
            return self.settings[: config.tuning_budget]
        values: dict[str, Any] = {}
        for option in config.method_options:
            name, equals, text = option.partition("=")
            if not equals:
                raise ConfigError(f"method_options must be like upweight=50, found {option!r}")
            try:
                values[name] = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                values[name] = text
        return (config_from_dict(type(self.settings[0]), values, where=f"{self.name}: "),)

    def check_groups(self, data: Data) -> None:
        """Refuse data without the group labels that the remedy needs.

        Raises:
            ConfigError: If they are missing.
        """
        for name in _SPLITS_WITH_GROUPS[self.group_labels]:
            if data.splits[name].attributes is None:
                raise ConfigError(
                    f"method {self.name} needs group labels of the {name} split, and {data.name!r} has no attributes "
                    "there; name them (data_options.attributes), or choose a method that needs none"
                )


@dataclass(frozen=True, eq=False, repr=False)
class MethodResult:
    """What a remedy made of a network.

    Attributes:
        method: The remedy.
        model: The network.
        erm: The network before.
        chosen: Name of the setting that was chosen.
        judged_by: What chose it: ``cells``, ``classes`` or ``groups`` of the validation split; ``nothing`` if there was
            one setting only.
        evaluations: For ``erm`` and for the remedy (``subnetwork`` for PruSC), the figures by split.
        seconds: Wall time by stage.
        debiasing: Everything about a run of PruSC; ``None`` of another remedy.
    """

    method: Method
    model: nn.Module
    erm: nn.Module
    chosen: str
    judged_by: str
    evaluations: dict[str, dict[str, GroupEvaluation]]
    seconds: dict[str, float]
    debiasing: DebiasingResult | None = None

    def __repr__(self) -> str:
        before, after = self.evaluations["erm"]["test"], self.after["test"]
        return (
            f"MethodResult({self.method.name}: {self.chosen}, worst group of the test split "
            f"{100 * before.worst_group_accuracy:.1f} -> {100 * after.worst_group_accuracy:.1f} %, average "
            f"{100 * before.average_accuracy:.1f} -> {100 * after.average_accuracy:.1f} %)"
        )

    def _repr_html_(self) -> str:
        titles = {"erm": FAMILY_TITLES["erm"], self.method.family: self.method.title}
        table = tabulate_networks(self.evaluations, titles, {self.method.family: self.chosen})
        return describe_with_table(self, table)

    @property
    def after(self) -> dict[str, GroupEvaluation]:
        """The figures of the network that is handed back, by split."""
        return self.evaluations[self.method.family]
