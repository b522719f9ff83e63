"""Twin heads as source of the pseudo-attribute: two linear heads that learn each other's mistakes (XRM)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.config import TwinsConfig
from prusc.data.rows import HELD_VALUES, StoredRows, iterate_blocks, measure_columns
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError

_MOMENTUM = 0.9


@dataclass(frozen=True, eq=False)
class TwinIds:
    """What the twins predict: values of a pseudo-attribute.

    A value is a class: that of the sample if both twins are right about it, else the other class that they take the
    sample for. So it says in which environment of XRM a sample is, and keeps the direction of the mistake.

    Attributes:
        train: Value of each training sample, in ``[0, num_classes)``.
        val: Value of each validation sample.
        flip_rate: Share of the training samples whose dynamic label differs from their class at the end.
        is_complete: Whether each class has samples of both environments in both splits. If not, the environments show
            no shortcut in some class.
    """

    train: Int[Tensor, " train"]
    val: Int[Tensor, " val"]
    flip_rate: float
    is_complete: bool


@dataclass(frozen=True, eq=False)
class TwinSettings:
    """Settings of each draw.

    Attributes:
        rates: Learning rates.
        decays: Weight decays.
        sizes: Batch sizes.
    """

    rates: Float[Tensor, " draws"]
    decays: Float[Tensor, " draws"]
    sizes: Int[Tensor, " draws"]


def draw_settings(config: TwinsConfig, generator: torch.Generator) -> TwinSettings:
    """Draw the settings of the twins: their logarithms are uniform."""
    uniform = torch.rand(3, config.draws, generator=generator)
    ranges = torch.tensor([config.learning_rates, config.weight_decays, config.batch_sizes])
    rates, decays, sizes = ranges[:, :1] + uniform * (ranges[:, 1:] - ranges[:, :1])
    return TwinSettings(10**rates, 10**decays, (2**sizes).long())


def flip_probabilities(probabilities: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """Return the probability that a sample takes over the prediction of its held-out twin.

    Args:
        probabilities: Class probabilities of the held-out twin.

    Returns:
        ``(p - 1 / C) * C / (C - 1)`` for the confidence p of C classes, in [0, 1].

    References:
        Pezeshki et al. 2023, arXiv:2309.16748, equation 4.
    """
    num_classes = probabilities.shape[-1]
    confidence = probabilities.max(dim=-1).values
    return ((confidence - 1 / num_classes) * num_classes / (num_classes - 1)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class ScaledFeatures:
    """Features as twins see them: standardised, of a mean length, with a constant. They are scaled when they are read.

    Attributes:
        rows: The raw features, in memory or on disk.
        mean: What is subtracted from each unit.
        scale: What it is multiplied with.
    """

    rows: Tensor | StoredRows
    mean: Float[Tensor, " dim"]
    scale: Float[Tensor, " dim"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of samples, and of units with the constant."""
        return len(self.rows), self.rows.shape[1] + 1

    def __getitem__(self, samples: Int[Tensor, " chosen"]) -> Float[Tensor, "chosen dim_and_1"]:
        return self._apply(self.rows[samples])

    def iterate(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the features block by block, with their positions."""
        for here, block in iterate_blocks(self.rows):
            yield here, self._apply(block)

    def _apply(self, block: Tensor) -> Tensor:
        scaled = ((block.double() - self.mean) * self.scale).float()
        return torch.cat([scaled, torch.ones(len(block), 1)], dim=1)


def train_twins(
    features: Float[Tensor, "samples dim"] | ScaledFeatures,
    labels: Int[Tensor, " samples"],
    own: Int[Tensor, "draws samples"],
    settings: TwinSettings,
    *,
    num_classes: int,
    steps: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "draws 2 classes dim"], Int[Tensor, "draws samples"]]:
    """Train the twin heads of all draws at once, from zero, by stochastic gradient descent.

    The loss of a batch is the sum over the classes of the mean cross-entropy of each sample's own twin. It takes the
    dynamic labels, which begin as the classes. After each step a sample may take over the prediction of its held-out
    twin for good; see `flip_probabilities`.

    Args:
        features: With a constant column for the bias.
        labels: Class of each sample.
        own: Twin that learns from each sample, 0 or 1.
        settings: Learning rate, weight decay and batch size of each draw.
        num_classes: Number of classes.
        steps: Number of steps.
        generator: Draws the batches and decides which labels flip.

    Returns:
        The heads and the dynamic labels.

    References:
        Pezeshki et al. 2023, arXiv:2309.16748, algorithm 1.
    """
    num_draws, num_samples = own.shape
    heads = torch.zeros(num_draws, 2, num_classes, features.shape[1])
    velocity = torch.zeros_like(heads)
    dynamic = labels.repeat(num_draws, 1)
    largest = int(settings.sizes.max())
    counts = torch.arange(largest) < settings.sizes[:, None]
    rates, decays = settings.rates.view(-1, 1, 1, 1), settings.decays.view(-1, 1, 1, 1)
    for _ in range(steps):
        # All draws share the samples, of which each takes as many as its batch holds: one product instead of many.
        batch = torch.randint(num_samples, (largest,), generator=generator)
        uniform = torch.rand(num_draws, largest, generator=generator)
        inputs, targets = features[batch], dynamic[:, batch]
        of_twin = F.one_hot(own[:, batch], 2).float()[..., None]
        logits = (inputs @ heads.flatten(0, 2).T).view(largest, num_draws, 2, num_classes).transpose(0, 1)
        probabilities = logits.softmax(dim=3)
        of_own, of_other = (probabilities * of_twin).sum(dim=2), (probabilities * (1 - of_twin)).sum(dim=2)
        one_hot = F.one_hot(targets, num_classes).float() * counts[..., None]
        weights = (one_hot / one_hot.sum(dim=1, keepdim=True).clamp(min=1)).sum(dim=2, keepdim=True)
        slopes = (weights * (of_own - one_hot))[:, :, None] * of_twin
        gradients = (slopes.transpose(0, 1).flatten(1).T @ inputs).view_as(heads)
        velocity.mul_(_MOMENTUM).add_(gradients).add_(decays * heads)
        heads -= rates * velocity
        flips = (uniform < flip_probabilities(of_other)) & counts
        of_draw, position = flips.nonzero(as_tuple=True)
        # A sample that was drawn twice takes over the same prediction.
        dynamic[of_draw, batch[position]] = of_other.argmax(dim=2)[flips]
    return heads, dynamic


def infer_by_twins(
    features_train: Float[Tensor, "train dim"] | StoredRows,
    labels_train: Int[Tensor, " train"],
    features_val: Float[Tensor, "val dim"] | StoredRows,
    labels_val: Int[Tensor, " val"],
    config: TwinsConfig | None = None,
    generator: torch.Generator | None = None,
) -> TwinIds:
    """Infer a pseudo-attribute by cross risk minimisation (XRM) of two linear heads on frozen features.

    Each training sample is given to one of two twins at random. Wrong labels spread from one to the other, so the twins
    agree on the shortcut. Environments are the samples that a twin gets wrong, and the rest. Of several draws of the
    settings the one counts whose classes have both environments; among these the one with the highest flip rate.

    Args:
        features_train: Frozen features, such as representations of the network before its training; any scale.
        labels_train: Class of each training sample.
        features_val: Features of the validation split.
        labels_val: Class of each validation sample.
        config: Settings; the published ones if ``None``.
        generator: Source of all draws; seed 0 if ``None``.

    Returns:
        The pseudo-attribute of both splits.

    Raises:
        DataError: If the training samples have fewer than two classes.

    References:
        Pezeshki et al. 2023, arXiv:2309.16748.

    Example:
        >>> import torch
        >>> from prusc.config import TwinsConfig
    from prusc.data.rows import HELD_VALUES, StoredRows, iterate_blocks, measure_columns
        >>> source = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(200) % 2
        >>> shortcut = torch.where(torch.arange(200) < 180, labels, 1 - labels)
        >>> features = shortcut[:, None] + 0.1 * torch.randn(200, 3, generator=source)
        >>> found = infer_by_twins(features, labels, features, labels, TwinsConfig(steps=300), source)
        >>> bool((found.train == shortcut).all())
        True
    """
    config, generator = config or TwinsConfig(), generator or stage_generator(0, "twins")
    if len(labels_train.unique()) < 2:
        raise DataError(f"twins need training samples of at least two classes, found {len(labels_train.unique())}")
    num_classes = int(max(labels_train.max(), labels_val.max())) + 1
    train, val = _scale(features_train, features_val, config.feature_length)
    own = torch.randint(2, (config.draws, len(train)), generator=generator)
    settings = draw_settings(config, generator)
    heads, dynamic = train_twins(
        train, labels_train, own, settings, num_classes=num_classes, steps=config.steps, generator=generator
    )
    flip_rates = torch.stack([(own_labels != labels_train).double().mean() for own_labels in dynamic])
    found = list(zip(_read_ids(train, labels_train, heads), _read_ids(val, labels_val, heads), strict=True))
    num_environments = [
        _count_environments(labels_train, of_train) + _count_environments(labels_val, of_val)
        for of_train, of_val in found
    ]
    best = max(range(config.draws), key=lambda draw: (num_environments[draw], flip_rates[draw].item()))
    most = 2 * (len(labels_train.unique()) + len(labels_val.unique()))
    return TwinIds(*found[best], flip_rates[best].item(), num_environments[best] == most)


def _scale(
    train: Float[Tensor, "train dim"] | StoredRows, val: Float[Tensor, "val dim"] | StoredRows, length: float
) -> tuple[Tensor | ScaledFeatures, Tensor | ScaledFeatures]:
    """Standardise both by the training split, give the vectors the mean length, and append a constant."""
    mean, std = measure_columns(train)
    # A unit that is constant up to rounding would be noise divided by almost 0.
    alive = std > 1e-8 + 1e-6 * mean.abs()
    scale = torch.where(alive, length / std.clamp(min=1e-8) / max(int(alive.sum()), 1) ** 0.5, 0.0)
    of_train, of_val = ScaledFeatures(train, mean, scale), ScaledFeatures(val, mean, scale)
    if len(train) * train.shape[1] > HELD_VALUES:
        return of_train, of_val
    return of_train[torch.arange(len(train))], of_val[torch.arange(len(val))]


def _read_ids(
    features: Float[Tensor, "samples dim"] | ScaledFeatures,
    labels: Int[Tensor, " samples"],
    heads: Float[Tensor, "draws 2 classes dim"],
) -> Int[Tensor, "draws samples"]:
    """Return for each draw the class of each sample if both twins are right, else the most probable other class."""
    found = torch.empty(len(heads), len(labels), dtype=labels.dtype)
    blocks = features.iterate() if isinstance(features, ScaledFeatures) else iterate_blocks(features)
    for here, block in blocks:
        for draw, own in enumerate(heads):
            probabilities = torch.einsum("nd,tcd->tnc", block, own).softmax(dim=2)
            wrong: Bool[Tensor, " block"] = (probabilities.argmax(dim=2) != labels[here]).any(dim=0)
            rivals = probabilities.mean(dim=0).scatter(1, labels[here, None], -1.0).argmax(dim=1)
            found[draw, here] = torch.where(wrong, rivals, labels[here])
    return found


def _count_environments(labels: Int[Tensor, " samples"], ids: Int[Tensor, " samples"]) -> int:
    """Return the number of non-empty pairs of class and environment; at most two for each class."""
    return len((2 * labels + (ids != labels)).unique())
