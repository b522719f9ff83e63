from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest

from prusc.data.synthetic.downloads import download_cifar10, download_mnist
from prusc.errors import DataError


def fail(*args: object, **kwargs: object) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize(
    ("download", "replaced", "what"),
    [
        (download_mnist, "MNIST", "MNIST"),
        (download_cifar10, "utils.download_and_extract_archive", "CIFAR-10"),
    ],
)
def test_a_failed_download_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: Callable[[Path], None], replaced: str, what: str
) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{replaced}", fail)
    with pytest.raises(
        DataError, match=f"{what} cannot be downloaded into .*no route to host.*; expected a connection"
    ):
        download(tmp_path)


def test_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[object, ...], dict[str, object]]] = []
    for name in ("MNIST", "utils.download_and_extract_archive"):
        monkeypatch.setattr(f"torchvision.datasets.{name}", lambda *args, **kwargs: calls.append((args, kwargs)))
    download_mnist(tmp_path)
    download_cifar10(tmp_path)
    assert calls == [
        ((tmp_path,), {"download": True}),
        (
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", str(tmp_path)),
            {"md5": "c32a1d4ab5d03f1284b67883e8d87530"},
        ),
    ]
