"""The settings of a run in a TOML file."""

import tomllib
from pathlib import Path

from prusc.config.plain import config_from_dict
from prusc.config.run import RunConfig
from prusc.errors import ConfigError


def read_config(path: Path) -> RunConfig:
    """Read the settings of a run from a TOML file.

    Args:
        path: As ``config.toml`` in a run folder; absent settings have their defaults.

    Returns:
        The settings.

    Raises:
        ConfigError: If the file is missing, is no TOML, or holds a setting that is unknown or out of range.
    """
    try:
        return config_from_dict(RunConfig, tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is no valid TOML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"config file {path}: {error}") from error
