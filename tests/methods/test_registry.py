import subprocess
import sys

import pytest

from prusc.errors import ConfigError
from prusc.methods import METHODS, Method, find_method
from prusc.methods.registry import _PLACES, check_method_name


@pytest.mark.parametrize("name", _PLACES)
def test_every_name_leads_to_the_remedy_of_that_name(name: str) -> None:
    method = METHODS[name]
    assert isinstance(method, Method)
    assert method.name == name
    assert find_method(name) is method


def test_it_is_a_mapping_in_the_order_of_tables() -> None:
    assert list(METHODS) == list(_PLACES)
    assert len(METHODS) == len(_PLACES) == len({method.title for method in METHODS.values()})
    assert "jtt" in METHODS
    assert "jt" not in METHODS
    with pytest.raises(KeyError):
        METHODS["jt"]


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    expected = rf"^unknown method 'jt'; did you mean jtt\?; the methods are {', '.join(_PLACES)}$"
    for refuse in (check_method_name, find_method):
        with pytest.raises(ConfigError, match=expected):
            refuse("jt")


def test_a_remedy_is_imported_once_it_is_asked_for() -> None:
    code = (
        "import sys\n"
        "from prusc.methods.registry import METHODS, check_method_name\n"
        "check_method_name('jtt'), list(METHODS), 'jtt' in METHODS\n"
        "print([name for name in sys.modules if name.startswith('prusc.methods.')], 'torch' in sys.modules)\n"
        "METHODS['jtt']\n"
        "print('prusc.methods.jtt' in sys.modules, 'prusc.methods.george' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['prusc.methods.registry'] False", "True False"]
