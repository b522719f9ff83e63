"""Download of the published files with torchvision, only on the user's request.

torchvision is imported here alone, and only then: its import takes as long as that of PyTorch.
"""

from pathlib import Path

from prusc.errors import DataError

_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# Published at https://www.cs.toronto.edu/~kriz/cifar.html.
_CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"


def download_mnist(folder: Path) -> None:
    """Download MNIST into ``MNIST/raw`` of a folder.

    Raises:
        DataError: If the download fails.
    """
    from torchvision.datasets import MNIST

    try:
        MNIST(folder, download=True)
    except (RuntimeError, OSError) as error:
        raise _failure("MNIST", folder, error) from error


def download_cifar10(folder: Path) -> None:
    """Download the binary version of CIFAR-10 into ``cifar-10-batches-bin`` of a folder.

    torchvision's own `CIFAR10` downloads the version made of pickles, which run code when they are read.

    Raises:
        DataError: If the download fails.
    """
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        download_and_extract_archive(_CIFAR_URL, str(folder), md5=_CIFAR_MD5)
    except (RuntimeError, OSError) as error:
        raise _failure("CIFAR-10", folder, error) from error


def _failure(what: str, folder: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(
        f"{what} cannot be downloaded into {folder} ({reason}); expected a connection and a writable folder: put the "
        "files there by other means and leave out data_options.download"
    )
