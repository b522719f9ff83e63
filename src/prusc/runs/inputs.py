"""Check and load the network and the data that the settings name, before any long work."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prusc.config import DataConfig, RunConfig
from prusc.data import DEFAULT_IMAGE_SIZE, Data, InputTransform, load_data
from prusc.data.batches import take_inputs
from prusc.data.layouts import check_options
from prusc.data.text import load_text
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.errors import ConfigError, DataError, ModelError, RunFolderError
from prusc.models.build import (
    build_model,
    check_model_name,
    model_image_size,
    model_normalisation,
    model_preprocessing,
)
from prusc.models.checkpoints import FileWeights, read_weights
from prusc.models.model_folders import LOCAL_PREFIX, check_class_order
from prusc.models.prepare import prepare_network
from prusc.models.tokens import load_tokenizer
from prusc.models.weights import load_weights
from prusc.stages.pseudo_attributes.given import read_cluster_csv


def read_run_weights(config: RunConfig) -> FileWeights | None:
    """Check the model name and the files of the settings, and read the weights."""
    check_model_name(config.model)
    if config.clustering.from_csv is not None and not config.clustering.from_csv.is_file():
        raise RunFolderError(f"cluster file {config.clustering.from_csv} does not exist or is not a file")
    source = config.trained or config.weights
    return None if source is None else read_weights(source, config.trained_key)


def build_run_model(
    config: RunConfig, data: Data, weights: FileWeights | None, *, log: Callable[[str], None] | None = None
) -> nn.Module:
    """Build the network of the settings with the weights from `read_run_weights`, and run it on two images.

    Args:
        config: The settings.
        data: The data of the run.
        weights: The weights; ``None`` keeps those that the network is built with.
        log: Called with what was changed for the run.
    """
    generator = stage_generator(config.seed, "model")
    pretrained = config.pretrained and config.trained is None
    model = build_model(config.model, data.num_classes, generator=generator, pretrained=pretrained)
    if config.trained is not None and config.model.startswith(LOCAL_PREFIX):
        check_class_order(config.model, data.class_names)
    if weights is not None:
        model = _load(model, weights, data, config)
        if log is not None and weights.note:
            log(weights.note)
    return prepare_model(model, data, config, title=f"model {config.model!r}", log=log)


def prepare_model(
    model: Any,
    data: Data,
    config: RunConfig,
    *,
    title: str | None = None,
    log: Callable[[str], None] | None = None,
) -> nn.Module:
    """Copy a network so that all stages can work with it; see `prusc.models.prepare.prepare_network`."""
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the network is of type {type(model).__name__}; expected a torch.nn.Module with its weights loaded, or "
            "None and the name of a network in the config"
        )
    transform = InputTransform(data.mean, data.std, crop_size=config.data_options.crop_size)
    inputs = transform(take_inputs(data.train.inputs, torch.arange(min(2, len(data.train)))))
    network, changes = prepare_network(
        model, inputs, data.num_classes, title=title or type(model).__name__, source=data.name
    )
    for change in changes if log is not None else ():
        log(f"network: {change}")  # type: ignore[misc]
    return network


def _load(model: nn.Module, weights: FileWeights, data: Data, config: RunConfig) -> nn.Module:
    """Load weights into a network, or into its prepared copy, which is what a run folder holds."""
    source, new_head = f"weight file {config.trained or config.weights}", config.trained is None
    try:
        load_weights(model, weights.tensors, source=source, new_head=new_head)
    except ModelError as error:
        try:
            prepared = prepare_model(model, data, config)
            load_weights(prepared, weights.tensors, source=source, new_head=new_head)
        except ModelError:
            raise error from None
        return prepared
    return model


def build_untrained(config: RunConfig, data: Data) -> nn.Module:
    """Build the network of the settings as it was before its training."""
    begin = replace(config, trained=None, trained_key=None)
    return build_run_model(begin, data, read_run_weights(begin))


def load_run_data(config: RunConfig, progress: Progress) -> Data:
    """Load the data of the settings with the normalisation of the network, and check the clustering settings."""
    if config.data_options.text_column is not None:
        data = _load_text(config)
        _check_clusters(config, data)
        return data
    options = _with_own_preprocessing(config, progress)
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
    if options.mean is not None and options.std is not None:
        normalisation = options.mean, options.std
    if normalisation is not None:
        data = replace(data, mean=normalisation[0], std=normalisation[1])
    _check_clusters(config, data)
    return data


def _with_own_preprocessing(config: RunConfig, progress: Progress) -> DataConfig:
    """Return the options of the data; the folder of a network says how its images become squares."""
    options, own = config.data_options, model_preprocessing(config.model)
    if own is None or (own.interpolation, own.crop_pct) == ("bilinear", 1.0):
        return options
    if config.model.startswith(LOCAL_PREFIX):
        interpolation = options.interpolation or own.interpolation
        crop_pct = options.crop_pct or own.crop_pct
        progress.log(f"images: {interpolation}, the central {100 * crop_pct:g} % of the shorter side")
        return replace(options, interpolation=interpolation, crop_pct=crop_pct)  # type: ignore[arg-type]
    if (options.interpolation, options.crop_pct) == (None, None):
        progress.log(
            f"images: bilinear, the whole shorter side; the published {config.model} was evaluated with "
            f"--data-options.interpolation {own.interpolation} --data-options.crop-pct {own.crop_pct:g}"
        )
    return options


def _load_text(config: RunConfig) -> Data:
    """Load a table of texts, tokenized as the folder of the network says."""
    options = config.data_options
    assert options.text_column is not None
    if not Path(config.data).exists():
        raise ConfigError(
            f"data {config.data!r} do not exist; expected a table with the column {options.text_column!r}"
        )
    taken = ("target", "attributes", "classes", "split_column", "data_seed")
    check_options(config.data, options.given(), taken)
    return load_text(
        Path(config.data),
        load_tokenizer(config.model, options.num_tokens),
        text_column=options.text_column,
        target=options.target,
        attributes=options.attributes or (),
        classes=options.classes,
        split_column=options.split_column,
        seed=config.seed if options.data_seed is None else options.data_seed,
    )


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
