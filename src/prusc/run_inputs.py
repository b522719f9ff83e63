"""What a run is made from, by its settings: checked early, and loaded."""

from dataclasses import replace

from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import Data, load_data
from prusc.errors import RunFolderError
from prusc.models import build_model, check_model_name, load_weights, model_normalisation, read_weights
from prusc.progress import Progress
from prusc.runtime import stage_generator


def read_run_weights(config: RunConfig) -> dict[str, Tensor] | None:
    """Check the names that the settings give, which takes no time, and read the weights."""
    check_model_name(config.model)
    if config.clustering.from_csv is not None and not config.clustering.from_csv.is_file():
        raise RunFolderError(f"cluster file {config.clustering.from_csv} does not exist")
    source = config.trained or config.weights
    return None if source is None else read_weights(source)


def build_run_model(config: RunConfig, num_classes: int, weights: dict[str, Tensor] | None) -> nn.Module:
    """Build the network that the settings name, with the weights that `read_run_weights` gave."""
    model = build_model(config.model, num_classes, generator=stage_generator(config.seed, "model"))
    if weights is not None:
        load_weights(model, weights, source=str(config.trained or config.weights), new_head=config.trained is None)
    return model


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
