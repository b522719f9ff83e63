"""Presets: the settings that were published with PruSC."""

from prusc.config import (
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    PseudoAttributeConfig,
    RunConfig,
)
from prusc.errors import ConfigError, nearest_names

_BATCH_SIZE = 64


def get_preset(name: str) -> RunConfig:
    """Return the settings of a preset.

    Args:
        name: One of `PRESETS`.

    Returns:
        All settings; ``data`` is the usual name of the data set's folder.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}{nearest_names(name, PRESETS)}; known are {', '.join(PRESETS)}")
    return PRESETS[name]


def _published(data: str, *, num_train: int, num_val: int, num_clusters: int = 16) -> RunConfig:
    """Return the settings of the paper's public code, as far as our settings can express them.

    The public code counts its stages in epochs, ours are counted in steps. The published numbers of samples convert one
    into the other: 10,000 steps of ERM, then 20 epochs of masks and 5 of fine-tuning. The last two use the half of the
    validation split that the de-biasing set draws from. docs/how-to/papers-code.md lists what was published
    and what had to be filled in.

    References:
        Le et al. 2024, arXiv:2407.14974, and its public code.
    """
    epoch = _num_batches(num_val // 2)
    return RunConfig(
        data=data,
        # timm's name of torchvision's first ImageNet weights.
        model="resnet50.tv_in1k",
        pretrained=True,
        data_options=DataConfig(image_size=256, crop_size=224),
        erm=ERMConfig(
            epochs=max(1, round(10_000 / _num_batches(num_train))),
            batch_size=_BATCH_SIZE,
            learning_rate=1e-4,
            flip=True,
            min_crop_scale=0.7,
        ),
        pseudo_attribute=PseudoAttributeConfig(source="clusters"),
        clustering=ClusteringConfig(num_clusters=num_clusters, checkpoint=None),
        debiasing_set=DebiasingSetConfig(split="val"),
        masks=MaskConfig(
            steps=20 * epoch,
            batch_size=_BATCH_SIZE,
            learning_rate=1e-2,
            initial_logit=1.5,
            head=True,
            beta=0.1,
            negatives="cluster",
            sparsity_term="sum-of-logits",
            sparsity=1e-8,
            snapshots=1,
        ),
        finetune=FinetuneConfig(
            head_l2=(), learning_rates=(1e-2,), steps=5 * epoch, batch_size=_BATCH_SIZE, weight_decay=0.0
        ),
    )


def _num_batches(num_samples: int) -> int:
    return -(-num_samples // _BATCH_SIZE)


PRESETS = {
    "celeba": _published("celeba", num_train=162_770, num_val=19_867),
    "waterbirds": _published("waterbird_complete95_forest2water2", num_train=4_795, num_val=1_199),
    # The authors did not publish which images of ISIC's archive they used.
    # These are the numbers of HAM10000 in docs/results/real-images.md.
    "isic": _published("isic", num_train=5_980, num_val=997, num_clusters=8),
}

PRESET_TEXTS = {
    "celeba": "settings that were published with PruSC",
    "waterbirds": "settings that were published with PruSC",
    "isic": "settings that were published with PruSC, for HAM10000",
}
"""What each preset is, in a few words."""
