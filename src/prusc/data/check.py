"""Check of a data set: reads all of it once and reports every problem."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from prusc.data.assembly import find_bad_images
from prusc.data.consistency import check_samples, find_bad_masks, find_shared
from prusc.data.images import DEFAULT_IMAGE_SIZE, Progress
from prusc.data.layouts import PACKAGED_NAMES, check_options, find_layout, list_layout
from prusc.data.listing import Listing, Problem, Problems, name_splits, offer_columns
from prusc.data.near_duplicates import find_near_duplicates
from prusc.data.table import SPLIT_NAMES
from prusc.errors import ConfigError

_VAL = SPLIT_NAMES.index("val")
# The widest 95 % Wilson interval of this many samples spans 40 points.
_FEW_IMAGES = 20


@dataclass(frozen=True)
class GroupCount:
    """Number of samples of one group in one split.

    Attributes:
        split: Name of the split.
        label: Name of the class.
        attributes: Value of each attribute by the attribute's name.
        num_samples: Number of usable samples.
    """

    split: str
    label: str
    attributes: dict[str, str]
    num_samples: int


@dataclass(frozen=True)
class DataReport:
    """Result of a check.

    Attributes:
        layout: Name of the layout.
        root: Folder of the data.
        num_samples: Number of usable samples.
        num_by_split: Number of usable samples by split.
        num_by_class: Number of usable samples by split and class.
        groups: Number of usable samples by group; empty if there are no attributes.
        made_splits: Missing splits, which loading would make with the counts given here.
        unused_columns: Columns of a table that nothing uses and that could be attributes.
        problems: All problems.
        remarks: What is worth knowing of how the data were read, although nothing is wrong.
    """

    layout: str
    root: str
    num_samples: int
    num_by_split: dict[str, int]
    num_by_class: dict[str, dict[str, int]]
    groups: tuple[GroupCount, ...]
    made_splits: tuple[str, ...]
    unused_columns: tuple[str, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold."""
        return {"is_good": self.is_good, **asdict(self)}


def check_data(
    name: str,
    *,
    layout: str | None = None,
    default_seed: int = 0,
    default_image_size: int = DEFAULT_IMAGE_SIZE,
    num_threads: int | None = None,
    progress: Progress | None = None,
    near_duplicates: bool = False,
    **options: Any,
) -> DataReport:
    """Read every row and every image once, and report all problems.

    Args:
        name: See `prusc.data.load_data`.
        layout: Name of the layout; ``None`` recognises it.
        default_seed: See `prusc.data.load_data`.
        default_image_size: See `prusc.data.load_data`.
        num_threads: Number of reading threads; ``None`` uses one per core.
        progress: Called with the number of images read so far and the number of all images.
        near_duplicates: Also look for images in different splits that are almost the same.
        **options: Options of `prusc.config.DataConfig`.

    Returns:
        Counts and problems. The counts leave out samples with problems, except those that are in two splits.

    Raises:
        ConfigError: If the path does not exist, no layout is recognised or an option does not apply.
        DataError: If the data are too damaged to count anything.
    """
    given: Mapping[str, Any] = {option: value for option, value in options.items() if value is not None}
    if name in PACKAGED_NAMES:
        raise ConfigError(f"data {name!r} comes with prusc, so there is nothing to check; use it: --data {name}")
    found = find_layout(name, layout)
    check_options(name, given, found.options)
    problems = Problems(collect=True)
    listing, made = list_layout(name, found, problems, given, default_seed=default_seed)
    size = given.get("image_size", default_image_size)
    messages = find_bad_images(listing.images, size, num_threads=num_threads, progress=progress)
    for index, message in messages.items():
        image = listing.images[index]
        is_there = not isinstance(image, str | Path) or Path(image).exists()
        place = listing.places[index]
        where = "" if place in message else f"{place}: "
        problems.add("unreadable" if is_there else "missing", f"{where}{message}")
    for message in find_bad_masks(listing, size, num_threads=num_threads).values():
        problems.add("mask", message)
    for message in find_shared(listing, num_threads=num_threads).values():
        problems.add("shared", message)
    good = [index for index in range(len(listing)) if index not in messages]
    if near_duplicates:
        find_near_duplicates(listing, good, size, problems, num_threads=num_threads)
    usable = listing.take(np.array(good, dtype=np.int64)) if good else None
    if usable is not None:
        check_samples(usable, problems)
    return _make_report(listing, usable, made, problems)


