"""Weights: copy them into networks, all of them or none."""

from collections.abc import Mapping

from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.models.outputs import widen_to_two
from prusc.models.weight_names import fit_names, is_note


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str, new_head: bool) -> None:
    """Copy weights into a network: all of them or, after an error, none.

    Args:
        model: Network that is changed in place.
        weights: State dict. Its names may differ as in `prusc.models.weight_names.fit_names`.
        source: Name of the weights, for the error.
        new_head: Accept a head with another number of classes, or none; the network then keeps its own head. Otherwise
            a head with one logit becomes one with two.

    Raises:
        ModelError: If keys are missing, unexpected or of another shape, or values are not finite.
    """
    own = model.state_dict()
    weights = fit_names(own, weights)
    missing = [name for name in own if name not in weights and not is_note(name)]
    if new_head and _is_one_layer(own, missing):
        missing = []
    if not new_head:
        weights = {name: _with_two_rows(own.get(name), value) for name, value in weights.items()}
    unexpected = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if new_head and len({name.rpartition(".")[0] for name in reshaped}) == 1:
        # If one layer differs, in its number of rows only, it is a head for other classes. Else it is another network.
        reshaped = [name for name in reshaped if own[name].shape[1:] != weights[name].shape[1:]]
    shapes = [f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}" for name in reshaped]
    problems = [
        f"{kind} {_first_few(names)}"
        for kind, names in (("missing:", missing), ("not in the model:", unexpected), ("of another shape:", shapes))
        if names
    ]
    if problems:
        raise ModelError(
            f"{source} does not fit {type(model).__name__}; {'; '.join(problems)}; name the model "
            "whose weights these are"
        )
    usable = {name: weights[name] for name in own if name in weights and own[name].shape == weights[name].shape}
    parameters = dict(model.named_parameters())
    # A buffer may hold an infinity, as the mask of an attention layer does.
    broken = [k for k, v in usable.items() if bool((~v.isfinite() if k in parameters else v.isnan()).any())]
    if broken:
        raise ModelError(
            f"{source} holds values that are not finite, in {_first_few(broken)}; use an "
            "earlier checkpoint, from before the training diverged"
        )
    model.load_state_dict(usable, strict=False)


def _is_one_layer(own: Mapping[str, Tensor], names: list[str]) -> bool:
    """Whether names are those of the last layer, and of a linear one: then it is the head, which a backbone lacks."""
    layers = {name.rpartition(".")[0] for name in names}
    if len(layers) != 1:
        return False
    last = list(own)[-len(names) :]
    return set(last) == set(names) and all(own[name].ndim in (1, 2) for name in names)


def _with_two_rows(own: Tensor | None, value: Tensor) -> Tensor:
    """Return the head of one logit for two classes as a head of two; any other tensor as it is."""
    is_single = own is not None and own.shape[:1] == (2,) and value.shape == (1, *own.shape[1:]) and own.ndim in (1, 2)
    return widen_to_two(value) if is_single else value


def _first_few(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's state dict on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
