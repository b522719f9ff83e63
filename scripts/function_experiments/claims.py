"""The table claim by claim, the table of settings and the figure of docs/results/modularity.md, from the figures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from experiments import ROOT, insert, table
from scipy.stats import t as student

from function_experiments.catalogue import EXPERIMENTS

PAGE = ROOT / "docs" / "results" / "modularity.md"
SPEED = ROOT / "docs" / "data" / "modularity-speed.json"
IMAGE = ROOT / "docs" / "images" / "modularity-shortcut.png"
ISIC_IMAGE = ROOT / "docs" / "images" / "modularity-shortcut-isic.png"
FASHION, ISIC = "shortcut-fashion-stickers", "shortcut-isic"
_DEEP = ("FNN", "transformer", "resnet")
AGREES, PARTLY, DOES_NOT, NOT_RUN = "agrees", "agrees in direction", "does not agree", "not run"
ALL = "all layers"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval: Student's t over seeds, or that of the only seed."""

    mean: float
    low: float
    high: float
    num_seeds: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.0f} [{100 * self.low:.0f}, {100 * self.high:.0f}]"


class Figures:
    """The figures of one experiment at one scale."""

    def __init__(self, rows: pd.DataFrame, name: str, scale: str = "scaled") -> None:
        self.rows = rows[(rows.experiment == name) & (rows.scale == scale)]

    @property
    def seeds(self) -> list[int]:
        """Seeds that were run."""
        return sorted(map(int, self.rows.seed.unique()))

    def names(self, prefix: str) -> list[str]:
        """Return what follows a prefix in the names of the measures, in order."""
        found = [name for name in self.rows.measure if name.startswith(prefix)]
        return list(dict.fromkeys(name.removeprefix(prefix) for name in found))

    def estimate(self, *measures: str) -> Estimate:
        """Return the mean of one or several measures over them and over the seeds."""
        own = self.rows[self.rows.measure.isin(measures)]
        if own.empty:
            raise KeyError(measures)
        means = own.groupby("seed").value.mean()
        if len(means) > 1:
            found = _over_seeds(means)
            # Shares end at 0 and 1, Student's interval does not; a relative drop may be negative.
            lowest = -math.inf if any("drop" in measure for measure in measures) else 0.0
            return Estimate(found.mean, max(found.low, lowest), min(found.high, 1.0), found.num_seeds)
        return Estimate(float(means.mean()), float(own.low.mean()), float(own.high.mean()), 1)

    def difference(self, more: Sequence[str], less: Sequence[str]) -> Estimate:
        """Return the mean of some measures minus that of others, paired by seed."""
        one, two = self.estimate(*more), self.estimate(*less)
        if one.num_seeds > 1:
            means = [self.rows[self.rows.measure.isin(own)].groupby("seed").value.mean() for own in (more, less)]
            return _over_seeds(means[0] - means[1])
        # The errors of two independent figures add up by their squares.
        below = math.hypot(one.mean - one.low, two.high - two.mean)
        above = math.hypot(one.high - one.mean, two.mean - two.low)
        mean = one.mean - two.mean
        return Estimate(mean, mean - below, mean + above, 1)


