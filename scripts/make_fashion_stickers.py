"""Make the packaged images of ``fashion-stickers`` from Fashion-MNIST's own files.

Writes one lossless grayscale PNG mosaic per class, the licence notice and a README. Deterministic: the first 5,000
images of each class in file order, the training file before the test file. Run it from the project's root:

    python scripts/make_fashion_stickers.py
"""

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = {"tshirt": 0, "pullover": 2, "coat": 4, "shirt": 6}
"""File name of each class and its label in Fashion-MNIST."""

IMAGES_PER_CLASS = 5_000
IMAGES_PER_ROW = 100
SIZE = 28
MAX_TOTAL_BYTES = 10_000_000

LICENCE = """\
The images in this folder are taken from Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

README = """\
# Images of the default data set `fashion-stickers`

20,000 real images of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; MIT licence, see
`LICENSE-fashion-mnist.txt`): 5,000 each of its classes T-shirt/top (0), pullover (2), coat (4) and shirt (6), the first
ones in file order, training file before test file. Pixels are unchanged.

Each PNG is a mosaic of 50 rows of 100 images of 28x28; image `i` lies in row `i // 100`, column `i % 100`. They hold no
stickers: `prusc.data.fashion_stickers` lays those on when the data set is built.

Made by `python scripts/make_fashion_stickers.py` from Debian's package `dataset-fashion-mnist`; do not edit by hand.
"""


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one gzip-compressed IDX file of unsigned bytes, the format of MNIST."""
    content = gzip.decompress(path.read_bytes())
    zeros, type_code, num_dimensions = struct.unpack(">HBB", content[:4])
    if zeros != 0 or type_code != 8:
        raise SystemExit(f"{path}: not an IDX file of unsigned bytes; expected Fashion-MNIST's *-ubyte.gz")
    shape = struct.unpack(f">{num_dimensions}I", content[4 : 4 + 4 * num_dimensions])
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)


def make_mosaic(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange images [N, H, W] row by row, ``IMAGES_PER_ROW`` in each row."""
    num_rows = len(images) // IMAGES_PER_ROW
    tiles = images.reshape(num_rows, IMAGES_PER_ROW, SIZE, SIZE)
    return tiles.transpose(0, 2, 1, 3).reshape(num_rows * SIZE, IMAGES_PER_ROW * SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    default_output = Path(__file__).parents[1] / "src/prusc/data/fashion_stickers_images"
    parser.add_argument("--output", type=Path, default=default_output)
    arguments = parser.parse_args()

    parts = ("train", "t10k")
    images = np.concatenate([read_idx(arguments.source / f"{part}-images-idx3-ubyte.gz") for part in parts])
    labels = np.concatenate([read_idx(arguments.source / f"{part}-labels-idx1-ubyte.gz") for part in parts])
    if images.shape != (len(labels), SIZE, SIZE):
        raise SystemExit(
            f"{arguments.source}: found images {images.shape} and {len(labels)} labels; expected 28x28 images"
        )

    arguments.output.mkdir(parents=True, exist_ok=True)
    total_bytes = 0
    for name, label in CLASSES.items():
        path = arguments.output / f"{name}.png"
        chosen = images[labels == label][:IMAGES_PER_CLASS]
        Image.fromarray(make_mosaic(chosen)).save(path, optimize=True)
        total_bytes += path.stat().st_size
        print(f"{path}: {len(chosen)} images, {path.stat().st_size:,} bytes")
    (arguments.output / "LICENSE-fashion-mnist.txt").write_text(LICENCE, encoding="utf-8")
    (arguments.output / "README.md").write_text(README, encoding="utf-8")
    print(f"{total_bytes:,} bytes in all")
    if total_bytes > MAX_TOTAL_BYTES:
        raise SystemExit(f"more than the {MAX_TOTAL_BYTES:,} bytes that the package may hold")


if __name__ == "__main__":
    main()
