from pathlib import Path

import numpy as np
import pytest

from prusc.data.synthetic.cifar_binary import CLASS_NAMES, read_cifar10
from prusc.data.synthetic.corrupted_cifar import load_corrupted_cifar10
from prusc.data.synthetic.corruptions import CORRUPTIONS, corrupt_images
from prusc.data.table import Data
from prusc.errors import ConfigError
from tests.data.synthetic.files import write_cifar_files

FIXED = ("brightness", "contrast", "jpeg", "pixelate", "saturate")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar_files(tmp_path_factory.mktemp("cifar"))


@pytest.fixture(scope="module")
def data(source: Path) -> Data:
    return load_corrupted_cifar10(source=source)


def test_classes_go_with_corruptions_as_published(data: Data) -> None:
    assert data.class_names == CLASS_NAMES
    assert dict(zip(data.class_names, data.attribute_values[0], strict=True)) == {
        "airplane": "snow",
        "automobile": "frost",
        "bird": "fog",
        "cat": "brightness",
        "deer": "contrast",
        "dog": "spatter",
        "frog": "elastic",
        "horse": "jpeg",
        "ship": "pixelate",
        "truck": "saturate",
    }


def test_each_image_has_the_corruption_that_its_attribute_names(data: Data, source: Path) -> None:
    originals = read_cifar10(source)
    for name, split in data.splits.items():
        rows = np.array([int(sample_id.split("-")[1]) for sample_id in split.sample_ids])
        assert split.labels.tolist() == (
            (originals.test_labels if name == "test" else originals.train_labels)[rows].tolist()
        )
        for corruption in FIXED:
            chosen = split.attributes[:, 0].numpy() == tuple(CORRUPTIONS).index(corruption)
            expected = corrupt_images(originals.images_of(name)[rows[chosen]], corruption, np.random.default_rng())
            assert chosen.any()
            assert (split.inputs.numpy()[chosen] == expected).all()


def test_the_source_is_not_written_to(source: Path) -> None:
    before = (source / "data_batch_1.bin").read_bytes()
    load_corrupted_cifar10(source=source, num_train=100, conflict_share=0.5)
    assert (source / "data_batch_1.bin").read_bytes() == before


def test_a_share_out_of_range_is_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match=r"conflict_share is -0\.1; expected a share from 0 to 0\.9"):
        load_corrupted_cifar10(source=source, conflict_share=-0.1)
