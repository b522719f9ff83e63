"""What the settings of a method cost in ERM trainings, and which of them fit into a budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prusc.config import ERMConfig
from prusc.engine.training import num_epoch_batches


@dataclass(frozen=True)
class ERMLength:
    """How long ERM trains; the cost of everything else is a share of it.

    Attributes:
        epochs: Passes over the training split.
        num_steps: Number of steps.
        batch_size: Samples per step.
        num_samples: Samples of the training split.
    """

    epochs: int
    num_steps: int
    batch_size: int
    num_samples: int

    def share_of(self, num_steps: int, *, batch_size: int | None = None) -> float:
        """Return what some steps cost, in ERM trainings; their batches are as large as ERM's if not given."""
        return num_steps * (batch_size or self.batch_size) / (self.num_steps * self.batch_size)


@dataclass(frozen=True)
class Cost:
    """Cost of one setting of a method, in ERM trainings: passes through a network that learns, relative to ERM's.

    Fits of heads cost nothing in comparison, nor do passes without a gradient.

    Attributes:
        own: Cost of what only this setting trains.
        shared: Cost of each training that settings share, by its name; the first setting pays for it.
    """

    own: float = 0.0
    shared: Mapping[str, float] = field(default_factory=dict)


CostFunction = Callable[[Any, ERMLength], Cost]


def measure_erm(config: ERMConfig, num_samples: int) -> ERMLength:
    """Return the length of ERM on so many training samples."""
    num_steps = config.epochs * num_epoch_batches(num_samples, config.batch_size)
    return ERMLength(config.epochs, num_steps, config.batch_size, num_samples)


def fit_budget(
    settings: Sequence[Any], cost: CostFunction, erm: ERMLength, *, budget: float, limit: int, spent: float = 0.0
) -> tuple[Any, ...]:
    """Return the settings that fit into a budget, in their order.

    The first one is always tried, even if it alone exceeds the budget. A later one that does not fit is left out, and
    those after it may still fit.

    Args:
        settings: The published settings first, then the most promising.
        cost: Cost of a setting.
        erm: Length of ERM.
        budget: Largest cost of all settings together, in ERM trainings.
        limit: Largest number of settings.
        spent: Cost before the first setting: 1 if the method starts from the ERM network.
    """
    chosen: list[Any] = []
    paid: set[str] = set()
    for one in settings:
        if len(chosen) == limit:
            break
        found = cost(one, erm)
        price = found.own + sum(value for name, value in found.shared.items() if name not in paid)
        # Rounding must not leave a setting out that fits exactly.
        if not chosen or spent + price <= budget + 1e-9:
            chosen.append(one)
            paid |= found.shared.keys()
            spent += price
    return tuple(chosen)


def head_cost(_settings: Any, _erm: ERMLength) -> Cost:
    """Return the cost of a setting that fits only a head."""
    return Cost()


def training_cost(_settings: Any, _erm: ERMLength) -> Cost:
    """Return the cost of a setting that trains a network as long as ERM."""
    return Cost(1.0)


def share_cost(settings: Any, _erm: ERMLength) -> Cost:
    """Return the cost of a setting that trains a network for its ``share`` of ERM's length."""
    return Cost(settings.share)


def early_view_name(num_epochs: int, total_decay: float | None) -> str:
    """Return the name under which settings share the view of an early network."""
    return f"view after {num_epochs} epochs, total decay {total_decay}"


def identification_cost(settings: Any, erm: ERMLength, *, own: float = 1.0) -> Cost:
    """Return the cost of a setting that asks an early network first; settings with the same one share it."""
    num_epochs = settings.identification_epochs
    if num_epochs is None:
        return Cost(own)
    name = early_view_name(num_epochs, getattr(settings, "identification_decay", None))
    return Cost(own, {name: num_epochs / erm.epochs})
