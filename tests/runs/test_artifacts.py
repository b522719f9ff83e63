from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prusc import RunConfig
from prusc.masks import BinaryMask
from prusc.runs.artifacts import read_attribute, read_candidates, write_attribute, write_candidates
from prusc.runs.folder import RunFolder
from prusc.stages.candidates import Candidate
from prusc.stages.heads import Head
from prusc.stages.pseudo_attributes.attribute import Evidence
from prusc.stages.pseudo_attributes.infer import take_given_attribute
from tests.networks import generator, striped_data


def test_candidates_come_back_and_a_mask_they_share_is_written_once(tmp_path: Path) -> None:
    kept = BinaryMask({"body": torch.rand(1000, 10, generator=generator()) > 0.5})
    whole = BinaryMask({"body": torch.ones(1000, 10, dtype=torch.bool)})
    logits = [torch.randn(5, 2, generator=generator(seed)) for seed in range(4)]
    heads = [Head(torch.randn(2, 3, generator=generator(seed)), torch.zeros(2)) for seed in range(2)]
    written = [
        Candidate("mask@3", "as-is", kept, logits[0]),
        Candidate("mask@3/head(l2=1)", "head", whole, logits[1], head=heads[0]),
        Candidate("mask@3/head(l2=2)", "head", whole, logits[2], head=heads[1]),
        Candidate("mask@3/weights", "weights", kept, logits[3], learning_rate=0.1, state={"body": torch.ones(3)}),
    ]
    folder = RunFolder(tmp_path / "run")
    folder.open(RunConfig(), force=False)
    assert read_candidates(folder, "mask-3") is None
    write_candidates(folder, written, "mask-3")
    found = read_candidates(folder, "mask-3")
    assert found is not None
    for before, after in zip(written, found, strict=True):
        assert (before.name, before.kind, before.learning_rate) == (after.name, after.kind, after.learning_rate)
        assert torch.equal(before.val_logits, after.val_logits)
        assert torch.equal(before.mask.tensors["body"], after.mask.tensors["body"])
        assert (before.head is None) == (after.head is None)
        if before.head is not None and after.head is not None:
            assert torch.equal(before.head.weight, after.head.weight)
            assert torch.equal(before.head.bias, after.head.bias)
        assert before.state.keys() == after.state.keys()
    assert torch.equal(found[3].state["body"], torch.ones(3))
    # 10,000 bytes for each of the two masks.
    assert (tmp_path / "run" / "stages" / "mask-3.safetensors").stat().st_size < 25_000


def test_the_pseudo_attribute_comes_back_and_that_of_an_older_prusc_is_inferred_anew(tmp_path: Path) -> None:
    data = striped_data(12)
    seen = {name: torch.randn(12, 4, generator=generator(seed)) for seed, name in enumerate(("train", "val"))}
    evidence = (
        Evidence("twins", 5, 0.1, (-0.1, 0.3), 1.5, 0.07),
        Evidence("linear", 0, None, None, 0.0, 0.5),
    )
    attribute = replace(take_given_attribute(seen, torch.arange(12) % 3), source="twins", evidence=evidence)
    folder = RunFolder(tmp_path / "run")
    folder.open(RunConfig(), force=False)
    assert read_attribute(folder) is None
    write_attribute(folder, attribute, data)
    table = folder.read_csv("clusters.csv")
    for name, values in attribute.splits.items():
        own = table[table.split == name]
        assert own.cluster_assign.astype(int).tolist() == values.ids.tolist()
        assert own.label.astype(int).tolist() == data.splits[name].labels.tolist()
        assert own.sample_id.tolist() == list(data.splits[name].sample_ids)
        for column, expected in (("margin", values.margins), ("similarity", values.similarities)):
            assert own[column].astype(float).tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    found = read_attribute(folder)
    assert found is not None
    assert (found.source, found.evidence) == ("twins", evidence)
    for name in ("cluster_ids", "centres", "margins"):
        assert torch.equal(getattr(found.clustering, name), getattr(attribute.clustering, name))
    for split, values in attribute.splits.items():
        for name in ("ids", "margins", "similarities"):
            assert torch.equal(getattr(found.splits[split], name), getattr(values, name))
    # An older prusc knew no evidence.
    stored = folder.read_json("stages/clustering.json")
    del stored["evidence"]
    folder.write_json("stages/clustering.json", stored)
    assert read_attribute(folder) is None
