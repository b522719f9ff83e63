"""Which stored stages of a run other settings leave as they are, so that a run folder can be used again."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

_AFTER_CLUSTERS = ("masks", "dense", "masked", "remedy")

# The first pattern that fits decides. A setting that nobody lists touches the ERM network, which is never thrown away.
_TOUCHED_BY: tuple[tuple[str, tuple[str, ...]], ...] = (
    # What these decide is computed at the end of every run, and stored nowhere before.
    ("audit.*", ()),
    ("selection.*", ()),
    ("may_keep_erm", ()),
    ("runtime.num_workers", ()),
    ("runtime.eval_batch_size", ()),
    ("runtime.representation_gib", ()),
    ("runtime.scratch", ()),
    ("runtime.representation_bits", ("clustering", *_AFTER_CLUSTERS)),
    # An early network of fewer epochs has another schedule, so its epochs are not those of a longer training.
    ("clustering.checkpoint", ("erm",)),
    ("clustering.*", ("clustering", *_AFTER_CLUSTERS)),
    ("pseudo_attribute.*", ("clustering", *_AFTER_CLUSTERS)),
    ("debiasing_set.*", _AFTER_CLUSTERS),
    ("masks.include", _AFTER_CLUSTERS),
    ("masks.exclude", _AFTER_CLUSTERS),
    ("masks.head", _AFTER_CLUSTERS),
    ("masks.batch_size", _AFTER_CLUSTERS),
    ("masks.reestimate_batch_norm", _AFTER_CLUSTERS),
    ("masks.*", ("masks", "masked", "remedy")),
    ("finetune.*", ("dense", "masked", "remedy")),
    ("controls", ("dense", "masked", "remedy")),
    ("evaluate_candidates", ("dense", "masked", "remedy")),
    ("method", ("remedy",)),
    ("method_options", ("remedy",)),
    ("tuning_budget", ("remedy",)),
    ("*", ("erm",)),
)

# Files of each stage; what follows from them alone goes with them.
_FILES: Mapping[str, tuple[str, ...]] = {
    "clustering": ("clusters.csv", "stages/clustering.*", "audit.json", "look_at.csv", "samples/*", "report.html"),
    "masks": ("debiasing_set.csv", "history.csv", "stages/masks.*"),
    "dense": ("stages/dense.*",),
    "masked": ("stages/mask-*",),
}
_KEPT = ("stages/seconds.json", "stages/memory.json")
_CLOCKS: Mapping[str, tuple[str, ...]] = {
    "clustering": ("clustering", "audit"),
    "masks": ("debiasing_set", "masks"),
    "dense": ("controls",),
    "masked": ("candidates@*", "weights@*"),
    "remedy": ("training *",),
}


def touched_stages(settings: Iterable[str]) -> frozenset[str]:
    """Return the stored stages whose results depend on some settings.

    Args:
        settings: Names of settings, such as ``masks.steps``.

    Returns:
        Among ``erm``, ``clustering``, ``masks``, ``dense`` (candidates without a mask), ``masked`` (candidates with
        one) and ``remedy`` (what another remedy stores).
    """
    return frozenset(stage for setting in settings for stage in _first_rule(setting))


def _first_rule(setting: str) -> tuple[str, ...]:
    return next(stages for pattern, stages in _TOUCHED_BY if fnmatchcase(setting, pattern))


def belongs_to(file: str, stages: frozenset[str]) -> bool:
    """Return whether a file, named relative to its run folder, is a result of one of the stages."""
    for stage, patterns in _FILES.items():
        if any(fnmatchcase(file, pattern) for pattern in patterns):
            return stage in stages
    return "remedy" in stages and file.startswith("stages/") and file not in _KEPT


def is_timed_by(clock: str, stages: frozenset[str]) -> bool:
    """Return whether a time in ``seconds.json`` is that of one of the stages."""
    return any(fnmatchcase(clock, pattern) for stage in stages for pattern in _CLOCKS.get(stage, ()))
