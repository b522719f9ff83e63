import io

import pytest
from PIL import Image

from prusc.data.png_notes import make_chunk, strip_notes


def plain() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(content, "PNG")
    return content.getvalue()


def with_chunks(*chunks: bytes) -> bytes:
    place = plain().index(b"IDAT") - 4
    return plain()[:place] + b"".join(chunks) + plain()[place:]


def test_notes_are_taken_out_and_the_rest_stays_byte_by_byte() -> None:
    orientation = make_chunk(b"eXIf", b"MM\0*") + make_chunk(b"zTXt", b"Raw profile type exif\0\0x")
    text = make_chunk(b"tEXt", b"Comment\0hello") + make_chunk(b"iCCP", b"sRGB\0\0x")
    assert strip_notes(with_chunks(text, orientation), keeps_orientation=False) == plain()
    assert strip_notes(with_chunks(text, orientation), keeps_orientation=True) == with_chunks(orientation)
    assert strip_notes(plain(), keeps_orientation=True) == plain()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_other_files_are_left_alone(content: bytes) -> None:
    assert strip_notes(content, keeps_orientation=True) is None


def test_a_file_that_is_cut_off_stays_cut_off() -> None:
    cut = plain()[:-20]
    assert strip_notes(cut, keeps_orientation=True) == cut
