"""Any network of the user, turned into one that all stages can work with."""

from typing import Any

import torch
from torch import nn

from prusc.errors import ModelError, PruscError
from prusc.masks import list_changes, plain_network
from prusc.models.calls import to_device
from prusc.models.head import find_head
from prusc.models.outputs import give_logits


def prepare_network(
    model: nn.Module, inputs: Any, num_classes: int, *, title: str, source: str
) -> tuple[nn.Module, list[str]]:
    """Copy a network so that it has plain weights of 32 bits, returns logits and has a head.

    Args:
        model: Any network; it does not change.
        inputs: Two inputs in the form that the network takes.
        num_classes: Number of classes that it must tell apart.
        title: Name of the network, for errors.
        source: Name of the data, for errors.

    Returns:
        The copy, and what was changed, in words.

    Raises:
        ModelError: If the network does not take the inputs, has no head, or has another number of outputs.
    """
    changes = list_changes(model)
    network = plain_network(model)
    kinds = {parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()}
    if kinds - {torch.float32}:
        network = network.float()
        changes.append(f"weights of {', '.join(sorted(map(str, kinds)))} are computed with as torch.float32")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        network.requires_grad_()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    inputs = to_device(inputs, device)
    try:
        changes += give_logits(network, inputs, num_classes)
        find_head(network, inputs, num_classes)
    except PruscError:
        raise
    except Exception as error:  # Networks raise errors of any type for wrong image sizes.
        raise ModelError(
            f"{title} does not take the images of {source!r}: {error}; choose another model, or another "
            "data_options.image_size if these data have that option"
        ) from error
    return network, changes
