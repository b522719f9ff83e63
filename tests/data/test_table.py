from dataclasses import replace

import pytest
import torch

from prusc.data.table import Data, Split
from prusc.errors import DataError
from tests.networks import striped_data


def make_split(labels: list[int]) -> Split:
    num_samples = len(labels)
    return Split(
        inputs=torch.zeros(num_samples, 3),
        labels=torch.tensor(labels, dtype=torch.long),
        attributes=None,
        sample_ids=tuple(f"sample-{row}" for row in range(num_samples)),
    )


def make_data(train: list[int], *, val: tuple[int, ...] = (0, 1), class_names: tuple[str, ...] = ("a", "b")) -> Data:
    return Data("toy", class_names, make_split(train), make_split(list(val)), make_split([0, 1]))


def test_splits_come_in_order_with_their_length() -> None:
    data = make_data([0, 1, 1])
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 3, "val": 2, "test": 2}
    assert list(data.splits) == ["train", "val", "test"]
    assert data.num_classes == 2


def test_a_class_may_be_missing_from_validation() -> None:
    make_data([0, 1], val=(1, 1))


def test_every_sample_needs_every_entry() -> None:
    with pytest.raises(DataError, match=r"found \{'inputs': 2, 'labels': 2, 'sample_ids': 1\}"):
        Split(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), None, ("only-one",))


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ([0, 1, 2], {}, r"split 'train', sample 'sample-2': label 2 is out of range.*0\.\.1"),
        ([0, -1, 1], {}, r"sample 'sample-1': label -1 is out of range"),
        ([0, 1], {"val": (0, 5)}, r"split 'val', sample 'sample-1': label 5"),
        ([], {}, "split 'train' has no samples"),
        ([0, 1], {"val": ()}, "split 'val' has no samples"),
        ([1, 1], {}, "one class only \\('b'\\)"),
        ([0, 0], {"class_names": ("a",)}, "has 1 class"),
    ],
)
def test_bad_labels_and_splits_are_named(train: list[int], options: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_data(train, **options)


def test_a_table_counts_each_group_of_each_split() -> None:
    data = striped_data(60)
    table = data.to_frame()
    assert table[["train", "val", "test"]].sum().tolist() == [len(split) for split in data.splits.values()]
    for row in table.to_dict("records"):
        for name, split in data.splits.items():
            assert split.attributes is not None
            expected = sum(
                data.class_names[label] == row["class"]
                and [values[code] for values, code in zip(data.attribute_values, codes, strict=True)]
                == [row[attribute] for attribute in data.attribute_names]
                for label, codes in zip(split.labels.tolist(), split.attributes.tolist(), strict=True)
            )
            assert row[name] == expected
    assert len(table) == data.num_classes * len(data.attribute_values[0])
    html = data._repr_html_()
    assert "&#x27;stripes&#x27;" in html
    assert html.count("<tr>") == len(table)
    unknown = replace(data, val=replace(data.val, attributes=None)).to_frame()
    assert list(unknown.columns) == ["class", "train", "val", "test"]
