"""What a remedy is given, made from small data."""

import copy
from dataclasses import replace
from typing import Any

from prusc import RunConfig
from prusc.config import ClusteringConfig, ERMConfig, RuntimeConfig
from prusc.data import Data
from prusc.methods import MethodInputs, find_method
from prusc.methods.apply import _make_inputs
from prusc.runs.session import find_original, open_run
from tests.networks import striped_data

SMALL = RunConfig(
    erm=ERMConfig(epochs=2, batch_size=16),
    clustering=ClusteringConfig(num_clusters=3),
    runtime=RuntimeConfig(device="cpu"),
)


def make_inputs(method: str, data: Data | None = None, **settings: Any) -> MethodInputs:
    """Return what the remedy is given after a short ERM training."""
    config = replace(SMALL, method=method, **settings)
    run = open_run(None, data or striped_data(), config, out=None, force=False, progress=None)
    untrained = copy.deepcopy(run.network)
    return _make_inputs(find_method(method), run, find_original(run), untrained)
