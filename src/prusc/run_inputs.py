"""What a run is made from, by its settings: checked early, and loaded."""

from dataclasses import replace
from pathlib import Path

from prusc.config import RunConfig
from prusc.data import Data, load_data
from prusc.errors import RunFolderError
from prusc.models import build_model, model_normalisation, read_weights
from prusc.progress import Progress
from prusc.runtime import stage_generator


def check_inputs(config: RunConfig) -> None:
    """Build the network once before anything is written, so that a wrong name or file costs no time."""
    if config.trained is not None or config.weights is not None:
        read_weights(config.trained or config.weights or Path())
    if config.clustering.from_csv is not None and not config.clustering.from_csv.is_file():
        raise RunFolderError(f"cluster file {config.clustering.from_csv} does not exist")
    if config.model != "small-cnn":
        build_model(config.model, 2, generator=stage_generator(config.seed, "check"))


def load_run_data(config: RunConfig, progress: Progress) -> Data:
    """Load the data that the settings name, normalised as the network was trained."""
    options = config.data_options
    seed = options.data_seed
    if config.data == "fashion-stickers" and seed is None:
        seed = config.seed
    data = load_data(
        config.data,
        correlation=options.correlation,
        data_seed=seed,
        target=options.target,
        attributes=options.attributes,
        image_size=options.image_size,
        memory_limit_bytes=int(options.memory_limit_gib * 2**30),
        progress=lambda done, total: progress.advance("reading images", done, total),
    )
    normalisation = model_normalisation(config.model)
    if normalisation is not None:
        data = replace(data, mean=normalisation[0], std=normalisation[1])
    return data
