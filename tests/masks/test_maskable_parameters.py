"""Which weights a mask covers."""

import pytest
import torch
from torch import nn

from prusc.errors import ConfigError, ModelError
from prusc.masks import MaskedModel, left_out_parameters, maskable_parameters, whole_mask
from tests.masks.cases import EVERY_NETWORK, make
from tests.networks import small_cnn


@EVERY_NETWORK
def test_masks_cover_weights_and_never_biases_norms_or_embeddings(name: str) -> None:
    model, _ = make(name)
    for parameter in maskable_parameters(model):
        module = model.get_submodule(parameter.rpartition(".")[0])
        assert "weight" in parameter.rpartition(".")[2]
        assert isinstance(module, nn.Linear | nn.Conv2d | nn.LSTM | nn.MultiheadAttention) or name == "tied"
        assert maskable_parameters(model)[parameter].ndim >= 2
    if name == "lstm":
        expected = [f"lstm.weight_{k}_l{n}{r}" for n in (0, 1) for r in ("", "_reverse") for k in ("ih", "hh", "hr")]
        assert list(maskable_parameters(model)) == [*expected, "head.weight"]
    if name == "attention":
        attention = ["layer.self_attn.in_proj_weight", "layer.self_attn.out_proj.weight"]
        assert list(maskable_parameters(model)) == [
            *attention,
            "layer.linear1.weight",
            "layer.linear2.weight",
            "head.weight",
        ]


def test_patterns_choose_the_masked_layers() -> None:
    model = small_cnn()
    every = ["encoder.0.weight", "encoder.3.weight", "encoder.6.weight", "head.weight"]
    assert list(maskable_parameters(model)) == every
    assert list(maskable_parameters(model, include=("encoder.*",))) == every[:3]
    assert list(maskable_parameters(model, include=("head.*", "encoder.0.weight"))) == [every[0], every[3]]
    assert list(maskable_parameters(model, exclude=("encoder.0.*", "head.*"))) == every[1:3]
    masked = MaskedModel(model, include=("encoder.*",), exclude=("encoder.0.*",))
    assert masked.parameter_names == tuple(every[1:3])


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ({"include": ("encodr.*",)}, ConfigError, "'encodr.*' matches no weight; the weights are encoder.0.weight"),
        ({"exclude": ("encoder.1.*",)}, ConfigError, "'encoder.1.*' matches no weight"),
        ({"exclude": ("*",)}, ModelError, "SmallCNN has no weight to mask"),
        ({"include": ()}, ModelError, "no weight to mask"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(
    patterns: dict[str, tuple[str, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("*", r"\*")):
        MaskedModel(small_cnn(), **patterns)


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ModelError, match="ReLU has no weight to mask"):
        MaskedModel(nn.ReLU())


@EVERY_NETWORK
def test_the_whole_mask_keeps_every_maskable_weight(name: str) -> None:
    model, _ = make(name)
    weights, mask = maskable_parameters(model), whole_mask(model)
    assert list(mask.tensors) == list(weights)
    assert {key: value.shape for key, value in mask.tensors.items()} == {key: w.shape for key, w in weights.items()}
    assert mask.density == 1
    assert all(value.dtype == torch.bool for value in mask.tensors.values())


def test_the_whole_mask_follows_the_patterns() -> None:
    assert list(whole_mask(small_cnn(), include=("encoder.*",), exclude=("encoder.0.*",)).tensors) == [
        "encoder.3.weight",
        "encoder.6.weight",
    ]
    with pytest.raises(ConfigError, match="'nothing' matches no weight"):
        whole_mask(small_cnn(), include=("nothing",))


@EVERY_NETWORK
def test_what_is_left_out_is_the_rest(name: str) -> None:
    model, _ = make(name)
    left_out, masked = left_out_parameters(model), maskable_parameters(model)
    assert {*left_out, *masked} == {key for key, _ in model.named_parameters()}
    assert not {*left_out} & {*masked}
    assert all("bias" in key or model.get_parameter(key).ndim < 2 or name == "vit_tiny" for key in left_out)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_recurrent_cells_are_masked(kind: type[nn.RNNCellBase]) -> None:
    assert list(maskable_parameters(kind(3, 4))) == ["weight_ih", "weight_hh"]
    assert left_out_parameters(kind(3, 4), exclude=("weight_hh",)) == ("weight_hh", "bias_ih", "bias_hh")


def test_attention_with_keys_of_another_width_and_bilinear_layers_are_masked() -> None:
    attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    projections = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    assert list(maskable_parameters(attention)) == [*projections, "out_proj.weight"]
    assert list(maskable_parameters(nn.Bilinear(2, 3, 4))) == ["weight"]
