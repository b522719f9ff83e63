"""Checks of settings, which all raise the same form of error."""

from prusc.errors import ConfigError


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Check a condition on a setting.

    Args:
        condition: Condition that the value must meet.
        name: Name of the setting, for the message.
        value: Value that was found, for the message.
        expected: What the setting must be, for the message.

    Raises:
        ConfigError: If the condition does not hold.
    """
    if not condition:
        raise ConfigError(f"{name} must be {expected}, found {value!r}")


def require_rate(name: str, rate: float) -> None:
    """Check a learning rate.

    Raises:
        ConfigError: If it is not greater than 0, or too large for an optimiser.
    """
    # Nobody needs a rate this large, and an optimiser overflows above it.
    require(0 < rate <= 1e30, name, rate, "in (0, 1e30]")
