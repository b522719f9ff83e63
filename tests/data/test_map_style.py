"""Data from map-style data sets, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from prusc.data import as_data
from prusc.data.batches import take_inputs
from prusc.data.table import Data
from prusc.errors import DataError, PruscError


class Items(Dataset[Any]):
    """Any items, and how often each was read."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items, self.reads = items, 0
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.items[index]


def pairs(num: int = 20, size: int = 4) -> list[Any]:
    source = torch.Generator().manual_seed(0)
    return [(torch.randn(3, size, size, generator=source), index % 2) for index in range(num)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(5):
            Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    return root


def test_the_tensors_of_a_data_set_are_kept_as_they_are_and_read_once() -> None:
    items = Items(pairs())
    data = Data.from_datasets(items, items, items)
    assert isinstance(data.val.inputs, Tensor)
    assert torch.equal(data.val.inputs, torch.stack([image for image, _ in items.items]))
    assert data.val.labels.tolist() == [0, 1] * 10
    assert data.val.transform is not None
    assert data.val.transform(data.val.inputs) is data.val.inputs
    assert items.reads == 3 * 22, "each split once, and its first sample twice more to see whether it is random"


def test_large_data_are_read_when_they_are_needed() -> None:
    items = Items(pairs(), targets=[index % 2 for index in range(20)])
    data = Data.from_datasets(items, items, items, memory_limit_bytes=0)
    assert not isinstance(data.train.inputs, Tensor)
    assert items.reads == 3 * 18 + 1, "sixteen samples show that the list of classes is right"
    assert torch.equal(take_inputs(data.train.inputs, torch.tensor([3, 1]))[1], items.items[1][0])  # type: ignore[index]
    # A list that the items contradict is not believed.
    wrong = Items(pairs(), targets=[0] * 20)
    assert Data.from_datasets(wrong, memory_limit_bytes=0).train.labels.sum() > 0


def test_an_image_folder_keeps_its_transform_its_classes_and_its_names(folder: Path) -> None:
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.4] * 3, [0.2] * 3)])
    dataset = ImageFolder(str(folder), transform=transform)
    data = Data.from_datasets(DataLoader(dataset, batch_size=2, shuffle=True), dataset, dataset)
    assert data.class_names == ("cat", "dog")
    assert data.val.sample_ids[:2] == ("cat/0.png", "cat/1.png")
    assert isinstance(data.train.inputs, Tensor)
    assert torch.equal(data.train.inputs[7], dataset[7][0])
    assert data.train.labels.tolist() == [0] * 5 + [1] * 5
    both = ConcatDataset([Subset(dataset, [5, 0]), Subset(dataset, [6, 1])])
    part = Data.from_datasets(both, both, both)
    assert part.class_names == ("cat", "dog")
    assert part.train.sample_ids == ("dog/0.png", "cat/0.png", "dog/1.png", "cat/1.png")
    assert part.train.labels.tolist() == [1, 0, 1, 0]


def test_pictures_without_a_transform_are_resized_and_normalised(folder: Path) -> None:
    dataset = ImageFolder(str(folder))
    data = Data.from_datasets(dataset, dataset, dataset, image_size=6)
    assert isinstance(data.train.inputs, Tensor)
    assert data.train.inputs.dtype == torch.uint8
    # The central square, by hand: one and a half columns left out on each side.
    expected = dataset[3][0].resize((6, 6), Image.Resampling.BILINEAR, box=(1.5, 0, 7.5, 6))
    assert np.array_equal(data.train.inputs[3].permute(1, 2, 0).numpy(), np.asarray(expected))
    assert data.mean == (0.485, 0.456, 0.406)
    lazy = Data.from_datasets(dataset, dataset, dataset, image_size=6, memory_limit_bytes=0)
    assert repr(lazy.train.inputs.paths[3]) == "DatasetImage(ImageFolder, train, 3)"  # type: ignore[union-attr]
    assert torch.equal(take_inputs(lazy.train.inputs, torch.tensor([3])), data.train.inputs[3:4])  # type: ignore[arg-type]


def test_items_that_are_mappings() -> None:
    single = Items([{"image": image, "label": label, "place": "sea" if label else "land"} for image, label in pairs()])
    data = Data.from_datasets(single, single, single, attributes=("place",))
    assert isinstance(data.train.inputs, Tensor)
    assert (data.attribute_names, data.attribute_values) == (("place",), (("land", "sea"),))
    masks = {"mask": torch.ones(2), "words": ["a", "b"]}
    tokens = Items([{"ids": torch.tensor([index]), **masks, "labels": index % 2} for index in range(8)])
    inputs = take_inputs(Data.from_datasets(tokens).train.inputs, torch.tensor([0, 1]))
    assert isinstance(inputs, dict)
    assert {name: list(value.shape) for name, value in inputs.items()} == {"ids": [2, 1], "mask": [2, 2]}
    named = Items([{"x": image, "kind": "ab"[label]} for image, label in pairs()])
    assert Data.from_datasets(named, target="kind").class_names == ("a", "b")


