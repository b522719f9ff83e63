from pathlib import Path

from prusc.data.folder_walk import count_images, holds_images, images_in, sub_folders, walk_images
from prusc.data.listing import Problems
from tests.data.folders import write_image


def test_images_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ("b.png", "a/2.JPG", "a/10.png", "a/b/1.png", "c/1.webp", "._b.png", ".git/1.png")
    for name in names:
        write_image(tmp_path / name.replace(".webp", ".png"), 1).rename(tmp_path / name)
    (tmp_path / "a" / "list.txt").write_text("x")
    problems = Problems()
    found = [path.relative_to(tmp_path).as_posix() for path in walk_images(tmp_path, problems)]
    assert found == ["a/10.png", "a/2.JPG", "a/b/1.png", "b.png", "c/1.webp"]
    assert [note.kind for note in problems.noted] == ["ignored"]
    assert problems.remarks == [f"hidden folder {tmp_path}/.git is passed over; it holds 1 images"]
    assert [path.name for path in sub_folders(tmp_path)] == ["a", "c"]
    assert [path.name for path in images_in(tmp_path)] == ["b.png"]
    assert count_images(tmp_path) == 5
    assert holds_images(tmp_path)
    (tmp_path / "empty").mkdir()
    assert not holds_images(tmp_path / "empty")


def test_a_linked_folder_is_walked_and_a_circle_ends(tmp_path: Path) -> None:
    write_image(tmp_path / "data" / "real" / "1.png", 1)
    (tmp_path / "data" / "real" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data" / "real")
    problems = Problems()
    assert [path.name for path in walk_images(tmp_path / "link", problems)] == ["1.png"]
    assert [note.kind for note in problems.noted] == ["link"]
    problems = Problems()
    found = [path.relative_to(tmp_path).as_posix() for path in walk_images(tmp_path / "data", problems)]
    assert found == ["data/real/1.png"]
    assert "leads to a folder above itself" in problems.noted[0].message
