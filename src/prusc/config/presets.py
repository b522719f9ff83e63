"""Presets: the settings that were published with PruSC, and those of our own experiments."""

from dataclasses import replace

from prusc.config import (
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    RunConfig,
    RuntimeConfig,
    StickerConfig,
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
        clustering=ClusteringConfig(num_clusters=num_clusters, checkpoint=None),
        debiasing_set=DebiasingSetConfig(split="val"),
        masks=MaskConfig(
            steps=20 * epoch,
            batch_size=_BATCH_SIZE,
            learning_rate=1e-2,
            initial_logit=1.5,
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


def _mobilenet(
    data: str, data_options: DataConfig, debiasing_set: DebiasingSetConfig, finetune: FinetuneConfig
) -> RunConfig:
    """Return the settings of our own experiments on photographs: a small ImageNet network at 96 px.

    Decisions 6 to 8 in docs/decisions explain the settings.
    """
    return RunConfig(
        data=data,
        model="torchvision/mobilenet_v2",
        pretrained=True,
        data_options=data_options,
        erm=ERMConfig(epochs=4, batch_size=_BATCH_SIZE, learning_rate=1e-3, flip=True),
        clustering=ClusteringConfig(num_clusters=2, checkpoint=0),
        debiasing_set=replace(debiasing_set, min_crop_scale=0.5),
        masks=MaskConfig(
            steps=400,
            batch_size=_BATCH_SIZE,
            learning_rate=0.05,
            initial_logit=1.0,
            beta=0.0,
            exclude=("classifier.*",),
        ),
        finetune=replace(finetune, batch_size=_BATCH_SIZE, learning_rates=(3e-4,)),
        # On a CPU this layout halves the time of this network's steps.
        runtime=RuntimeConfig(channels_last=True),
    )


PRESETS = {
    "celeba": _published("celeba", num_train=162_770, num_val=19_867),
    "waterbirds": _published("waterbird_complete95_forest2water2", num_train=4_795, num_val=1_199),
    # The authors did not publish which images of ISIC's archive they used.
    # These are the numbers of HAM10000 in docs/results/real-images.md.
    "isic": _published("isic", num_train=5_980, num_val=997, num_clusters=8),
    "celeba-mobilenet": _mobilenet(
        "celeba",
        DataConfig(image_size=96),
        DebiasingSetConfig(border_share=0.33, final_clusters=8),
        FinetuneConfig(head_l2=(1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)),
    ),
    "isic-mobilenet": _mobilenet(
        "isic",
        DataConfig(image_size=96, keep_together="lesion_id", stickers=StickerConfig(train_shares=(0.5, 0.03))),
        DebiasingSetConfig(),
        FinetuneConfig(head_l2=(10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4), head_views=2),
    ),
}
