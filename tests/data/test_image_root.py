from pathlib import Path

import pytest

from prusc.data.image_root import ImageRoot
from prusc.errors import DataError
from tests.data.folders import write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.jpg", "sub/b.png", "images/c.jpg", "images/d.v1.JPG", "img/a.jpg")):
        write_image(tmp_path / "root" / name, number)
    write_image(tmp_path / "secret" / "s.png", 9)
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("sub/b.png", "sub/b.png"),
        ("./sub/b.png", "sub/b.png"),
        ("sub\\b.png", "sub/b.png"),
        ("images\\c", "images/c.jpg"),
        ("sub/b", "sub/b.png"),
        ("c.jpg", "images/c.jpg"),
        ("c", "images/c.jpg"),
        ("d.v1", "images/d.v1.JPG"),
        ("c.png", None),
        ("nowhere/c.jpg", None),
        ("x", None),
    ],
)
def test_a_file_is_found_with_or_without_its_ending_and_image_folder(
    root: Path, name: str, expected: str | None
) -> None:
    assert ImageRoot(root).find(name) == (None if expected is None else root / expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "'/etc/passwd' is an absolute path"),
        ("C:\\secret.png", "is an absolute path"),
        ("C:secret.png", "is an absolute path"),
        ("\\secret.png", "is an absolute path"),
        ("\\\\host\\share\\x.png", "is an absolute path"),
        ("../secret/s.png", r"contains '\.\.'"),
        ("sub/../../secret/s.png", r"contains '\.\.'"),
        ("sub\\..\\..\\secret\\s.png", r"contains '\.\.'"),
        ("", "is not a file name"),
        ("a\0.jpg", "is not a file name"),
    ],
)
def test_names_that_lead_out_are_refused(root: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageRoot(root).find(name)


def test_an_absolute_path_may_lie_inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = root / "sub" / "b.png"
    assert ImageRoot(root).find(str(expected)) == expected
    (root.parent / "link").symlink_to(root)
    assert ImageRoot(root.parent / "link").find(str(expected)) == root.parent / "link" / "sub" / "b.png"
    monkeypatch.chdir(root.parent)
    assert ImageRoot(Path(root.name)).find(str(expected)) == Path(root.name) / "sub" / "b.png"
    with pytest.raises(DataError, match="is an absolute path that leads out of"):
        ImageRoot(root / "sub").find(str(root / "images" / "c.jpg"))
    with pytest.raises(DataError, match=r"contains '\.\.'"):
        ImageRoot(root).find(f"{root}/../secret/s.png")


def test_links_may_stay_inside_and_not_lead_out(root: Path, tmp_path: Path) -> None:
    (root / "inside.jpg").symlink_to(root / "sub" / "b.png")
    (root / "outside.jpg").symlink_to(tmp_path / "secret" / "s.png")
    (root / "folder").symlink_to(tmp_path / "secret")
    images = ImageRoot(root)
    assert images.find("inside.jpg") == root / "inside.jpg"
    for name in ("outside.jpg", "outside", "folder/s.png"):
        with pytest.raises(DataError, match=f"'{name}' is reached through a link that leads out of .*image_folder"):
            images.find(name)
    # The folder itself may be a link: that is the user's own word.
    assert ImageRoot(root / "folder").find("s.png") == root / "folder" / "s.png"


def test_any_other_folder_is_looked_at_if_it_is_the_only_one(root: Path) -> None:
    for number, folder in enumerate(("isic_images", "masks")):
        write_image(root / folder / "e.png", number)
    assert ImageRoot(root).find("e") == root / "isic_images" / "e.png"
    assert ImageRoot(root).find("b.png") == root / "sub" / "b.png"
    write_image(root / "sub" / "e.png", 9)
    with pytest.raises(DataError, match=r"'e\.png' fits several files \(isic_images/e\.png, sub/e\.png\)"):
        ImageRoot(root).find("e.png")


def test_a_name_without_ending_must_not_fit_several_files(root: Path) -> None:
    write_image(root / "a.png", 3)
    with pytest.raises(DataError, match=r"'a' fits several files \(a\.jpg, a\.png\)"):
        ImageRoot(root).find("a")
