from importlib import metadata

import pytest

from prusc.config.version import find_version


def test_a_bare_checkout_has_the_version_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = find_version()
    assert installed == metadata.version("prusc")

    def lack(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("prusc.config.version.version", lack)
    assert find_version() == installed
    monkeypatch.setattr("prusc.config.version.__file__", "/nowhere/a/b/c.py")
    assert find_version() == "unknown"
