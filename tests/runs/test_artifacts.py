from dataclasses import replace
from pathlib import Path

import torch

from prusc import RunConfig
from prusc.masks import BinaryMask
from prusc.runs.artifacts import read_candidates, read_clustering, write_candidates, write_clustering
from prusc.runs.folder import RunFolder
from prusc.stages.candidates import Candidate
from prusc.stages.pseudo_attributes.clustering import given_clustering
from tests.networks import generator, striped_data


def test_candidates_come_back_and_what_they_share_is_written_once(tmp_path: Path) -> None:
    body, mask = torch.randn(1000, 10), BinaryMask({"body": torch.rand(1000, 10) > 0.5})
    right, wrong = torch.ones(5, dtype=torch.long), torch.zeros(5, dtype=torch.long)
    expected, first = torch.rand(5, dtype=torch.float64), {"body": body, "head": torch.zeros(3)}
    written = [
        Candidate("dense", "as-is", mask, 0.5, wrong, expected, 0.6, None, first),
        Candidate("dense/head", "head", mask, 0.7, right, None, 0.8, None, {"body": body, "head": torch.ones(3)}),
        Candidate("dense/weights", "weights", mask, 0.4, wrong.clone(), None, 0.5, None, {}),
    ]
    folder = RunFolder(tmp_path / "run")
    folder.open(RunConfig(), force=False)
    write_candidates(folder, "dense", written)
    found = read_candidates(folder, "dense")
    assert found is not None
    for before, after in zip(written, found, strict=True):
        assert (before.name, before.kind, before.score) == (after.name, after.kind, after.score)
        assert before.val_average_accuracy == after.val_average_accuracy
        assert torch.equal(before.val_predictions, after.val_predictions)
        assert (before.expected is None) == (after.expected is None)
        assert before.expected is None or after.expected is None or torch.equal(before.expected, after.expected)
        assert torch.equal(before.mask.tensors["body"], after.mask.tensors["body"])
        assert before.state.keys() == after.state.keys()
        for key, value in before.state.items():
            assert torch.equal(value, after.state[key])
    # 40,000 bytes of the body and 10,000 of the mask, once each.
    assert (tmp_path / "run" / "stages" / "dense.safetensors").stat().st_size < 60_000


def test_clusters_come_back_and_those_without_margins_are_made_anew(tmp_path: Path) -> None:
    data, values = striped_data(12), torch.randn(12, 4, generator=generator())
    clustering = given_clustering(values, torch.arange(12) % 3)
    ids, margins = clustering.cluster_ids.flip(0), clustering.margins.flip(0)
    folder = RunFolder(tmp_path / "run")
    folder.open(RunConfig(), force=False)
    assert read_clustering(folder) is None
    write_clustering(folder, clustering, ids, margins, None, data, train=values, val=values)
    assert "final_cluster" not in folder.read_csv("clusters.csv")
    found = read_clustering(folder)
    assert found is not None
    assert (found[0].final_ids, found[3]) == (None, None)
    for name in ("cluster_ids", "centres", "margins"):
        assert torch.equal(getattr(found[0], name), getattr(clustering, name))
    assert torch.equal(found[1], ids)
    assert torch.equal(found[2], margins)
    cut = replace(clustering, final_ids=torch.arange(12) % 5)
    write_clustering(folder, cut, ids, margins, ids.flip(0), data, train=values, val=values)
    found = read_clustering(folder)
    assert found is not None
    assert found[0].final_ids is not None
    assert found[3] is not None
    assert found[0].final_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert torch.equal(found[3], ids.flip(0))
    table = folder.read_csv("clusters.csv")
    assert table.final_cluster.astype(int).tolist() == found[0].final_ids.tolist() + found[3].tolist()
    # As an older prusc left them.
    stored = folder.read_tensors("stages/clustering.safetensors")
    folder.write_tensors("stages/clustering.safetensors", {k: v for k, v in stored.items() if "margins" not in k})
    assert read_clustering(folder) is None
