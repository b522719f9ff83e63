"""Networks from folders that timm or transformers saved: their architecture, and their weights if wanted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from prusc.errors import ConfigError, ModelError
from prusc.models.checkpoints import read_weights
from prusc.models.preprocessing import Preprocessing, read_preprocessor, read_timm_preprocessing
from prusc.models.weights import load_weights

LOCAL_PREFIX = "local-dir:"


def read_folder_config(name: str) -> dict[str, Any]:
    """Read the ``config.json`` of a folder.

    Args:
        name: ``local-dir:`` and the folder.

    Raises:
        ConfigError: If the folder has no configuration of timm or transformers.
    """
    path = Path(name.removeprefix(LOCAL_PREFIX))
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model {name!r}: {path / 'config.json'} cannot be read ({error}); expected a folder that timm or "
            "transformers saved"
        ) from error
    if not isinstance(config, dict) or not ({"architecture", "model_type"} & config.keys()):
        raise ConfigError(
            f"model {name!r}: {path / 'config.json'} names neither architecture (timm) nor model_type (transformers); "
            "expected a folder that one of them saved"
        )
    return config


def check_class_order(name: str, class_names: Sequence[str]) -> None:
    """Check that a folder's network numbers its classes as the data do, if it names them.

    Args:
        name: ``local-dir:`` and the folder.
        class_names: The classes of the data, in their order.

    Raises:
        ConfigError: If the network has the same classes in another order.
    """
    config = read_folder_config(name)
    labels: Any = config.get("label_names")
    if isinstance(by_number := config.get("id2label"), dict):
        labels = [by_number[number] for number in sorted(by_number, key=int)]
    if isinstance(labels, list) and set(labels) == set(class_names) and labels != list(class_names):
        raise ConfigError(
            f"model {name!r} numbers its classes {', '.join(labels[:12])}, and the data {', '.join(class_names[:12])}; "
            f"name its order: --data-options.classes {' '.join(labels[:12])}{' ...' if len(labels) > 12 else ''}"
        )


def build_from_folder(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """Build the network of a folder, with random weights or with those of the folder and perhaps a random head.

    Args:
        name: ``local-dir:`` and the folder.
        num_classes: Number of outputs of the head.
        pretrained: Load the folder's weights.

    Raises:
        ConfigError: If the folder has no configuration, or the package that saved it is missing.
        ModelError: If the network cannot be built from it.
    """
    config, path = read_folder_config(name), Path(name.removeprefix(LOCAL_PREFIX))
    try:
        model = _build_timm(config, num_classes) if "architecture" in config else _build_transformers(path, num_classes)
    except (ConfigError, ModelError):
        raise
    except Exception as error:  # Both packages raise many kinds of errors for a wrong configuration.
        raise ModelError(
            f"model {name!r} cannot be built from its config.json ({type(error).__name__}: {error}); save it again"
        ) from error
    if pretrained:
        load_weights(model, read_weights(path).tensors, source=f"folder {path}", new_head=True)
    return model


def _build_timm(config: dict[str, Any], num_classes: int) -> nn.Module:
    import timm

    arguments = {**config.get("model_args", {}), "num_classes": num_classes}
    return timm.create_model(config["architecture"], **arguments)


def _build_transformers(path: Path, num_classes: int) -> nn.Module:
    try:
        from transformers import (
            MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
            AutoConfig,
            AutoModelForImageClassification,
            AutoModelForSequenceClassification,
        )
    except ImportError as error:
        raise ConfigError(
            f"model {LOCAL_PREFIX}{path} was saved by transformers, which is not installed: pip install prusc[text]"
        ) from error
    # No code of the folder is run.
    config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    if config.num_labels != num_classes:
        config.num_labels = num_classes
    of_images = type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    kind = AutoModelForImageClassification if of_images else AutoModelForSequenceClassification
    model: nn.Module = kind.from_config(config, trust_remote_code=False)
    return model


def folder_preprocessing(name: str) -> Preprocessing | None:
    """Return how a folder says that images are prepared; ``None`` if it does not, as for text.

    Raises:
        ConfigError: If the folder has no configuration.
        ModelError: If it cannot be understood.
    """
    config, path = read_folder_config(name), Path(name.removeprefix(LOCAL_PREFIX))
    own = config.get("pretrained_cfg")
    if "architecture" in config and isinstance(own, dict):
        return read_timm_preprocessing(own, path / "config.json")
    return read_preprocessor(path)
