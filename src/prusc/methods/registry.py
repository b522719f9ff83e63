"""Every remedy by its name."""

from prusc.errors import ConfigError, nearest_names
from prusc.methods.afr import AFR
from prusc.methods.cnc import CNC
from prusc.methods.dcwp import DCWP
from prusc.methods.dfr import DFR
from prusc.methods.dpe import DPE
from prusc.methods.eiil import EIIL
from prusc.methods.erm import CLASS_BALANCED, ERM
from prusc.methods.george import GEORGE
from prusc.methods.group_balanced import GROUP_BALANCED
from prusc.methods.group_dro import GROUP_DRO
from prusc.methods.irm import IRM
from prusc.methods.jtt import JTT
from prusc.methods.last_layer import LAST_LAYER
from prusc.methods.lff import LFF
from prusc.methods.method import Method
from prusc.methods.mrm import MRM
from prusc.methods.prusc import PRUSC
from prusc.methods.spare import SPARE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        ERM,
        CLASS_BALANCED,
        PRUSC,
        DCWP,
        MRM,
        JTT,
        LFF,
        SPARE,
        GEORGE,
        CNC,
        AFR,
        EIIL,
        IRM,
        DPE,
        LAST_LAYER,
        GROUP_DRO,
        GROUP_BALANCED,
        DFR,
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
