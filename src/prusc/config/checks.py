"""What a setting may be, with one form of error."""

from prusc.errors import ConfigError


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting.

    Raises:
        ConfigError: If the condition does not hold.
    """
    if not condition:
        raise ConfigError(f"{name} must be {expected}, found {value!r}")


def require_rate(name: str, rate: float) -> None:
    """Refuse a learning rate that is none.

    Raises:
        ConfigError: If it is not greater than 0, or too large for an optimiser.
    """
    # Far beyond any use; on a larger one an optimiser overflows.
    require(0 < rate <= 1e30, name, rate, "in (0, 1e30]")
