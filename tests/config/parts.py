"""Every class of settings."""

from prusc.config import (
    AuditConfig,
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    RunConfig,
    RuntimeConfig,
    SelectionConfig,
    StickerConfig,
)

PARTS = [
    DataConfig,
    StickerConfig,
    ERMConfig,
    ClusteringConfig,
    DebiasingSetConfig,
    MaskConfig,
    FinetuneConfig,
    SelectionConfig,
    AuditConfig,
    RuntimeConfig,
    RunConfig,
]