def describe_report(report: DataReport) -> list[str]:
    """Describe a report as lines of text: first the counts, then the problems.

    Args:
        report: Result of a check.

    Returns:
        One line per split, group and problem, after a summary.
    """
    made = ""
    if report.made_splits:
        verb = "is" if len(report.made_splits) == 1 else "are"
        made = f"; the {name_splits(report.made_splits)} {verb} missing and would be made"
    lines = [f"data: layout {report.layout}, {report.root}, {report.num_samples} images that can be used{made}"]
    for split, by_class in report.num_by_class.items():
        counts = ", ".join(f"{number} {name}" for name, number in by_class.items())
        lines.append(f"{split}: {report.num_by_split[split]} images ({counts})")
        lines += [
            f"  {group.label}, {', '.join(f'{name}: {value}' for name, value in group.attributes.items())}, "
            f"{group.num_samples} image{'s' if group.num_samples != 1 else ''}"
            for group in report.groups
            if group.split == split
        ]
    if report.unused_columns:
        lines.append(offer_columns(report.unused_columns))
    lines += report.remarks
    kinds = Counter(problem.kind for problem in report.problems)
    found = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    plural = "" if len(report.problems) == 1 else "s"
    lines.append(f"{len(report.problems)} problem{plural}: {found}" if report.problems else "nothing is wrong")
    return lines + [f"  {problem.kind}: {problem.message}" for problem in report.problems]


def _make_report(listing: Listing, usable: Listing | None, made: tuple[str, ...], problems: Problems) -> DataReport:
    keys: list[tuple[int, ...]] = []
    if usable is not None:
        columns = np.concatenate([usable.splits[:, None], usable.labels[:, None], usable.attributes], axis=1)
        keys = [tuple(row) for row in columns.tolist()]
    groups = Counter(keys)
    classes = Counter(key[:2] for key in keys)
    splits = Counter(key[0] for key in keys)
    values = [range(len(names)) for names in listing.attribute_values]
    return DataReport(
        layout=listing.layout,
        root=str(listing.root),
        num_samples=len(keys),
        num_by_split={name: splits[split] for split, name in enumerate(SPLIT_NAMES)},
        num_by_class={
            name: {class_name: classes[split, label] for label, class_name in enumerate(listing.class_names)}
            for split, name in enumerate(SPLIT_NAMES)
        },
        groups=tuple(
            GroupCount(
                SPLIT_NAMES[split],
                listing.class_names[label],
                {
                    name: listing.attribute_values[position][value]
                    for position, (name, value) in enumerate(zip(listing.attribute_names, rest, strict=True))
                },
                groups[split, label, *rest],
            )
            for split, label, *rest in product(range(len(SPLIT_NAMES)), range(len(listing.class_names)), *values)
            if rest
        ),
        made_splits=made,
        unused_columns=tuple(listing.origin.get("unused_columns", ())),
        problems=tuple(problems.found),
        remarks=(*problems.remarks, *_remark_few(classes, listing.class_names)),
    )


def _remark_few(classes: Mapping[tuple[int, ...], int], class_names: Sequence[str]) -> list[str]:
    """Say which classes have so few validation images that hardly any failure on them can be seen."""
    few = [
        f"{name} ({number})"
        for label, name in enumerate(class_names)
        if 0 < (number := classes.get((_VAL, label), 0)) < _FEW_IMAGES
    ]
    if not few:
        return []
    shown = ", ".join(few[:12]) + (f" and {len(few) - 12} more" if len(few) > 12 else "")
    return [
        f"few validation images: {shown}. With fewer than {_FEW_IMAGES}, the 95 % interval of an accuracy can be wider "
        "than 40 points, so only a huge failure can be seen there"
    ]
