"""Every class of settings."""

from prusc.config import (
    AuditConfig,
    BiasedConfig,
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    PseudoAttributeConfig,
    RunConfig,
    RuntimeConfig,
    SelectionConfig,
    StickerConfig,
    TwinsConfig,
)

PARTS = [
    DataConfig,
    StickerConfig,
    ERMConfig,
    TwinsConfig,
    BiasedConfig,
    PseudoAttributeConfig,
    ClusteringConfig,
    DebiasingSetConfig,
    MaskConfig,
    FinetuneConfig,
    SelectionConfig,
    AuditConfig,
    RuntimeConfig,
    RunConfig,
]
