"""The contract of a method: what it needs, which stages count as its cost, and how it is applied."""

import tomllib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from prusc.config import RunConfig, config_from_dict
from prusc.data import Data
from prusc.engine.display import describe_with_table
from prusc.errors import ConfigError
from prusc.methods.budget import CostFunction, fit_budget, head_cost, measure_erm
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
    """A method against shortcuts: PruSC, or one that it is compared with.

    Attributes:
        name: Name on the command line.
        title: Name in tables.
        paper: Authors, year and arXiv number of the paper.
        group_labels: Split whose group labels the method needs: ``none``, ``validation``, or ``training`` (which
            includes validation).
        settings: Settings that tuning tries, as frozen dataclasses of one class. The published defaults come first,
            then the most promising.
        starts_from_erm: Whether the method starts from the ERM network, whose training then counts as its cost.
        trains_on_validation: Whether the method fits weights to validation samples, which is an advantage.
        cost: Cost of a setting in ERM trainings; see `prusc.methods.budget`.
    """

    name: str
    title: str
    paper: str
    group_labels: GroupLabels
    settings: tuple[Any, ...]
    starts_from_erm: bool
    trains_on_validation: bool = False
    cost: CostFunction = head_cost

    @abstractmethod
    def apply(self, session: Session) -> "MethodResult":
        """Run all stages of the method, and write the results into the run folder, if there is one."""

    @property
    def family(self) -> str:
        """Name of the chosen network in ``metrics.json``."""
        return self.name

    @property
    def shared_stages(self) -> frozenset[str]:
        """Stages that do not count as cost of the method, because all methods share them."""
        return frozenset({"clustering", "evaluation"} if self.starts_from_erm else {"erm", "clustering", "evaluation"})

    def fits_validation(self, config: RunConfig) -> bool:  # noqa: ARG002 -- PruSC looks at them
        """Return whether a run with these settings fits weights to validation samples."""
        return self.trains_on_validation

    def settings_to_try(self, config: RunConfig, num_train: int) -> tuple[Any, ...]:
        """Return the settings that a run of this method trains.

        Args:
            config: Its ``method_options`` make one setting; without them ``tuning_budget`` and ``max_settings`` bound
                what is tried.
            num_train: Samples of the training split.

        Raises:
            ConfigError: If ``config.method_options`` names no setting of the method, or a value of another type.
        """
        asked = self.read_options(config)
        if asked is not None:
            return (asked,)
        return fit_budget(
            self.settings,
            self.cost,
            measure_erm(config.erm, num_train),
            budget=config.tuning_budget,
            limit=config.max_settings,
            spent=1.0 if self.starts_from_erm else 0.0,
        )

    def read_options(self, config: RunConfig) -> Any | None:
        """Return the setting that ``config.method_options`` asks for; ``None`` without options.

        Raises:
            ConfigError: If they name no setting of the method, or a value of another type.
        """
        if not config.method_options:
            return None
        values: dict[str, Any] = {}
        for option in config.method_options:
            name, equals, text = option.partition("=")
            if not equals:
                raise ConfigError(f"each of method_options must be NAME=VALUE, such as upweight=50; found {option!r}")
            try:
                values[name] = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                values[name] = text
        return config_from_dict(type(self.settings[0]), values, where=f"{self.name}: ")

    def check_groups(self, data: Data) -> None:
        """Check that the data have the group labels that the method needs.

        Raises:
            ConfigError: If they are missing.
        """
        for name in _SPLITS_WITH_GROUPS[self.group_labels]:
            if data.splits[name].attributes is None:
                raise ConfigError(
                    f"method {self.name} needs group labels of the {name} split, but {data.name!r} has no attributes "
                    "there; name them in data_options.attributes, or choose a method that needs none"
                )


@dataclass(frozen=True, eq=False, repr=False)
class MethodResult:
    """Result of a method.

    Attributes:
        method: The method.
        model: The chosen network.
        erm: The ERM network.
        chosen: Name of the chosen setting; of PruSC, that of the chosen candidate.
        judged_by: What judged the settings: ``cells``, ``classes`` or ``groups`` of the validation split; ``nothing``
            if there was only one setting.
        evaluations: Figures by network and split. The networks are ``erm`` and the family of the method.
        seconds: Wall time of each stage in seconds.
        debiasing: The full result of a run of PruSC; ``None`` for the other methods.
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
        """Figures of the chosen network by split."""
        return self.evaluations[self.method.family]
