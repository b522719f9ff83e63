"""Waterbirds composed from pieces of the two photographs in scikit-learn: a flower stands for the bird."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from prusc.data import load_data
from prusc.data.cub import ComposedImage, choose_backgrounds, list_cub
from prusc.data.images import decode_source
from prusc.data.listing import Problems
from prusc.errors import ConfigError, DataError

SPECIES = ("001.Black_footed_Albatross", "002.American_Crow", "003.Eastern_Towhee", "004.Blue_Jay")
NUM_EACH = 8


@pytest.fixture(scope="module")
def photographs() -> tuple[np.ndarray, np.ndarray]:
    """A landscape and a flower."""
    return tuple(load_sample_images().images)


@pytest.fixture
def cub(tmp_path: Path, photographs: tuple[np.ndarray, np.ndarray]) -> Path:
    landscape, flower = photographs
    root = tmp_path / "CUB_200_2011"
    names, flags = [], []
    for number in range(NUM_EACH * len(SPECIES)):
        species = SPECIES[number // NUM_EACH]
        name = f"{species}/{species[4:]}_{number:04d}.jpg"
        crop = Image.fromarray(flower[40 + number : 360 + number, 150 + number : 550 + number])
        # The petals are the part that is much redder than green.
        pixels = np.asarray(crop).astype(int)
        mask = Image.fromarray(((pixels[..., 0] - pixels[..., 1] > 40) * 255).astype(np.uint8))
        for folder, image, path in (("images", crop, name), ("segmentations", mask, name.replace(".jpg", ".png"))):
            (root / folder / path).parent.mkdir(parents=True, exist_ok=True)
            image.save(root / folder / path)
        names.append(f"{number + 1} {name}")
        flags.append(f"{number + 1} {int(number % NUM_EACH < 6)}")
    (root / "images.txt").write_text("\n".join(names) + "\n")
    (root / "train_test_split.txt").write_text("\n".join(flags) + "\n")
    for kind, top in (("land", 250), ("water", 0)):
        (tmp_path / kind / "sub").mkdir(parents=True)
        for number in range(3):
            piece = landscape[top : top + 170, 200 * number : 200 * number + 240]
            Image.fromarray(piece).save(tmp_path / kind / "sub" / f"{number}.jpg")
    return root


def places(cub: Path) -> dict[str, Path]:
    return {"land_backgrounds": cub.parent / "land", "water_backgrounds": cub.parent / "water"}


def test_birds_are_cut_out_and_set_before_other_backgrounds(cub: Path) -> None:
    listing = list_cub(cub, Problems(), **places(cub))
    image = listing.images[0]
    assert isinstance(image, ComposedImage)
    bird, mask, background = (decode_source(path, 64) for path in (image.bird, image.mask, image.background))
    composed = image.decode(64)
    inside, outside = (mask == 255).all(axis=2), (mask == 0).all(axis=2)
    assert inside.sum() > 200
    assert outside.sum() > 200
    assert np.array_equal(composed[inside], bird[inside])
    assert np.array_equal(composed[outside], background[outside])
    place = ("land", "water")[listing.attributes[0, 0]]
    assert image.background.parent == cub.parent / place / "sub"


def test_species_decide_the_class_as_in_the_published_data(cub: Path) -> None:
    listing = list_cub(cub, Problems(), **places(cub))
    # "Eastern" holds "tern".
    assert listing.labels.tolist() == [1] * 8 + [0] * 8 + [1] * 8 + [0] * 8
    assert listing.class_names == ("landbird", "waterbird")
    assert [int((listing.splits == split).sum()) for split in range(3)] == [20, 4, 8]


def test_the_published_group_counts_come_about() -> None:
    # CUB has 4615 and 1379 training images of land- and waterbirds, 4510 and 1284 for test.
    from prusc.data import cub as module

    labels = np.repeat([0, 1, 0, 1], [4615, 1379, 4510, 1284])
    rng = np.random.default_rng(0)
    splits = module._hold_out_val(labels, np.repeat([0, 0, 2, 2], [4615, 1379, 4510, 1284]), rng)
    values = choose_backgrounds(labels, splits, 0.95, rng)
    counts = [
        [int(((splits == split) & (labels == y) & (values == a)).sum()) for y in (0, 1) for a in (0, 1)]
        for split in range(3)
    ]
    assert counts == [[3498, 184, 56, 1057], [467, 466, 133, 133], [2255, 2255, 642, 642]]


def test_the_layout_is_recognised_and_a_seed_decides(cub: Path) -> None:
    options = {**places(cub), "image_size": 16}
    said: list[str] = []
    first = load_data(str(cub), **options, data_seed=1, log=said.append)
    assert said[0].startswith("data: layout cub (recognised), 32 images, classes landbird, waterbird, attributes place")
    again, other = (load_data(str(cub), **options, data_seed=seed) for seed in (1, 2))
    assert (first.train.inputs == again.train.inputs).all()
    assert not (
        first.train.sample_ids == other.train.sample_ids and (first.train.attributes == other.train.attributes).all()
    )
    assert first.origin["num_backgrounds"] == [3, 3]
    independent = load_data(str(cub), **options, correlation=0.5)
    assert independent.train.attributes.float().mean() == 0.5


def test_what_is_missing_is_named(cub: Path) -> None:
    with pytest.raises(ConfigError, match="land-backgrounds is missing; expected a folder of photographs of land"):
        list_cub(cub, Problems())
    with pytest.raises(ConfigError, match=r"correlation is 0\.3; expected a share from 0\.5"):
        list_cub(cub, Problems(), **places(cub), correlation=0.3)
    mask = cub / "segmentations" / SPECIES[0] / f"{SPECIES[0][4:]}_0003.png"
    mask.unlink()
    with pytest.raises(
        DataError, match=r"images\.txt, line 4: .*_0003\.png does not exist; expected every bird and its seg"
    ):
        list_cub(cub, Problems(), **places(cub))
    text = (cub / "images.txt").read_text()
    (cub / "images.txt").write_text(text.replace("6 001.Black_footed_Albatross/", "6 ../../", 1))
    flags = (cub / "train_test_split.txt").read_text()
    (cub / "train_test_split.txt").write_text(flags.replace("2 1\n", "2 x\n", 1))
    problems = Problems(collect=True)
    assert len(list_cub(cub, problems, **places(cub))) == 29
    assert sorted(problem.kind for problem in problems.found) == ["missing", "path", "split"]
    (cub / "segmentations").rename(cub.parent / "segmentation")
    with pytest.raises(DataError, match="no folder segmentations, in it or next to it"):
        list_cub(cub, Problems(), **places(cub))
    (cub / "images.txt").write_text("one two")
    (cub.parent / "segmentation").rename(cub / "segmentations")
    with pytest.raises(DataError, match=r"images\.txt, line 1: found 'one two'; expected a number"):
        list_cub(cub, Problems(), **places(cub))
