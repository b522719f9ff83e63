"""Notes and profiles in PNG files, which a reader may refuse although the pixels are good."""

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tIME")
# Programs write the orientation into these.
_WITH_ORIENTATION = (b"eXIf", b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")


def strip_notes(content: bytes, *, keeps_orientation: bool) -> bytes | None:
    """Return a PNG file without its texts, its colour profile and its camera's notes.

    Args:
        content: The file.
        keeps_orientation: Keep the notes that may say how the camera was held.

    Returns:
        The shorter file; ``None`` if this is no PNG file.
    """
    if not content.startswith(_SIGNATURE):
        return None
    kept = [_SIGNATURE]
    for kind, data, whole in _chunks(content):
        name = kind if kind == b"eXIf" else data.partition(b"\0")[0]
        if kind not in _NOTES or (keeps_orientation and name in _WITH_ORIENTATION):
            kept.append(whole)
    return b"".join(kept)


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file: length, kind, data and check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, data and the whole of each chunk; the last one may be cut off."""
    place = len(_SIGNATURE)
    while place + 8 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        whole = content[place : place + 12 + length]
        yield whole[4:8], whole[8 : 8 + length], whole
        place += 12 + length
