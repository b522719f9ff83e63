"""How figures and names are written in a report: the same everywhere."""

from collections.abc import Mapping

from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation

# Isolates, so that a name in right-to-left letters does not turn around what stands beside it.
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"

TRAINED_ON_VALIDATION = "Validation samples were trained on as well; none judged what had been trained on it."


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in [0, 1] as a percentage, a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def interval(limits: tuple[float, float] | None) -> str:
    """Return an interval of shares, or of differences between shares, as percentages."""
    return "" if limits is None else f"{100 * limits[0]:.1f} to {100 * limits[1]:.1f}".replace("-", "−")


def points(before: float | None, after: float | None) -> str:
    """Return the change between two shares in percentage points, with its sign."""
    if before is None or after is None:
        return "–"
    change = round(100 * (after - before), 1)
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}"


def duration(seconds: float) -> str:
    """Return a time that a reader takes in at a glance."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def group_name(group: GroupAccuracy) -> str:
    """Return the name of a group: its class and its attributes, each by name where the value does not say it."""
    values = (value if name in value else f"{name} {value}" for name, value in group.attributes.items())
    return ", ".join([group.label, *values])


def group_key(group: GroupAccuracy) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return what a group is recognised by in another evaluation."""
    return group.label, tuple(group.attributes.items())


def groups_by_key(
    evaluation: GroupEvaluation,
) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], GroupAccuracy]:
    """Return the groups of an evaluation by what they are recognised by."""
    return {group_key(group): group for group in evaluation.groups}


def short(name: str, length: int = 40) -> str:
    """Return a name that fits into a chart."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def plain(name: str, length: int = 40) -> str:
    """Return a name for Plotly, which takes text for a kind of HTML: shortened, escaped and isolated."""
    escaped = short(name, length).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A line break inside a name would break the label.
    escaped = " ".join(escaped.split())
    return escaped if escaped.isascii() else f"{_ISOLATE}{escaped}{_END_ISOLATE}"