def _over_seeds(values: pd.Series) -> Estimate:
    """Return the mean over at least two seeds with Student's interval."""
    mean, count = float(values.mean()), len(values)
    half = float(student.ppf(0.975, count - 1)) * float(values.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        text: What the paper found, in kind.
        experiment: Name of the experiment that tests it.
        test: Returns what was measured, and the verdict. It raises KeyError if figures are missing.
    """

    text: str
    experiment: str
    test: Callable[[Figures], tuple[str, str]]


def _apart(low_side: Estimate, high_side: Estimate) -> str:
    """Return the verdict on "the first is smaller than the second"."""
    if low_side.high < high_side.low:
        return AGREES
    return PARTLY if low_side.mean < high_side.mean else DOES_NOT


def _different_weights(first: str, second: str) -> Callable[[Figures], tuple[str, str]]:
    def test(figures: Figures) -> tuple[str, str]:
        iou = figures.estimate(f"iou/{ALL}/{first}/{second}")
        same = figures.estimate(*(f"stability/{ALL}/{name}" for name in (first, second)))
        right = figures.estimate(*(f"accuracy/{name}/{name}" for name in (first, second)))
        wrong = figures.estimate(f"accuracy/{first}/{second}", f"accuracy/{second}/{first}")
        told = (
            f"IoU {iou} %, two seeds of one function {same} %; accuracy {right} % under the own mask, {wrong} % under "
            "the other's"
        )
        return told, _apart(iou, same)

    return test


def _shared_at_the_ends(figures: Figures) -> tuple[str, str]:
    layers = [name.split("/")[0] for name in figures.names("iou/") if not name.startswith(ALL)]
    of = {layer: figures.estimate(f"iou/{layer}/add/multiply") for layer in layers}
    first, last = of[layers[0]], of[layers[-1]]
    middle = figures.estimate(*(f"iou/{layer}/add/multiply" for layer in layers[1:-1]))
    verdicts = [_apart(middle, end) for end in (first, last)]
    verdict = AGREES if verdicts == [AGREES] * 2 else DOES_NOT if DOES_NOT in verdicts else PARTLY
    return f"IoU {first} % in the first layer, {middle} % in the hidden ones, {last} % in the last", verdict


def _inverse(figures: Figures) -> tuple[str, str]:
    """Without the weights of one operation, the other one works."""
    other = figures.estimate("inverse full/add/multiply", "inverse full/multiply/add")
    own = figures.estimate("inverse full/add/add", "inverse full/multiply/multiply")
    told = (
        f"without the weights of one operation between the end layers: accuracy {own} % on it, {other} % on the other"
    )
    verdict = _apart(own, other)
    # To be better than the operation that was taken out is not to work.
    return told, PARTLY if verdict == AGREES and other.mean < 0.5 else verdict


def _halves(first: str, second: str) -> Callable[[Figures], tuple[str, str]]:
    def test(figures: Figures) -> tuple[str, str]:
        whole, shared, private = (
            figures.estimate(*(f"half/{kind}/{name}" for name in (first, second)))
            for kind in ("whole", "without shared", "without private")
        )
        told = f"accuracy {whole} %, without half of the shared weights {shared} %, of the private ones {private} %"
        return told, _apart(private, whole)

    return test


def _removal(figures: Figures) -> tuple[str, str]:
    names = figures.names("drop/")
    drop = figures.estimate(*(f"drop/{name}" for name in names))
    other = figures.estimate(*(f"largest other drop/{name}" for name in names))
    control = figures.estimate("accuracy/all classes/all classes")
    count = sum(
        figures.estimate(f"largest other drop/{name}").high < figures.estimate(f"drop/{name}").low for name in names
    )
    told = (
        f"accuracy under the control's mask {control} %; relative drop of the removed class {drop} %, largest of "
        f"another {other} % (means over classes); apart by their intervals for {count} of {len(names)} classes"
    )
    verdict = AGREES if count >= 0.8 * len(names) else PARTLY if drop.mean > other.mean else DOES_NOT
    return told, verdict


def _scan(split: str) -> Callable[[Figures], tuple[str, str]]:
    def test(figures: Figures) -> tuple[str, str]:
        whole = figures.estimate(f"accuracy/no mask/{split}, test")
        simple = figures.estimate(f"accuracy/simple/{split}, test")
        own = figures.estimate(f"accuracy/{split}/{split}, test")
        train = figures.estimate(f"accuracy/{split}/{split}, training part")
        told = (
            f"accuracy on the split's test: {whole} % without a mask, {simple} % under the mask of all commands, "
            f"{own} % under the mask of the training part, which has {train} % there"
        )
        verdict = _apart(own, simple)
        if verdict == AGREES and simple.mean < 0.8:
            verdict = PARTLY
        return told, verdict

    return test


def _further_weights(figures: Figures) -> tuple[str, str]:
    """Does the mask of the hard problems have most of the easy ones' weights, and many more?"""
    of_easy = figures.estimate(f"subsetness/{ALL}/easy/hard")
    easy, hard = (figures.estimate(f"density/{ALL}/{level}") for level in ("easy", "hard"))
    right = figures.estimate(*(f"accuracy/{level}/{level}" for level in ("easy", "hard")))
    told = (
        f"accuracy {right} %; weights kept for easy problems {easy} %, for hard ones {hard} %; of the smaller mask, "
        f"the other one has {of_easy} %"
    )
    return told, _apart(easy, hard)


def _transfer(figures: Figures) -> tuple[str, str]:
    """Do later tasks use more of what earlier ones learned than masks of their size would by chance?"""
    layers, tasks = _transfer_names(figures)
    kinds = ([f"{kind}/{layer}/{task}" for layer in layers for task in tasks] for kind in ("re-used", "frozen"))
    used, known = kinds
    excess = figures.difference(used, known)
    accuracy = figures.estimate(*(f"accuracy/{name}" for name in figures.names("accuracy/")))
    told = (
        f"accuracy {accuracy} %; of the weights of a later mask, {figures.estimate(*used)} % were learned by earlier "
        f"tasks, by chance {figures.estimate(*known)} % would be (means over layers): {excess} points more"
    )
    return told, AGREES if excess.high <= 0 else PARTLY if excess.low <= 0 else DOES_NOT


def _transfer_by_layer(figures: Figures) -> tuple[str, str]:
    layers, tasks = _transfer_names(figures)
    excess = {
        layer: figures.difference(
            [f"re-used/{layer}/{task}" for task in tasks], [f"frozen/{layer}/{task}" for task in tasks]
        )
        for layer in layers
    }
    parts = ", ".join(f"`{layer}` {estimate}" for layer, estimate in excess.items())
    return f"points of re-use above chance: {parts}", _apart(excess[layers[-1]], excess[layers[0]])


def _transfer_names(figures: Figures) -> tuple[list[str], list[str]]:
    tasks = figures.names("re-used/head.weight/")
    return list(dict.fromkeys(name.rsplit("/", 1)[0] for name in figures.names("re-used/"))), tasks


def _more_sharing(rows: pd.DataFrame, mode: str) -> Callable[[Figures], tuple[str, str]]:
    def test(figures: Figures) -> tuple[str, str]:
        both = figures.estimate(f"iou/{ALL}/pair 1/pair 2")
        less = Figures(rows, f"double-add-lstm-{mode}").estimate(f"iou/{ALL}/pair 1/pair 2")
        return f"IoU {both} %, with {mode.replace('-', ' ')} only {less} %", _apart(less, both)

    return test


def make_claims(rows: pd.DataFrame) -> list[Claim]:
    """Return the claims, in the order of the paper."""
    specialise = "Add and multiply use mostly different weights"
    reuse = "Two additions at once use different weights, although the function is the same"
    removal = "Removing a class takes weights that no other class needs: its accuracy falls far more than others'"
    scan = "Masks of the split's training part lose what its test needs: from near 100 % to near 0"
    pairs = ("pair 1", "pair 2")
    return [
        Claim(specialise, "add-mul-fnn", _different_weights("add", "multiply")),
        Claim("The shared weights lie in the first and last layers", "add-mul-fnn", _shared_at_the_ends),
        Claim("Without one operation's weights the other one still works", "add-mul-fnn", _inverse),
        Claim("The private weights are needed", "add-mul-fnn", _halves("add", "multiply")),
        Claim(specialise, "add-mul-lstm", _different_weights("add", "multiply")),
        Claim(reuse, "double-add-fnn", _different_weights(*pairs)),
        Claim("The private weights are needed", "double-add-fnn", _halves(*pairs)),
        Claim(reuse, "double-add-lstm-same-input", _different_weights(*pairs)),
        Claim(reuse, "double-add-lstm-same-output", _different_weights(*pairs)),
        Claim("Less so with the same input and output", "double-add-lstm-both", _more_sharing(rows, "same-input")),
        Claim("Less so with the same input and output", "double-add-lstm-both", _more_sharing(rows, "same-output")),
        *(Claim(removal, name, _removal) for name in EXPERIMENTS if name.startswith("removal-")),
        *(
            Claim(scan, f"scan-{network}-{split.replace(' ', '-')}", _scan(split))
            for network in ("lstm", "transformer")
            for split in ("jump", "turn left", "length")
        ),
        Claim("Hard problems need further weights", "mathematics", _further_weights),
        Claim("Tasks in turn share little", "permuted-mnist", _transfer),
        Claim("What they share lies in the first layers", "permuted-mnist", _transfer_by_layer),
    ]


def make_claims_table(rows: pd.DataFrame) -> str:
    """Return one row per claim: what the paper found, what was measured, and whether that agrees."""
    lines = []
    for claim in make_claims(rows):
        figures, experiment = Figures(rows, claim.experiment), EXPERIMENTS[claim.experiment]
        try:
            told, verdict = claim.test(figures) if figures.seeds else ("", NOT_RUN)
        except KeyError:
            told, verdict = "", NOT_RUN
        seeds = str(len(figures.seeds)) if verdict != NOT_RUN else ""
        lines.append([claim.text, f"{experiment.title}; {experiment.network}", told, seeds, verdict])
    return table(["the paper, in kind", "experiment", "measured here", "seeds", "verdict"], lines)


def make_settings_table(rows: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """Return how each experiment that was run was scaled down, and how long it took."""
    lines = []
    for name, experiment in EXPERIMENTS.items():
        own = rows[(rows.experiment == name) & (rows.scale == "scaled")]
        if own.empty:
            continue
        published, used = experiment.settings["published"], settings[name]["scaled"]
        masks, training = used["masks"], used["training"]
        seconds = own.groupby("seed").cpu_seconds.first()
        lines.append(
            [
                f"`{name}`",
                # Our small CNN and the LSTMs have fixed layers; the CNN's width is fixed, too.
                _pair(used["width"], published.width) if used["width"] else "–",
                _pair(used["num_layers"], published.num_layers) if experiment.network in _DEEP else "–",
                _pair(training["steps"], published.training.steps),
                _pair(masks["steps"], published.masks.steps),
                _pair(masks["mask_samples"], published.masks.mask_samples),
                _pair(masks["learning_rate"], published.masks.learning_rate),
                _pair(masks["sparsity"], published.masks.sparsity),
                f"{seconds.mean():.0f} s",
            ]
        )
    header = ["command", "width", "layers", "training steps", "mask steps", "mask samples", "mask rate", "alpha"]
    return table([*header, "CPU per seed"], lines)


def _pair(used: float, published: float) -> str:
    return f"{used:g}" if used == published else f"{used:g} ({published:g})"


def make_shortcut_table(rows: pd.DataFrame, experiment: str) -> str:
    """Return IoU of class and attribute by layer, before and after PruSC, with the yardstick."""
    figures = Figures(rows, experiment)
    if not figures.seeds:
        raise KeyError(experiment)
    lines = []
    for layer in figures.names("before/iou/"):
        cells = [f"`{layer}`" if layer != ALL else layer]
        for when in ("before", "after"):
            cells.append(str(figures.estimate(f"{when}/iou/{layer}")))
            names = ("class", "attribute")
            cells.append(str(figures.estimate(*(f"{when}/stability/{layer}/{name}" for name in names))))
        lines.append(cells)
    header = ["layer", "before: class and sticker", "before: two seeds", "after: class and sticker", "after: two seeds"]
    return table(header, lines)


def make_skill_table(rows: pd.DataFrame, experiment: str) -> str:
    """Return the accuracies of the network and of each mask on class and sticker, before and after PruSC."""
    figures = Figures(rows, experiment)
    lines = []
    for when in ("before", "after"):
        for mask in ("no mask", "class", "attribute"):
            cells = [str(figures.estimate(f"{when}/accuracy/{mask}/{name}")) for name in ("class", "attribute")]
            density = ""
            if mask != "no mask":
                density = f"{100 * figures.estimate(f'{when}/density/{ALL}/{mask}').mean:.0f}"
            lines.append([f"{when} PruSC", mask if mask == "no mask" else f"mask of the {mask}", *cells, density])
    return table(["network", "mask", "accuracy on the class", "accuracy on the sticker", "weights kept"], lines)


def make_speed_table() -> str:
    """Return the ratios that benchmarks/function_masks.py has measured."""
    figures = json.loads(SPEED.read_text("utf-8"))
    kinds = {"fnn": "FNN 4 x 256", "smallcnn": "SmallCNN, 28 px"}
    lines = [
        [title, f"{figures[f'many_to_single_{key}']:.2f}", f"{figures[f'vmap_to_slices_{key}']:.2f}"]
        for key, title in kinds.items()
    ]
    return table(["network", "four masks / four single masks", "step with vmap / step with slices"], lines)


def draw_shortcut(rows: pd.DataFrame, experiment: str, image: Path) -> None:
    """Draw IoU of class and attribute by layer, before and after PruSC, beside the IoU of two seeds."""
    from matplotlib.figure import Figure as Canvas

    figures = Figures(rows, experiment)
    layers = figures.names("before/iou/")
    canvas = Canvas(figsize=(7.5, 0.9 + 0.55 * len(layers)), layout="constrained")
    axes = canvas.subplots()
    for offset, when, colour in ((-0.17, "before", "#d55e00"), (0.17, "after", "#0072b2")):
        for row, layer in enumerate(layers):
            iou = figures.estimate(f"{when}/iou/{layer}")
            same = figures.estimate(*(f"{when}/stability/{layer}/{name}" for name in ("class", "attribute")))
            label = f"class and sticker, {when} PruSC" if row == 0 else None
            axes.barh(row + offset, 100 * iou.mean, height=0.3, color=colour, alpha=0.75, label=label)
            axes.plot([100 * max(iou.low, 0), 100 * min(iou.high, 1)], [row + offset] * 2, color="black", linewidth=0.9)
            label = f"two seeds of one function, {when}" if row == 0 else None
            axes.plot(
                100 * same.mean, row + offset, marker="D", linestyle="", markersize=6, color=colour, label=label,
                markeredgecolor="black",
            )  # fmt: skip
    axes.set_yticks(range(len(layers)), layers)
    axes.set(xlim=(0, 100), ylim=(len(layers) - 0.5, -0.5), xlabel="IoU of the masks, in %, with 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    canvas.legend(loc="outside upper center", ncols=2, frameon=False)
    image.parent.mkdir(exist_ok=True)
    canvas.savefig(image, dpi=130)


def write_pages(rows: pd.DataFrame, settings: Mapping[str, Any]) -> None:
    """Write the tables and the figure, as far as there are figures for them."""
    texts: Sequence[tuple[str, Callable[[], str]]] = (
        ("claims", lambda: make_claims_table(rows)),
        ("settings", lambda: make_settings_table(rows, settings)),
        ("shortcut", lambda: make_shortcut_table(rows, FASHION)),
        ("skill", lambda: make_skill_table(rows, FASHION)),
        ("isic shortcut", lambda: make_shortcut_table(rows, ISIC)),
        ("isic skill", lambda: make_skill_table(rows, ISIC)),
        ("speed", make_speed_table),
    )
    for name, make in texts:
        try:
            insert(PAGE, f"modularity {name}", make())
        except (KeyError, FileNotFoundError) as error:
            print(f"no figures yet for the table {name}: {error}")
    for name, image in ((FASHION, IMAGE), (ISIC, ISIC_IMAGE)):
        if len(Figures(rows, name).rows):
            draw_shortcut(rows, name, image)
