import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from prusc.errors import DataError
from prusc.stages.pseudo_attributes.given import given_clustering, read_cluster_csv
from tests.networks import generator

LABELS = torch.arange(16) % 2
CLUSTERS = "index,label,cluster_assign\n" + "".join(f"{i},{i % 2},{i % 3}\n" for i in range(16))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "clusters.csv"
    path.write_text(text)
    return path


def test_given_clusters_get_the_mean_direction_as_their_centre() -> None:
    vectors = torch.randn(90, 6, generator=generator()) * torch.arange(1, 91)[:, None]
    ids = torch.arange(90) % 3
    clustering = given_clustering(vectors, ids * 4 + 1)
    assert torch.equal(clustering.cluster_ids, ids), "unused ids are closed up"
    assert clustering.num_clusters == 3
    assert (clustering.trials, clustering.structure) == ((), "strong")
    for k in range(3):
        mean = F.normalize(vectors[ids == k], dim=1).mean(0)
        torch.testing.assert_close(clustering.centres[k], mean / mean.norm())
    similarities = F.cosine_similarity(vectors[:, None], clustering.centres[None], dim=2)
    for index in range(90):
        own = similarities[index, ids[index]]
        others = [similarities[index, k].item() for k in range(3) if k != ids[index]]
        assert clustering.margins[index].item() == pytest.approx(own.item() - max(others), abs=1e-5)
    assert clustering.margins.min() < 0 < clustering.margins.max(), "random ids are not all nearest"


def test_samples_of_tight_clusters_are_nearest_to_the_centre_of_their_own() -> None:
    ids = torch.arange(90) % 3
    directions = torch.linalg.qr(torch.randn(6, 6, generator=generator()))[0]
    vectors = directions[ids] + 0.05 * torch.randn(90, 6, generator=generator(1))
    clustering = given_clustering(vectors, ids * 4 + 1)
    assert torch.equal(clustering.assign(vectors), ids)
    assert bool((clustering.margins > 0.5).all())


def test_clusters_are_those_of_the_file_in_any_order(tmp_path: Path) -> None:
    header, *rows = CLUSTERS.splitlines()
    expected = [i % 3 for i in range(16)]
    assert read_cluster_csv(write(tmp_path, CLUSTERS), LABELS).tolist() == expected
    turned = "\n".join([header, *reversed(rows)])
    assert read_cluster_csv(write(tmp_path, turned), LABELS).tolist() == expected
    # Columns in another order, further ones, and whole numbers with a point.
    other = "name,cluster_assign,label,index\n" + "".join(f"x,{i % 3}.0,{i % 2},{i}\n" for i in range(16))
    assert read_cluster_csv(write(tmp_path, other), LABELS).tolist() == expected


def test_rows_of_other_splits_are_ignored_whatever_they_hold(tmp_path: Path) -> None:
    rows = [f"{i},{i % 2},{i % 3},train" for i in range(16)] + ["0,1,9,val", "x,y,z,test"]
    text = "index,label,cluster_assign,split\n" + "\n".join(rows)
    assert read_cluster_csv(write(tmp_path, text), LABELS).tolist() == [i % 3 for i in range(16)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cluster_assign", "cluster", "lacks the columns ['cluster_assign']; it has ['index', 'label', 'cluster']"),
        ("index,label", "a,b", "lacks the columns ['index', 'label']; it has ['a', 'b', 'cluster_assign']"),
        ("\n5,1,2", "\n5,0,2", "row 7: label 0 for sample 5, whose class is 1; use a file made for these data"),
        ("\n5,1,2", "\n5,1,two", "row 7, column 'cluster_assign': 'two' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,-1", "row 7, column 'cluster_assign': '-1' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,", "row 7, column 'cluster_assign': '' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,1.5", "row 7, column 'cluster_assign': '1.5' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,inf", "row 7, column 'cluster_assign': 'inf' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5.5,1,2", "row 7, column 'index': '5.5' is not a whole number of at least 0"),
        (
            "15,1,0\n",
            "",
            "each of the 16 training samples once, as index 0 to 15; it has 15 rows, 15 different indices",
        ),
        ("\n5,1,2", "\n4,0,2", "each of the 16 training samples once, as index 0 to 15; it has 16 rows, 15 different"),
        ("\n5,1,2", "\n99,1,2", "each of the 16 training samples once, as index 0 to 15; it has 16 rows, 16 different"),
        ("\n5,1,2", "\n5,1,2,7", "cannot be read as CSV: Error tokenizing data. C error: Expected 3 fields in line 7"),
        ("(?s).+", "", "cannot be read as CSV: No columns to parse from file"),
        # The rows of other splits are ignored, yet counted.
        ("(?s).+", "index,label,cluster_assign,split\n0,0,0,val\n0,0,x,train\n", "row 3, column 'cluster_assign': 'x'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path, re.sub(old, new, CLUSTERS))
    with pytest.raises(DataError, match=re.escape(expected)) as caught:
        read_cluster_csv(path, LABELS)
    assert str(caught.value).startswith(f"cluster file {path}")


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cluster file .*none\.csv cannot be read as CSV: .*No such file"):
        read_cluster_csv(tmp_path / "none.csv", LABELS)
    binary = tmp_path / "picture.csv"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"cluster file .*picture\.csv cannot be read as CSV: .*decode"):
        read_cluster_csv(binary, LABELS)
