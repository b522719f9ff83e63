"""Representations that are extracted once, although several stages need them."""

from collections.abc import Callable, Hashable

from prusc.stages.representations import Representations

ERM = "dense"
"""Key of the ERM network."""

_MAX_BYTES = 2**28


class KeptRepresentations:
    """Keeps the representations of networks that no longer change, up to a size; what is too large is made again.

    Several processes keep the same ones, so that all of them extract what is missing.

    Args:
        max_bytes: Size of all that is kept.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._kept: dict[Hashable, Representations] = {}
        self._left = max_bytes

    def take(self, network: Hashable, split: str, extract: Callable[[], Representations]) -> Representations:
        """Return the representations of a split.

        Args:
            network: Identifies the network.
            split: Name of the split.
            extract: Extracts them, without augmentation.
        """
        key = network, split
        if key in self._kept:
            return self._kept[key]
        found = extract()
        size = found.values.nbytes + found.logits.nbytes
        if size <= self._left:
            self._kept[key] = found
            self._left -= size
        return found
