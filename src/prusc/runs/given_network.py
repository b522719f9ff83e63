"""What a given network is worth on these data: the first sign of another order of classes or another normalisation."""

from torch import nn

from prusc.data import Data
from prusc.runs.session import Session
from prusc.stages.class_order import ClassOrder, find_class_order
from prusc.stages.representations import predict


def log_given_network(session: Session, network: nn.Module) -> None:
    """Log the accuracy of a given network on validation, and warn where the order of the classes looks wrong."""
    data = session.data
    predictions = predict(network, session.feed.of(data.val)).argmax(dim=1)
    found = find_class_order(predictions, data.val.labels, data.num_classes)
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (data.mean, data.std))
    session.log(
        f"your network: {100 * found.accuracy:.1f} % on validation, images normalised with mean {mean} and std {std}; "
        "is that what you know?"
    )
    if found.fits_better:
        session.log(f"warning: {describe_order(found, data)}")


def describe_order(found: ClassOrder, data: Data) -> str:
    """Describe in a sentence that the classes of a network seem to have another order than those of the data."""
    names = [data.class_names[label] for label in found.best_order]
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"your network would be right on {100 * found.best_accuracy:.1f} % instead of {100 * found.accuracy:.1f} % if "
        f"its outputs stood for the classes in the order {shown}; if it was trained with that order, name it with "
        f"--data-options.classes {' '.join(names[:12])}{' ...' if len(names) > 12 else ''}"
    )