def test_a_data_set_of_hugging_face() -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [Image.fromarray(np.full((8, 8, 3), 20 * index, np.uint8)) for index in range(6)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["low", "high"])})
    rows = datasets.Dataset.from_dict({"image": pictures, "label": [0, 0, 0, 1, 1, 1]}, features=features)
    data = as_data(datasets.DatasetDict({"train": rows, "validation": rows, "test": rows}))
    assert data.class_names == ("low", "high")
    assert isinstance(data.val.inputs, Tensor)
    assert data.val.inputs[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80, 100]
    transformed = rows.with_transform(
        lambda batch: {"pixels": [torch.ones(3, 4, 4)] * len(batch["label"]), "label": batch["label"]}
    )
    found = take_inputs(Data.from_datasets(transformed).train.inputs, torch.tensor([0]))
    assert isinstance(found, dict), "pixels is the name of an argument of the network"


def test_one_data_set_alone_is_divided() -> None:
    data = as_data(Items(pairs(40)))
    assert data.origin["made_splits"] == ["val", "test"]
    assert [len(split) for split in data.splits.values()] == [24, 8, 8]
    data = as_data((Items(pairs(40)), Items(pairs(30))))
    assert data.origin["made_splits"] == ["test"]
    assert [len(split) for split in as_data(pairs(40)).splits.values()] == [24, 8, 8], "a list is a data set"


class Random(Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return torch.rand(3), index % 2


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


class Broken(Items):
    def __getitem__(self, index: int) -> Any:
        if index == 3:
            raise OSError("disk")
        return super().__getitem__(index)


def test_augmentation_is_for_training_only() -> None:
    steady = Items([(torch.rand(3), index % 2) for index in range(8)])
    data = Data.from_datasets(Random(), steady)
    assert not isinstance(data.train.inputs, Tensor), "each reading draws anew"
    with pytest.raises(DataError, match="val: the transform of your data set is random"):
        Data.from_datasets(steady, Random())


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (Endless(), {}, "train is of type Endless, which has no length"),
        (Items([]), {}, "has no samples"),
        (
            Items([torch.ones(3)] * 4),
            {},
            r"item of your data set is of type Tensor; expected \(input, class\) or a mapping",
        ),
        (Items([("text", 0)] * 4), {}, "the input of an item of your data set is of type str; expected a tensor"),
        (Items([{"image": torch.ones(3), "name": 1}] * 4), {}, "has no usual class; it has image, name"),
        (Items([{"text": "a", "label": 1}] * 4), {}, "no tensor, array or image besides the class"),
        (Items([{"x": torch.ones(3), "y": 1}] * 4), {"attributes": ("place",)}, "has no 'place'; it has x, y"),
        (Items(pairs()), {"attributes": ("place",)}, "is a tuple of 2; expected a mapping with the attributes"),
        (Items(pairs()), {"attributes": "place"}, "attributes is the text 'place'"),
        (Items([*pairs(3), (torch.ones(3, 5, 5), 1)]), {}, r"sample 3 .* \[3, 5, 5\], the first one \[3, 4, 4\]"),
        (Broken(pairs()), {}, r"sample 3 of your data set cannot be read \(OSError: disk\)"),
        (Items([(torch.ones(3), torch.ones(2))] * 4), {}, "the labels of train"),
        (Items([(torch.ones(5, 5, 3, dtype=torch.uint8), 0)] * 4), {}, "uint8 of shape .* ToTensor"),
    ],
    # Workers must agree on the names, so no address of an object may be in one.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_read_is_refused(train: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PruscError, match=message):
        Data.from_datasets(train, **options)


def test_data_sets_with_other_classes_do_not_go_together() -> None:
    one, other = Items(pairs(), classes=["cat", "dog"]), Items(pairs(), classes=["dog", "cat"])
    with pytest.raises(DataError, match="the data sets name different classes"):
        Data.from_datasets(one, other)
    assert Data.from_datasets(one, other, class_names=("a", "b")).class_names == ("a", "b")


def test_splits_have_usual_names() -> None:
    with pytest.raises(DataError, match="the data have the splits trian; expected train"):
        as_data({"trian": Items(pairs())})
    with pytest.raises(PruscError, match="neither a packaged data set"):
        as_data("no such folder")
    tensors = TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
    assert len(as_data({"train": tensors, "val": tensors, "test": tensors}).test) == 20
