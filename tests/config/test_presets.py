import tomllib

import pytest
import tomli_w

from prusc.config import RunConfig, config_from_dict, config_to_dict
from prusc.config.presets import PRESETS, get_preset
from prusc.errors import ConfigError
from prusc.models.build import check_model_name, has_published_weights, model_normalisation

NUM_TRAIN = {"celeba": 162_770, "waterbirds": 4_795, "isic": 5_980}
NUM_VAL = {"celeba": 19_867, "waterbirds": 1_199, "isic": 997}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_toml(name: str) -> None:
    config = get_preset(name)
    assert config_from_dict(RunConfig, tomllib.loads(tomli_w.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_every_network_is_known_and_has_published_weights(name: str) -> None:
    config = get_preset(name)
    check_model_name(config.model)
    assert config.pretrained
    assert has_published_weights(config.model)
    assert model_normalisation(config.model) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_settings(name: str) -> None:
    config = get_preset(name)
    masks, finetune = config.masks, config.finetune
    assert (config.data_options.image_size, config.data_options.crop_size) == (256, 224)
    assert (config.erm.flip, config.erm.min_crop_scale) == (True, 0.7)
    assert config.clustering.num_clusters == (8 if name == "isic" else 16)
    assert (config.pseudo_attribute.source, config.clustering.checkpoint) == ("clusters", None)
    assert masks.head
    assert (masks.learning_rate, masks.initial_logit, masks.mask_temperature) == (1e-2, 1.5, 1)
    assert (masks.beta, masks.contrastive_temperature, masks.negatives) == (0.1, 0.07, "cluster")
    assert (masks.sparsity_term, masks.sparsity) == ("sum-of-logits", 1e-8)
    assert (finetune.head_l2, finetune.learning_rates, finetune.weight_decay) == ((), (1e-2,), 0)
    assert (config.erm.batch_size, masks.batch_size, finetune.batch_size) == (64, 64, 64)


@pytest.mark.parametrize("name", PRESETS)
def test_epochs_become_steps(name: str) -> None:
    config = get_preset(name)
    drawn_from = NUM_VAL[name] // 2
    per_epoch = sum(1 for _ in range(0, drawn_from, 64))
    assert config.debiasing_set.split == "val"
    assert config.masks.steps == 20 * per_epoch
    assert config.finetune.steps == 5 * per_epoch
    steps_of_erm = config.erm.epochs * sum(1 for _ in range(0, NUM_TRAIN[name], 64))
    assert steps_of_erm == pytest.approx(10_000, rel=0.02)


def test_an_unknown_name_is_refused_with_those_like_it() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'celebb'; did you mean celeba\?; known are celeba, wat"):
        get_preset("celebb")
