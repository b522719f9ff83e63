"""Runs of prusc modularity of a second, on striped images."""

from dataclasses import replace

from prusc.config import FunctionMaskConfig, ModularityConfig, RunConfig
from tests.run_folders import TINY

QUICK_MASKS = FunctionMaskConfig(steps=2, batch_size=8, mask_samples=2, learning_rate=1.0, require_skill=False)


def tiny(by: str = "class") -> RunConfig:
    return replace(TINY, modularity=ModularityConfig(by=by, masks=QUICK_MASKS))
