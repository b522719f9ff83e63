"""Check and load the network and the data that the settings name, before any long work."""

import sys
from dataclasses import replace

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import DEFAULT_IMAGE_SIZE, Data, InputTransform, load_data
from prusc.data.batches import take_inputs
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError, ModelError, PruscError, RunFolderError
from prusc.models.build import build_model, check_model_name, model_image_size, model_normalisation
from prusc.models.head import find_head
from prusc.models.weights import load_weights, read_weights
from prusc.stages.pseudo_attributes.given import read_cluster_csv


def read_run_weights(config: RunConfig) -> dict[str, Tensor] | None:
    """Check the model name and the files of the settings, and read the weights."""
    check_model_name(config.model)
    if config.clustering.from_csv is not None and not config.clustering.from_csv.is_file():
        raise RunFolderError(f"cluster file {config.clustering.from_csv} does not exist or is not a file")
    source = config.trained or config.weights
    return None if source is None else read_weights(source)


def build_run_model(config: RunConfig, data: Data, weights: dict[str, Tensor] | None) -> nn.Module:
    """Build the network of the settings with the weights from `read_run_weights`, and run it on two images."""
    generator = stage_generator(config.seed, "model")
    pretrained = config.pretrained and config.trained is None
    model = build_model(config.model, data.num_classes, generator=generator, pretrained=pretrained)
    if weights is not None:
        source = f"weight file {config.trained or config.weights}"
        load_weights(model, weights, source=source, new_head=config.trained is None)
    transform = InputTransform(data.mean, data.std, crop_size=config.data_options.crop_size)
    images = transform(take_inputs(data.train.inputs, torch.arange(2)))
    try:
        find_head(model, images, data.num_classes)
    except PruscError:
        raise
    except Exception as error:  # Networks raise errors of any type for wrong image sizes.
        raise ModelError(
            f"model {config.model!r} does not take the images of {data.name!r}: {error}; choose another model, or "
            "another data_options.image_size if these data have that option"
        ) from error
    return model


def build_untrained(config: RunConfig, data: Data) -> nn.Module:
    """Build the network of the settings as it was before its training."""
    begin = replace(config, trained=None)
    return build_run_model(begin, data, read_run_weights(begin))


def load_run_data(config: RunConfig, progress: Progress) -> Data:
    """Load the data of the settings with the normalisation of the network, and check the clustering settings."""
    options = config.data_options
    size = model_image_size(config.model)
    data = load_data(
        config.data,
        layout=config.layout,
        skip_bad=config.skip_bad,
        default_seed=config.seed,
        default_image_size=DEFAULT_IMAGE_SIZE if size is None else size,
        memory_limit_bytes=int(min(options.memory_limit_gib * 2**30, sys.maxsize)),
        progress=lambda done, total: progress.advance("reading images", done, total),
        log=progress.log,
        **options.given(),
    )
    normalisation = model_normalisation(config.model)
    if normalisation is not None:
        data = replace(data, mean=normalisation[0], std=normalisation[1])
    _check_clusters(config, data)
    return data


def _check_clusters(config: RunConfig, data: Data) -> None:
    """Raise before the training what clustering would raise after it."""
    clustering, num_samples = config.clustering, len(data.train)
    if clustering.from_csv is not None:
        read_cluster_csv(clustering.from_csv, data.train.labels)
        return
    smallest = min(clustering.candidates) if clustering.num_clusters is None else clustering.num_clusters
    if smallest > num_samples:
        raise DataError(
            f"data {data.name!r} have {num_samples} training samples, fewer than the {smallest} clusters asked for; "
            "lower clustering.num_clusters or add samples"
        )
