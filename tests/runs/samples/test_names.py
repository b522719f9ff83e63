"""Names of suspects in a run: a planted sticker is found, attributes are kept apart, what is written is read back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from prusc.data.table import Data, Split
from prusc.runs.folder import RunFolder
from prusc.runs.samples.files import NAME_MAPS, NAMES
from prusc.runs.samples.names import Names, find_names, names_from_dict, names_to_dict, write_names
from tests.stages.audit import planted
from tests.stages.audit.planted import generator, make_pictures


def make_data(*, with_pictures: bool = True) -> tuple[Data, Tensor]:
    """Data in which value 1 has a blue sticker at the left, comes from hospital A, and has the attribute "in"."""
    pictures, labels, values = make_pictures(0, 200)
    pictures = planted.change(pictures, values == 1, planted.add_sticker)
    hospital = ["A" if value == 1 else "B" for value in values.tolist()]

    def facts(indices: range) -> dict[str, list[str]]:
        return {"hospital": [hospital[index] for index in indices]}

    ids = tuple(f"s{index}" for index in range(200))
    inputs = pictures if with_pictures else pictures.float()
    split = Split(inputs, labels, (values == 1).long()[:, None], ids, facts=facts)
    data = Data("planted", ("a", "b"), split, split, split, ("place",), (("out", "in"),))
    return data, values


def find(data: Data, values: Tensor, suspects: tuple[int, ...] = (1, 0)) -> Names:
    return find_names(data, values, suspects, generator=generator())


def test_a_planted_sticker_a_column_and_an_attribute_are_named_each_in_its_place() -> None:
    data, values = make_data()
    found = find(data, values)
    first, second = found.suspects
    assert (first.value, first.num_inside, found.num_compared) == (1, int((values == 1).sum()), 200)
    texts = [item.text for item in first.differences if item.follows is None]
    assert {"left: bluer", "hospital is A: more often"} <= set(texts)
    assert [item.text for item in first.given if item.follows is None] == ["place is in: more often"]
    # The rest of the classes has no sticker, so value 0 is told apart by its absence.
    assert any(item.text == "left: yellower" for item in second.differences)
    assert found.maps is not None
    assert found.means is not None
    assert found.maps[0, 10:14, 2:6].min() > 1
    here, rest = found.means[0]
    assert here[2, 10:14, 2:6].mean() - rest[2, 10:14, 2:6].mean() > 0.2
    assert [probe.part for probe in found.probes] == ["border", "background"]


def test_attributes_change_nothing_of_what_is_said_of_pictures() -> None:
    data, values = make_data()
    without = {name: replace(split, attributes=None) for name, split in data.splits.items()}
    blind = replace(data, **without, attribute_names=(), attribute_values=())
    first, second = find(data, values), find(blind, values)
    assert [suspect.differences for suspect in first.suspects] == [suspect.differences for suspect in second.suspects]
    assert second.suspects[0].given == ()
    assert first.probes == second.probes


def test_without_suspects_only_border_and_background_are_looked_at() -> None:
    data, values = make_data()
    found = find(data, values, ())
    assert (found.suspects, found.maps, found.means) == ((), None, None)
    assert len(found.probes) == 2


def test_inputs_that_are_no_pictures_are_named_by_their_facts() -> None:
    data, values = make_data(with_pictures=False)
    found = find(data, values)
    assert (found.probes, found.maps) == ((), None)
    assert {item.feature for item in found.suspects[0].differences} == {"hospital=A", "hospital=B"}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    data, values = make_data()
    names, folder = find(data, values), RunFolder(tmp_path)
    write_names(folder, names)
    found = names_from_dict(folder.read_json(NAMES), folder.read_tensors(NAME_MAPS))
    assert (found.suspects, found.probes, found.num_compared) == (names.suspects, names.probes, 200)
    assert names.maps is not None
    assert found.maps is not None
    assert torch.equal(found.maps, names.maps)
    assert names_from_dict(names_to_dict(names), {}).maps is None


def test_many_samples_are_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    data, values = make_data()
    monkeypatch.setattr("prusc.runs.samples.names.MAX_COMPARED", 80)
    found = find(data, values, (1,))
    assert found.num_compared == 80
    assert 0 < found.suspects[0].num_inside < 80
