"""Settings of the pseudo-attribute and of the sources that train a model of their own, and their defaults."""

from dataclasses import dataclass, field
from typing import Literal

from prusc.config.checks import require


@dataclass(frozen=True)
class TwinsConfig:
    """Twin heads of XRM, trained to agree with each other's mistakes.

    Each draw has its own learning rate, weight decay and batch size. The draw with the most environments counts, then
    the one with the highest flip rate.

    Attributes:
        draws: Number of draws of the settings.
        steps: Number of steps of stochastic gradient descent with momentum 0.9.
        learning_rates: Logarithms (base 10) of the smallest and the largest learning rate.
        weight_decays: Logarithms (base 10) of the smallest and the largest weight decay.
        batch_sizes: Logarithms (base 2) of the smallest and the largest batch size.
        feature_length: Root mean square length of the standardised features. The learning rates are those that were
            published for ResNet-50, whose features are about so long.
    """

    draws: int = 10
    steps: int = 5000
    learning_rates: tuple[float, float] = (-5.0, -3.0)
    weight_decays: tuple[float, float] = (-6.0, -3.0)
    batch_sizes: tuple[float, float] = (5.0, 7.0)
    feature_length: float = 20.0

    def __post_init__(self) -> None:
        require(self.draws >= 1, "twins.draws", self.draws, "at least 1")
        require(self.steps >= 1, "twins.steps", self.steps, "at least 1")
        for name in ("learning_rates", "weight_decays", "batch_sizes"):
            low, high = getattr(self, name)
            require(low <= high, f"twins.{name}", (low, high), "ascending")
        require(self.batch_sizes[0] >= 0, "twins.batch_sizes", self.batch_sizes, "at least 0")
        require(self.feature_length > 0, "twins.feature_length", self.feature_length, "greater than 0")


@dataclass(frozen=True)
class BiasedConfig:
    """A biased linear head or network, trained with the generalised cross-entropy.

    Attributes:
        q: Exponent of the loss; the larger it is, the less the hard samples count.
        l2: Strength of the regularisation of a biased head.
        folds: Number of folds. A training sample is predicted by a head that was fitted without its fold.
        epochs: Passes of a biased network over the training split.
    """

    q: float = 0.7
    l2: float = 0.1
    folds: int = 5
    epochs: int = 1

    def __post_init__(self) -> None:
        require(0 < self.q <= 1, "biased.q", self.q, "in (0, 1]")
        require(self.l2 > 0, "biased.l2", self.l2, "greater than 0")
        require(self.folds >= 2, "biased.folds", self.folds, "at least 2")
        require(self.epochs >= 1, "biased.epochs", self.epochs, "at least 1")


@dataclass(frozen=True)
class PseudoAttributeConfig:
    """What stands in for the spurious attribute that nobody labelled.

    Attributes:
        source: Where it comes from. ``auto`` compares the linear model and the clusters, and takes the one on whose
            conflicting validation samples the network fails most clearly. ``linear``: cross-fitted predictions of a
            linear model on the representations of `clustering.checkpoint`. ``clusters``: clusters of these (see
            clustering). ``twins``: two linear heads that learn each other's mistakes. ``biased``: a linear head that
            learns the easy samples. Clusters of your own (clustering.from_csv) replace them all.
        l2: Strength of the regularisation of the linear model. The stronger, the less it knows but the shortcut.
        folds: Number of folds; a training sample is predicted by a linear model that has not seen its fold.
        twins: Twin heads.
        biased: A biased head.
    """

    source: Literal["auto", "linear", "clusters", "twins", "biased"] = "auto"
    l2: float = 0.1
    folds: int = 5
    twins: TwinsConfig = field(default_factory=TwinsConfig)
    biased: BiasedConfig = field(default_factory=BiasedConfig)

    def __post_init__(self) -> None:
        require(self.l2 > 0, "pseudo_attribute.l2", self.l2, "greater than 0")
        require(self.folds >= 2, "pseudo_attribute.folds", self.folds, "at least 2")

    @property
    def compared(self) -> tuple[str, ...]:
        """The sources to compare."""
        return ("linear", "clusters") if self.source == "auto" else (self.source,)
