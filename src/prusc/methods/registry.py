"""Every method by its name. A method is imported when it is first looked up."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from prusc.errors import ConfigError, nearest_names

if TYPE_CHECKING:
    from prusc.methods.method import Method

# Module and name of each method, in the order of tables. A new method is one file and one line here.
_PLACES = {
    "erm": "erm.ERM",
    "erm-longer": "erm.ERM_LONGER",
    "class-balanced": "erm.CLASS_BALANCED",
    "prusc": "prusc.PRUSC",
    "dcwp": "dcwp.DCWP",
    "mrm": "mrm.MRM",
    "jtt": "jtt.JTT",
    "lff": "lff.LFF",
    "spare": "spare.SPARE",
    "george": "george.GEORGE",
    "cnc": "cnc.CNC",
    "afr": "afr.AFR",
    "eiil": "eiil.EIIL",
    "irm": "irm.IRM",
    "irm-full-batch": "irm_full_batch.IRM_FULL_BATCH",
    "dpe": "dpe.DPE",
    "xrm": "xrm.XRM",
    "fg-ccdb": "fg_ccdb.FG_CCDB",
    "neurontune": "neurontune.NEURONTUNE",
    "evals": "evals.EVALS",
    "last-layer": "last_layer.LAST_LAYER",
    "group-dro": "group_dro.GROUP_DRO",
    "group-balanced": "group_balanced.GROUP_BALANCED",
    "dfr": "dfr.DFR",
    "dfr-l2": "group_weighted_head.GROUP_WEIGHTED_HEAD",
}


class _Methods(Mapping[str, "Method"]):
    """Imports a method when it is looked up."""

    def __getitem__(self, name: str) -> "Method":
        module, _, attribute = _PLACES[name].partition(".")
        method: Method = getattr(import_module(f"prusc.methods.{module}"), attribute)
        return method

    def __contains__(self, name: object) -> bool:
        # That of Mapping would look the name up, and so import the method.
        return name in _PLACES

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


METHODS: Mapping[str, "Method"] = _Methods()


def check_method_name(name: str) -> None:
    """Check that a method of this name exists, without importing it.

    Raises:
        ConfigError: If there is no method of this name.
    """
    if name not in _PLACES:
        raise ConfigError(
            f"unknown method {name!r}{nearest_names(name, _PLACES)}; the methods are {', '.join(_PLACES)}"
        )


def find_method(name: str) -> "Method":
    """Return a method by its name.

    Raises:
        ConfigError: If there is no method of this name.
    """
    check_method_name(name)
    return METHODS[name]
