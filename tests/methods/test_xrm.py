import pytest
import torch
from torch import Tensor, nn

from prusc.methods import MethodInputs
from prusc.methods.xrm import XRM, XRMSettings
from prusc.stages.pseudo_attributes.twins import TwinIds
from tests.methods.inputs import make_inputs


def test_group_dro_gets_class_times_environment_and_the_score_is_that_of_inferred_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = make_inputs("xrm")
    train, val = inputs.train.labels, inputs.val.labels
    flagged = torch.arange(60) % 5 == 0
    ids = [torch.where(flagged, (labels + 1) % 3, labels) for labels in (train, val)]
    asked: list[Tensor] = []
    seen: list[tuple[int, ...]] = []

    def infer(*arguments: object) -> TwinIds:
        seen.append(tuple(len(part) for part in arguments[:4]))  # type: ignore[arg-type]
        return TwinIds(ids[0], ids[1], 0.2, is_complete=True)

    def fit(
        _inputs: MethodInputs, groups: Tensor, num_groups: int, _name: str, **_: object
    ) -> tuple[nn.Module, Tensor]:
        assert num_groups == 6
        asked.append(groups)
        return inputs.erm_network(), torch.full((6,), 1 / 6)

    monkeypatch.setattr("prusc.methods.xrm.infer_by_twins", infer)
    monkeypatch.setattr("prusc.methods.xrm.fit_group_dro", fit)
    first, second = (XRM.train(inputs, settings) for settings in (XRMSettings(), XRMSettings(share=0.2)))
    assert seen == [(60, 60, 60, 60)], "settings share the twins"
    assert asked[0].tolist() == [2 * label + flag for label, flag in zip(train.tolist(), flagged.tolist(), strict=True)]
    right = inputs.represent(inputs.trained, inputs.val).predictions == val
    accuracies = []
    for label in range(3):
        for flag in (False, True):
            inside = [
                r
                for r, y, f in zip(right.tolist(), val.tolist(), flagged.tolist(), strict=True)
                if (y, f) == (label, flag)
            ]
            accuracies.append(sum(inside) / len(inside))
    assert first.own_score == second.own_score == pytest.approx(min(accuracies))
    assert first.facts["smaller_environment"] == 12


def test_the_features_are_those_of_the_network_that_is_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("xrm")
    asked: list[nn.Module] = []
    represent = MethodInputs.represent

    def spy(self: MethodInputs, model: nn.Module, split: object) -> object:
        asked.append(model)
        return represent(self, model, split)  # type: ignore[arg-type]

    monkeypatch.setattr(MethodInputs, "represent", spy)
    trained = XRM.train(inputs, XRMSettings(twin_steps=50, share=0.5))
    assert asked == [inputs.clustered, inputs.clustered]
    assert 0 <= trained.facts["flip_rate"] < 1
    assert not torch.equal(trained.network.head.weight, inputs.untrained.head.weight)
