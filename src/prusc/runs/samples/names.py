"""The names of suspects: what their pictures, files and table rows share, on the validation split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.data.batches import iterate_batches
from prusc.data.table import Data, Split
from prusc.runs.folder import RunFolder
from prusc.runs.samples.contact_sheets import are_pictures
from prusc.runs.samples.files import NAME_MAPS, NAMES
from prusc.stages.audit.class_probe import PARTS, ClassProbe, probe_class, take_part
from prusc.stages.audit.difference_map import map_differences, shrink_pictures
from prusc.stages.audit.image_features import IMAGE_FEATURES, measure_images
from prusc.stages.audit.naming import Difference, name_values
from prusc.stages.audit.sample_facts import encode_facts

# This many samples show any difference that is worth a name, and are read in a minute from a slow disk.
MAX_COMPARED = 3_000
# A reader looks at no more, and every further one makes the correction stricter.
MAX_NAMED = 12
_MEAN_SIDE = 48
_BATCH = 64


@dataclass(frozen=True)
class SuspectName:
    """What the samples of one suspect share that the rest of their classes do not.

    Attributes:
        value: The suspect cluster, or another value of the pseudo-attribute.
        num_inside: Number of its samples that were compared.
        differences: Of pictures, files and unused columns of the table, the largest first.
        given: Of the known attributes. A family of its own, so that attributes do not change what is said of pictures.
    """

    value: int
    num_inside: int
    differences: tuple[Difference, ...]
    given: tuple[Difference, ...]


@dataclass(frozen=True, eq=False)
class Names:
    """What is found in the pictures of the validation split.

    Attributes:
        num_compared: Number of samples that were compared, drawn at random from the split.
        suspects: The names, in the order of the suspects.
        probes: How well border and background alone tell the class; empty if the inputs are no pictures.
        maps: Where the pictures of each suspect differ, [suspects, rows, columns]; ``None`` without pictures.
        means: Mean picture of each suspect, and that of the rest of their classes, [suspects, 2, 3, rows, columns].
    """

    num_compared: int
    suspects: tuple[SuspectName, ...]
    probes: tuple[ClassProbe, ...]
    maps: Tensor | None
    means: Tensor | None


def find_names(
    data: Data,
    values: Int[Tensor, " samples"],
    suspects: Sequence[int],
    *,
    generator: torch.Generator | None = None,
    num_workers: int = 0,
) -> Names:
    """Compare the validation samples of each suspect with the rest of their classes.

    Args:
        data: Data whose validation split is compared.
        values: Value of the pseudo-attribute of each validation sample, such as its cluster.
        suspects: The values to name, the first ones if there are many.
        generator: Draws the samples and the shuffles of the tests; one of seed 0 if ``None``.
        num_workers: Number of processes that decode images.

    Returns:
        The names, and how well border and background alone tell the class.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    chosen = torch.randperm(len(data.val), generator=generator)[:MAX_COMPARED].sort().values
    split, asked = data.val.subset(chosen), list(suspects[:MAX_NAMED])
    labels, own = split.labels, values[chosen]
    seen = _look_at(split, num_workers) if are_pictures(split.inputs, raw=True) else None
    probes = () if seen is None else tuple(_probe(seen.parts, labels, generator))
    facts = {} if split.facts is None or not asked else split.facts(range(len(split)))
    features, described = encode_facts(facts, len(split))
    if seen is not None:
        features = torch.cat([seen.features.double(), features], dim=1)
        described = (*IMAGE_FEATURES, *described)
    name = partial(name_values, labels=labels, values=own, asked=asked, generator=generator)
    found = name(features, described)
    given = name(*encode_facts(_read_attributes(split, data), len(split)))
    maps = means = None
    if seen is not None and asked:
        maps = map_differences(seen.small, labels, own, asked, generator=generator)
        means = torch.stack([_mean_pictures(seen.pictures, labels, own == value) for value in asked])
    return Names(
        num_compared=len(split),
        suspects=tuple(SuspectName(value, int((own == value).sum()), found[value], given[value]) for value in asked),
        probes=probes,
        maps=maps,
        means=means,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one pass over the pictures leaves."""

    features: Tensor
    parts: dict[str, Tensor]
    small: Tensor
    pictures: Tensor


def _look_at(split: Split, num_workers: int) -> _Seen:
    features, small, pictures = [], [], []
    parts: dict[str, list[Tensor]] = {name: [] for name in PARTS}
    everything = torch.arange(len(split))
    for batch in iterate_batches(split.inputs, everything, batch_size=_BATCH, num_workers=num_workers):
        assert isinstance(batch, Tensor), "callers check that the inputs are pictures"
        features.append(measure_images(batch))
        small.append(shrink_pictures(batch))
        sides = (min(batch.shape[2], _MEAN_SIDE), min(batch.shape[3], _MEAN_SIDE))
        shrunk = F.adaptive_avg_pool2d(batch.expand(-1, 3, -1, -1).float(), sides)
        pictures.append(shrunk.round().to(torch.uint8))
        for name, found in parts.items():
            found.append(take_part(batch, name))
    return _Seen(
        torch.cat(features),
        {name: torch.cat(found) for name, found in parts.items()},
        torch.cat(small),
        torch.cat(pictures),
    )


def _probe(parts: dict[str, Tensor], labels: Tensor, generator: torch.Generator) -> Iterator[ClassProbe]:
    for name, values in parts.items():
        found = probe_class(values, labels, name, generator=generator)
        if found is not None:
            yield found


def _read_attributes(split: Split, data: Data) -> dict[str, list[str]]:
    if split.attributes is None:
        return {}
    return {
        name: [data.attribute_values[column][value] for value in split.attributes[:, column].tolist()]
        for column, name in enumerate(data.attribute_names)
    }


def _mean_pictures(pictures: Tensor, labels: Tensor, inside: Tensor) -> Float[Tensor, "2 3 rows columns"]:
    """Return the mean picture inside and that of the rest, both in the mixture of classes of `measure_differences`."""
    means = torch.zeros(2, *pictures.shape[1:])
    total = 0.0
    for label in labels.unique().tolist():
        own = labels == label
        here, rest = own & inside, own & ~inside
        if not bool(here.any()) or not bool(rest.any()):
            continue
        weight = int(here.sum()) * int(rest.sum()) / int(own.sum())
        means += weight * torch.stack([pictures[side].float().mean(dim=0) for side in (here, rest)])
        total += weight
    return means / max(total, 1e-9) / 255


def write_names(folder: RunFolder, names: Names) -> None:
    """Write ``names.json``, and the maps of the suspects."""
    if names.maps is not None and names.means is not None:
        folder.write_tensors(NAME_MAPS, {"maps": names.maps, "means": names.means})
    folder.write_json(NAMES, names_to_dict(names))


def names_from_dict(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Names:
    """Turn the values of ``names.json`` back into names, with the maps from `NAME_MAPS` if there are any."""

    def read(found: Mapping[str, Any]) -> Difference:
        return Difference(**{**found, "ci95": tuple(found["ci95"])})

    return Names(
        num_compared=values["num_compared"],
        suspects=tuple(
            SuspectName(
                value=suspect["value"],
                num_inside=suspect["num_inside"],
                differences=tuple(map(read, suspect["differences"])),
                given=tuple(map(read, suspect["given"])),
            )
            for suspect in values["suspects"]
        ),
        probes=tuple(ClassProbe(**{**probe, "ci95": tuple(probe["ci95"])}) for probe in values["probes"]),
        maps=tensors.get("maps"),
        means=tensors.get("means"),
    )


def names_to_dict(names: Names) -> dict[str, Any]:
    """Return names as plain values, without the maps."""
    return {
        "num_compared": names.num_compared,
        "suspects": [asdict(suspect) for suspect in names.suspects],
        "probes": [asdict(probe) for probe in names.probes],
    }
