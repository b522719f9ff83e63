"""What a remedy is given, made from small data."""

import copy
from dataclasses import replace
from typing import Any

from prusc import RunConfig
from prusc.config import ClusteringConfig, ERMConfig, RuntimeConfig
from prusc.data import Data
from prusc.methods import MethodInputs, find_method
from prusc.methods.trained import make_inputs as make_method_inputs
from prusc.runs.session import open_session
from prusc.runs.start import start_run
from tests.networks import striped_data

SMALL = RunConfig(
    erm=ERMConfig(epochs=2, batch_size=16),
    clustering=ClusteringConfig(num_clusters=3),
    runtime=RuntimeConfig(device="cpu"),
)


def make_inputs(method: str, data: Data | None = None, **settings: Any) -> MethodInputs:
    """Return what the remedy is given after a short ERM training."""
    config = replace(SMALL, method=method, **settings)
    session = open_session(None, data or striped_data(), config, out=None, force=False, progress=None)
    untrained = copy.deepcopy(session.network)
    return make_method_inputs(find_method(method), session, start_run(session), untrained)
