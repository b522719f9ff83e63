from pathlib import Path

import pytest
import torch
from PIL import Image

from prusc.data import load_data
from prusc.data.images import ImageFiles
from prusc.errors import ConfigError, DataError


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows = []
    for image in range(6):
        Image.new("RGB", (10, 12), (40 * image, 0, 0)).save(folder / "img_align_celeba" / f"{image}.jpg")
        rows.append(f"{image}.jpg {2 * (image % 2) - 1} 1 -1")
    (folder / "list_attr_celeba.txt").write_text("6\nBlond_Hair Male Young\n" + "\n".join(rows))
    (folder / "list_eval_partition.txt").write_text("\n".join(f"{image}.jpg {image // 2}" for image in range(6)))
    return folder


def test_the_packaged_data_are_found_by_name() -> None:
    data = load_data("fashion-stickers", correlation=0.5, data_seed=3)
    assert data.name == "fashion-stickers"
    assert data.origin["correlation"] == 0.5
    assert data.origin["seed"] == 3
    agree = data.train.labels == data.train.attributes[:, 0]
    assert agree.sum() == 6_000


def test_none_leaves_an_option_to_the_data_set() -> None:
    assert load_data("fashion-stickers", correlation=None, data_seed=None).origin["correlation"] == 0.95


def test_the_loading_options_go_with_every_data_set() -> None:
    load_data("fashion-stickers", num_threads=1, memory_limit_bytes=1, progress=lambda done, total: None)


def test_a_folder_of_celeba_is_recognised(celeba: Path) -> None:
    data = load_data(str(celeba))
    assert data.name == "celeba"
    assert data.class_names == ("not Blond_Hair", "Blond_Hair")
    assert data.attribute_names == ("Male",)
    assert data.train.inputs.shape == (2, 3, 96, 96)


def test_options_reach_celeba(celeba: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings = {"target": "Blond_Hair", "attributes": ("Young",), "image_size": 8, "num_threads": 1}
    data = load_data(str(celeba), **settings, progress=lambda *call: calls.append(call))
    assert data.attribute_names == ("Young",)
    assert isinstance(data.train.inputs, torch.Tensor)
    assert data.train.inputs.shape == (2, 3, 8, 8)
    assert calls == [(6, 6)]
    assert load_data(str(celeba), attributes=()).train.attributes is None
    assert isinstance(load_data(str(celeba), memory_limit_bytes=1).train.inputs, ImageFiles)


def test_an_incomplete_folder_of_celeba_is_recognised_too(celeba: Path) -> None:
    (celeba / "list_attr_celeba.txt").unlink()
    with pytest.raises(DataError, match=r"has no list_attr_celeba\.txt"):
        load_data(str(celeba))


@pytest.mark.parametrize("name", ["fashion-sticker", "fashion_stickers", "Fashion-Stickers"])
def test_an_unknown_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=r"neither a packaged data set .*; did you mean fashion-stickers"):
        load_data(name)


def test_a_folder_of_no_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no layout that prusc knows; expected one of: CelebA \(img_align_celeba/"):
        load_data(str(tmp_path))
    with pytest.raises(ConfigError, match="nor a folder or table"):
        load_data(str(tmp_path / "nowhere"))


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown data option 'corelation'; did you mean correlation"):
        load_data("fashion-stickers", corelation=0.9)


def test_options_that_do_not_apply_are_named(celeba: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'fashion-stickers' does not take target or image_size; .* correlation, data"
    ):
        load_data("fashion-stickers", target="Male", image_size=32)
    with pytest.raises(ConfigError, match="does not take correlation or variant; its options are target, attributes"):
        load_data(str(celeba), correlation=0.9, variant="1pct")


def test_a_text_instead_of_a_sequence_of_attributes_is_refused(celeba: Path) -> None:
    with pytest.raises(ConfigError, match=r"attributes is the text 'Male'; expected a sequence"):
        load_data(str(celeba), attributes="Male")
