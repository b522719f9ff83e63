"""Bad run folders through the command: one clear error, exit code 2, no traceback, nothing half-written."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from tests.cli.faces import Capture, check_refused, on_faces, snapshot


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("file", "run folder ... /file is a file; name another folder with --out"),
        ("file/run", "/file/run cannot be written: Not a directory; ... name a folder that you may write to with --o"),
        ("/proc/run", "run folder /proc/run cannot be written: ... name a folder that you may write to with --out"),
        ("a" * 300, "File name too long: ... aaa/metrics.json'; check the name and your permissions"),
        ("full", "/full holds files but no config.toml, so it is no run folder; name an empty or a new one"),
    ],
)
def test_a_folder_that_cannot_be_used(faces: Path, tmp_path: Path, capsys: Capture, name: str, expected: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    before = snapshot(tmp_path)
    check_refused(capsys, on_faces(faces, tmp_path / name), expected)
    assert snapshot(tmp_path) == before


def test_a_run_that_is_there_is_kept(faces: Path, out: Path, capsys: Capture) -> None:
    assert run_command_line(on_faces(faces, out)) == 0
    finished = snapshot(out)
    check_refused(
        capsys,
        on_faces(faces, out),
        "a finished run; read its metrics.json, name another",
    )
    check_refused(capsys, on_faces(faces, out, "--force --weights no.pt"), "weight file no.pt does not exist")
    assert snapshot(out) == finished
    (out / "metrics.json").unlink()
    begun = snapshot(out)
    expected = "run with other settings (seed was 0, is 5); ... --out, ... with --force"
    check_refused(capsys, on_faces(faces, out, "--seed 5 --masks.steps 3"), expected)
    assert snapshot(out) == begun


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be entered: not even by root, who takes the part of somebody else."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


@pytest.mark.parametrize("option", ["--out", "--data", "--config", "--weights", "--clustering.from-csv"])
def test_what_may_not_be_read_is_named(closed: Path, capsys: Capture, option: str) -> None:
    path = str(closed / "x")
    assert path in check_refused(capsys, ["run", "--out", "/nowhere/run", option, path], "Permission denied")


@pytest.mark.parametrize("num_bytes", [100, 100_000])  # too few for the settings, and for the weights
def test_a_run_without_space_goes_on_when_there_is_some(
    faces: Path, out: Path, capsys: Capture, num_bytes: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        expected = f"run folder {out} cannot be written: ... File too large ... ; free some space, or name a folder"
        check_refused(capsys, on_faces(faces, out), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(out.rglob(".*")), "a file that was half written"
    assert run_command_line(on_faces(faces, out)) == 0


def test_a_full_disk_can_be_enlarged(faces: Path, tmp_path: Path, capsys: Capture) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        expected = f"{disk / 'run'} cannot be written: ... No space left on device ... ; free some space"
        check_refused(capsys, on_faces(faces, disk / "run"), expected)
        assert not list(disk.rglob(".*")), "a file that was half written"
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        assert run_command_line(on_faces(faces, disk / "run")) == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)
