"""Bad weights and clusters through the command: one clear error, exit code 2, no traceback, nothing half-written."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prusc.cli.main import run_command_line
from prusc.models.build import SmallCNN
from tests.cli.faces import Capture, Change, check_refused, on_faces


class RunsCode(str):
    """The name of a folder that is made when this is unpickled."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self),)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": RunsCode(f"{path}.ran")}))


def pickled_by_torch(path: Path) -> None:
    torch.save({"w": RunsCode(f"{path}.ran")}, path)


def other_weights(path: Path) -> None:
    save_file({"other.weight": torch.ones(1)}, path)


def weights_with(name: str, *shape: int, value: float = 1.0) -> Change:
    return lambda path: save_file({**SmallCNN(4).state_dict(), name: torch.full(shape, value)}, path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("file", "write", "expected"),
    [
        ("--weights w.pt", lambda path: None, "does not exist"),
        ("--weights w.pt", lambda path: path.mkdir(), "is a folder without weights; expected one of"),
        ("--trained w.pt", lambda path: path.write_bytes(b""), "cannot be read (EOFError ... expected safetensors or"),
        ("--trained w.pt", lambda path: path.write_text("hello"), "cannot be read (KeyError ... save or copy it again"),
        ("--trained w.safetensors", lambda path: path.write_text("hello"), "cannot be read (SafetensorError ... again"),
        (
            "--trained w.pt",
            pickled,
            "does not open it, because reading those could run code; save the plain state dict",
        ),
        ("--weights w.pt", pickled_by_torch, "does not open it, because reading those could run code; save the plain"),
        ("--weights w.pt", lambda path: torch.save({"epoch": 1}, path), "holds dict, not a state dict ... save model"),
        (
            "--weights w.safetensors",
            other_weights,
            "missing: encoder.0.weight, ... and 12 more; not in the model: other",
        ),
        ("--trained w.safetensors", weights_with("head.bias", 9), "another shape: head.bias [9] instead of [4]; name"),
        ("--trained w.safetensors", weights_with("head.bias", 4, value=torch.inf), "not finite, in head.bias; use an"),
        ("--weights w.safetensors", weights_with("encoder.1.running_mean", 32, value=torch.nan), "in encoder.1.runni"),
    ],
)
def test_bad_weights_are_named(
    file: str, write: Change, expected: str, tmp_path: Path, out: Path, capsys: Capture
) -> None:
    option, name = file.split()
    path = tmp_path / name
    write(path)
    before = list(tmp_path.iterdir())
    check_refused(capsys, ["run", option, str(path), "--out", str(out)], f"weight file {path} ... {expected}")
    assert list(tmp_path.iterdir()) == before, "there is a run folder, or the code of the file has run"


CLUSTERS = "index,label,cluster_assign\n" + "".join(f"{i},{i % 2},{i % 3}\n" for i in range(16))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cluster_assign", "cluster", "lacks the columns ['cluster_assign']; it has ['index', 'label', 'cluster']"),
        ("\n5,1,2", "\n5,0,2", "row 7: label 0 for sample 5, whose class is 1; use a file made for these data"),
        ("\n5,1,2", "\n5,1,two", "row 7, column 'cluster_assign': 'two' is not a whole number of at least 0"),
        ("\n5,1,2", "\n5,1,-1", "row 7, column 'cluster_assign': '-1' is no"),
        ("\n5,1,2", "\n5,1,", "row 7, column 'cluster_assign': '' is no"),
        ("15,1,0\n", "", "each of the 16 training samples once, as index 0 to 15; it has 15 rows"),
        ("\n5,1,2", "\n4,0,2", "each of the 16 training samples once ... 16 rows, 15 different"),
        ("\n5,1,2", "\n5,1,2,7", "cannot be read as CSV: ... Expected 3 fields in line 7, saw 4"),
        ("(?s).+", "", "cannot be read as CSV: No columns"),
        # The rows of other splits are passed over, yet counted.
        ("(?s).+", "index,label,cluster_assign,split\n0,0,0,val\n0,0,x,train\n", "row 3, column 'cluster_assign': 'x'"),
        ("(?s)\n.+", ",split\n0,0,0,val" + "\n{},0,0,train" * 16, "row 4: label 0 for sample 1"),
    ],
)
def test_bad_clusters_are_named(faces: Path, out: Path, capsys: Capture, old: str, new: str, expected: str) -> None:
    path = faces / "clusters.csv"
    path.write_text(re.sub(old, new, CLUSTERS).format(*range(16)))
    arguments = on_faces(faces, out, f"--clustering.from-csv {path}")
    check_refused(capsys, arguments, f"cluster file {path} ... {expected}")
    assert not out.exists()


def test_good_clusters_are_taken_and_a_missing_file_is_named(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, f"--clustering.from-csv {faces / 'clusters.csv'}")
    check_refused(capsys, arguments, "clusters.csv does not exist or is not a file")
    assert not out.exists()
    (faces / "clusters.csv").write_text(CLUSTERS)
    assert run_command_line(arguments) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--erm.learning-rate 1e30", "ERM training: the loss is nan at step 2; try a lower learning rate"),
        ("--masks.beta 1e39", "mask learning: the loss is inf at step 1; try a lower learning rate"),
        ("--finetune.learning-rates 1e30", "fine-tuning ... the loss is nan at step 2; try a lower learning rate"),
        ("--erm.learning-rate 1e30 --erm.batch-size 16", "16 of 16 samples ... '000000.jpg'; check the network's we"),
    ],
)
def test_a_loss_that_is_no_number_names_its_step(
    faces: Path, out: Path, capsys: Capture, options: str, expected: str
) -> None:
    for _ in range(2):  # the second time from where the run had come to
        check_refused(capsys, on_faces(faces, out, options), expected)
        assert (out / "log.txt").exists()
        assert not (out / "metrics.json").exists()
