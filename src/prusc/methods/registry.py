"""Every remedy by its name."""

from prusc.errors import ConfigError, nearest_names
from prusc.methods.cnc import CNC
from prusc.methods.dpe import DPE
from prusc.methods.eiil import EIIL
from prusc.methods.erm import CLASS_BALANCED, ERM
from prusc.methods.george import GEORGE
from prusc.methods.group_dro import GROUP_DRO
from prusc.methods.irm import IRM
from prusc.methods.jtt import JTT
from prusc.methods.method import Method
from prusc.methods.prusc import PRUSC
from prusc.methods.spare import SPARE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        ERM,
        CLASS_BALANCED,
        PRUSC,
        JTT,
        SPARE,
        GEORGE,
        CNC,
        EIIL,
        IRM,
        DPE,
        GROUP_DRO,
    )
}


def find_method(name: str) -> Method:
    """Return a remedy by its name.

    Raises:
        ConfigError: If there is none of this name.
    """
    if name not in METHODS:
        raise ConfigError(
            f"unknown method {name!r}{nearest_names(name, METHODS)}; the methods are {', '.join(METHODS)}"
        )
    return METHODS[name]
