"""Formats of numbers and names in reports."""

from collections.abc import Mapping

from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation

# Unicode isolates, so that right-to-left letters in a name do not reorder the text beside it.
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"

TRAINED_ON_VALIDATION = (
    "Validation samples were also used for training; no sample judged a network that was trained on it."
)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in [0, 1] as a percentage; a dash for ``None``."""
    return "–" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def interval(limits: tuple[float, float] | None) -> str:
    """Return an interval of shares, or of differences between shares, in percent; empty for ``None``."""
    return "" if limits is None else f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f}".replace("-", "−")


def points(before: float | None, after: float | None) -> str:
    """Return the change between two shares in percentage points, with its sign; a dash for ``None``."""
    if before is None or after is None:
        return "–"
    change = round(100 * (after - before), 1)
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def group_name(group: GroupAccuracy) -> str:
    """Return the class and attributes of a group; an attribute name is left out if its value contains it."""
    values = (value if name in value else f"{name} {value}" for name, value in group.attributes.items())
    return ", ".join([group.label, *values])


def group_key(group: GroupAccuracy) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a key that identifies a group across evaluations."""
    return group.label, tuple(group.attributes.items())


def groups_by_key(
    evaluation: GroupEvaluation,
) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], GroupAccuracy]:
    """Return the groups of an evaluation by `group_key`."""
    return {group_key(group): group for group in evaluation.groups}


def short(name: str, length: int = 40) -> str:
    """Return a name, shortened to fit into a chart."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def plain(name: str, length: int = 40) -> str:
    """Return a name for Plotly, shortened, escaped and isolated, because Plotly reads text as a kind of HTML."""
    escaped = short(name, length).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A line break in a name would break the label.
    escaped = " ".join(escaped.split())
    return escaped if escaped.isascii() else f"{_ISOLATE}{escaped}{_END_ISOLATE}"
