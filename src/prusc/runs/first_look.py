"""A first look at a given network: its accuracy at once, and whether other preprocessing suits it far better."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from prusc.data.batches import take_inputs
from prusc.data.normalisation import name_normalisation, usual_normalisations
from prusc.data.table import Split
from prusc.engine.feed import Feed
from prusc.runs.session import Session
from prusc.stages.class_order import ClassOrder, find_class_order
from prusc.stages.representations import predict

_MAX_SAMPLES, _MAX_TRIED = 512, 128
# Another normalisation is far better if it is right on this share of samples more, and by this many standard errors.
_MIN_GAIN, _MIN_ERRORS = 0.05, 3.0


@dataclass(frozen=True, eq=False)
class FirstLook:
    """What a network does on some validation samples.

    Attributes:
        labels: Class of each sample.
        predictions: Prediction for each sample.
        num_val: Number of all validation samples.
        class_names: Name of each class.
        normalisation: Name of the normalisation; ``None`` if the inputs go to the network as they are.
        side: Height of the images in pixels; 0 for other inputs.
        better: Name of the usual normalisation that is far better, and the accuracies with this and with the one in use
            on the samples where both were tried; ``None`` if no normalisation is.
    """

    labels: Int[Tensor, " samples"]
    predictions: Int[Tensor, " samples"]
    num_val: int
    class_names: tuple[str, ...]
    normalisation: str | None
    side: int
    better: tuple[str, float, float] | None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def accuracy(self) -> float:
        """Share of the samples with a right prediction."""
        return (self.predictions == self.labels).double().mean().item()

    @property
    def is_near_chance(self) -> bool:
        """Whether the mean accuracy over the classes is within two standard errors of guessing, or lower."""
        counts = torch.bincount(self.labels, minlength=self.num_classes).double()
        right = torch.bincount(self.labels[self.predictions == self.labels], minlength=self.num_classes).double()
        present, chance = counts > 0, 1 / self.num_classes
        accuracies = right[present] / counts[present]
        error = (chance * (1 - chance) / counts[present]).sum().sqrt().item() / len(accuracies)
        return accuracies.mean().item() < chance + 2 * error

    def describe(self) -> str:
        """Describe the accuracy in one line."""
        num = len(self.labels)
        which = f"the {num}" if num == self.num_val else f"{num} of the {self.num_val}"
        how = "inputs as your data give them"
        if self.normalisation is not None:
            how = f"images of {self.side} px normalised with {self.normalisation}"
        return f"your network: {100 * self.accuracy:.1f} % on {which} validation samples, {how}; is that what you know?"

    def warnings(self) -> list[str]:
        """Return what looks wrong, a sentence each."""
        found = []
        if self.is_near_chance:
            advice = (
                "the order of the classes and how the network's inputs were preprocessed"
                if self.normalisation is None
                else "the normalisation (data_options.mean, .std, .interpolation, .crop_pct), the size of the images "
                "and the order of the classes"
            )
            found.append(
                f"your network is about as good as guessing one of {self.num_classes} classes; unless you expect that, "
                f"check {advice}"
            )
        order = find_class_order(self.predictions, self.labels, self.num_classes)
        if order.fits_better:
            found.append(_describe_order(order, self.class_names))
        if self.better is not None:
            name, accuracy, before = self.better
            found.append(
                f"with {name} your network would reach {100 * accuracy:.1f} % instead of {100 * before:.1f} %; if it "
                "was trained with that, give it: data_options.mean and data_options.std"
            )
        return found


def look_first(session: Session, network: nn.Module) -> FirstLook:
    """Log the accuracy of a given network, and warn if its inputs seem to be prepared wrongly."""
    look = take_first_look(network, session.feed.of(session.data.val), session.data.class_names)
    session.log(look.describe())
    made = session.data.origin.get("made_splits", ())
    if "val" in made:
        session.warn(
            "your data have no validation split, so it was taken from the other samples; if your network was trained "
            "on these, its errors are hidden: give validation samples that it has not seen"
        )
    for warning in look.warnings():
        session.warn(warning)
    return look


def take_first_look(network: nn.Module, feed: Feed, class_names: tuple[str, ...]) -> FirstLook:
    """Run a network on some samples of a split, and on fewer of them with other usual normalisations.

    Args:
        network: On the feed's device; not changed.
        feed: The validation split.
        class_names: Name of each class.
    """
    looked = feed.split.subset(_spread(len(feed), _MAX_SAMPLES))
    if not (isinstance(looked.inputs, Tensor) and looked.inputs.dtype != torch.uint8):
        inputs = take_inputs(looked.inputs, torch.arange(len(looked)))
        if isinstance(inputs, Tensor):
            looked = replace(looked, inputs=inputs)  # Read once for all normalisations.
    are_images = isinstance(looked.inputs, Tensor) and looked.inputs.dtype == torch.uint8 and looked.inputs.ndim == 4
    predictions = predict(network, feed.of(looked)).argmax(dim=1)
    return FirstLook(
        labels=looked.labels,
        predictions=predictions,
        num_val=len(feed),
        class_names=class_names,
        normalisation=name_normalisation(feed.transform.mean, feed.transform.std) if are_images else None,
        side=_side_of(looked.inputs, feed.transform.crop_size) if are_images else 0,
        better=_find_better(network, feed, looked, predictions == looked.labels) if are_images else None,
    )


def _describe_order(found: ClassOrder, class_names: tuple[str, ...]) -> str:
    names = [class_names[label] for label in found.best_order]
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"your network would be right on {100 * found.best_accuracy:.1f} % instead of {100 * found.accuracy:.1f} % if "
        f"its outputs stood for the classes in the order {shown}; if it was trained with that order, name it with "
        f"--data-options.classes {' '.join(names[:12])}{' ...' if len(names) > 12 else ''}"
    )


def _side_of(inputs: Any, crop_size: int | None) -> int:
    return int(inputs.shape[2]) if crop_size is None else crop_size


def _spread(total: int, most: int) -> Int[Tensor, " chosen"]:
    """Return at most ``most`` positions, evenly spread, because a split may be sorted by class."""
    return torch.arange(min(total, most)) * total // min(total, most)


def _find_better(
    network: nn.Module, feed: Feed, looked: Split, right: Bool[Tensor, " samples"]
) -> tuple[str, float, float] | None:
    chosen = _spread(len(looked), _MAX_TRIED)
    tried, before = looked.subset(chosen), right[chosen]
    own = name_normalisation(feed.transform.mean, feed.transform.std)
    found: tuple[str, float, float] | None = None
    for name, (mean, std) in usual_normalisations(len(feed.transform.mean)).items():
        if name == own:
            continue
        other = replace(feed, split=tried, transform=replace(feed.transform, mean=mean, std=std))
        after = predict(network, other).argmax(dim=1) == tried.labels
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        # McNemar's test: only samples on which the two differ count.
        far = gained - lost >= max(_MIN_GAIN * len(tried), _MIN_ERRORS * (gained + lost) ** 0.5)
        accuracy = after.double().mean().item()
        if gained and far and (found is None or accuracy > found[1]):
            found = name, accuracy, before.double().mean().item()
    return found
