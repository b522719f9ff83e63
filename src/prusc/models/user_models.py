"""The user's own networks, named on the command line as ``module:function`` or ``FILE.py:function``."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from prusc.errors import ConfigError, ModelError, PruscError, nearest_names
from prusc.models.outputs import SECOND_LOGIT


def import_function(name: str) -> Callable[[int], Any]:
    """Import a function by its name, which runs the code of its module.

    Args:
        name: ``"module:function"``; the module is also searched in the current folder. Or ``"FILE.py:function"``.

    Returns:
        The function.

    Raises:
        ConfigError: If the module cannot be imported or has no such function.
    """
    module_name, _, function_name = name.rpartition(":")
    file = Path(module_name).absolute() if is_file(module_name) else None
    if file is not None and not file.is_file():
        raise ConfigError(f"model {name!r}: file {module_name} does not exist; expected FILE.py:function")
    # Unlike python itself, a script that pip installed does not search the current folder.
    sys.path.insert(0, str(Path.cwd() if file is None else file.parent))
    try:
        module = importlib.import_module(module_name) if file is None else _import_file(file)
    except Exception as error:  # Importing runs the user's code.
        raise ConfigError(
            f"model {name!r}: module {module_name!r} cannot be imported ({type(error).__name__}: {error}); expected "
            "module:function with an installed module or one in this folder, or FILE.py:function"
        ) from error
    finally:
        sys.path.pop(0)
    function = getattr(module, function_name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise ConfigError(
            f"model {name!r}: module {module_name!r} has no function {function_name!r}"
            f"{nearest_names(function_name, functions)}"
        )
    return cast(Callable[[int], Any], function)


def _import_file(file: Path) -> ModuleType:
    # By its whole path, because a module that is already loaded may have the same short name.
    name = str(file)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def write_build_code(name: str, num_classes: int, variable: str) -> str:
    """Return Python code that builds a network by its name, without prusc if a function of the user does it.

    Args:
        name: Name of a network, as in `prusc.models.build.build_model`.
        num_classes: Number of classes.
        variable: Name of the network in the code.
    """
    module, _, function = name.partition(":")
    # Code must come from plain names only, because a run folder may come from anywhere.
    if function.isidentifier() and all(part.isidentifier() for part in module.split(".")) and not is_file(module):
        return f"from {module} import {function}  # your own code\n\n{variable} = {function}({num_classes})"
    return (
        "import torch\nfrom prusc.models.build import build_model\n\n"
        f"{variable} = build_model({json.dumps(name)}, {num_classes}, generator=torch.Generator())"
    )


def write_load_code(variable: str, file: str, network_changes: Sequence[str]) -> str:
    """Return Python code that loads the weights of a run into the network that `write_build_code` builds.

    Args:
        variable: Name of the network in the code, which imports ``torch`` and ``load_file`` before.
        file: Name of the weight file.
        network_changes: What the run changed in the network, see `prusc.models.prepare.prepare_network`.
    """
    if not any(SECOND_LOGIT in change for change in network_changes):
        return f'{variable}.load_state_dict(load_file("{file}"))'
    return (
        f'weights = load_file("{file}")\n'
        "# prusc gave the head with one output a second one, so that each class has a logit.\n"
        f"for name, layer in list({variable}.named_modules()):\n"
        '    if isinstance(layer, torch.nn.Linear) and len(weights[f"{name}.weight"]) > layer.out_features:\n'
        "        two = torch.nn.Linear(layer.in_features, 2, bias=layer.bias is not None)\n"
        f"        {variable}.set_submodule(name, two)\n"
        f"{variable}.load_state_dict(weights)"
    )


def is_file(module: str) -> bool:
    """Return whether a function is named by its file, as in ``FILE.py:function``."""
    return module.endswith(".py")


def build_by_function(name: str, num_classes: int) -> nn.Module:
    """Build a network with the user's function.

    Args:
        name: See `import_function`.
        num_classes: Argument of the function.

    Returns:
        The network.

    Raises:
        ConfigError: See `import_function`.
        ModelError: If the function fails or returns no network.
    """
    try:
        model = import_function(name)(num_classes)
    except PruscError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {name!r} cannot be built for {num_classes} classes ({type(error).__name__}: {error}); expected a "
            "function of the number of classes that returns the network"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {name!r} returned a {type(model).__name__}; expected a torch.nn.Module")
    return model
