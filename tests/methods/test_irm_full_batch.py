import pytest
import torch
from torch import nn

from prusc.config import ClusteringConfig, DebiasingSetConfig
from prusc.engine.training import Schedule
from prusc.errors import ConfigError
from prusc.losses import full_batch_irm_loss
from prusc.methods import MethodInputs
from prusc.methods.irm import environment_probabilities
from prusc.methods.irm_full_batch import IRM_FULL_BATCH, FullBatchIRMSettings
from prusc.stages.cells import Cells
from prusc.stages.pseudo_attributes.clustering import cluster_representations
from tests.methods.inputs import make_inputs


def test_every_step_sees_all_samples_and_the_penalty_comes_after_annealing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("irm-full-batch")
    settings = FullBatchIRMSettings(num_steps=4, annealing_steps=2, num_clusters=2, penalty_weight=50.0, l2=0.01)
    seen = inputs.represent(inputs.trained, inputs.train)
    config = ClusteringConfig(num_clusters=2, candidates=(2,))
    ids = cluster_representations(seen, config, generator=inputs.generator("clusters")).cluster_ids
    cells = Cells(inputs.train.labels, ids, num_classes=3, num_values=2)
    probabilities = environment_probabilities(cells, DebiasingSetConfig())
    found: list[float] = []

    def evaluate(
        _self: MethodInputs, model: nn.Module, schedule: Schedule, _name: str, *, loss: object, learning_rate: float
    ) -> nn.Module:
        assert learning_rate == schedule.learning_rate == settings.learning_rate
        assert schedule.weight_decay == 0
        assert callable(loss)
        model.eval()
        for indices in schedule.batches:
            assert torch.equal(indices, torch.arange(len(inputs.train)))
            found.append(loss(model, inputs.feed.take(indices), indices).item())
        return model

    monkeypatch.setattr(MethodInputs, "fit", evaluate)
    network = IRM_FULL_BATCH.train(inputs, settings).network
    logits = network(inputs.feed.take(torch.arange(len(inputs.train))))
    norm = sum((parameter.detach() ** 2).sum().item() for parameter in network.parameters())
    expected = [
        full_batch_irm_loss(logits, inputs.train.labels, probabilities, penalty_weight=weight).item()
        + 0.01 * norm / weight
        for weight in (1.0, 1.0, 50.0, 50.0)
    ]
    assert found == pytest.approx(expected, rel=1e-4)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("irm-full-batch")
    monkeypatch.setattr(type(inputs.feed.runtime), "num_processes", 2)
    with pytest.raises(ConfigError, match="irm-full-batch needs all samples in one process, found 2 processes"):
        IRM_FULL_BATCH.train(inputs, FullBatchIRMSettings())


@pytest.mark.parametrize("values", [{"num_steps": 0}, {"learning_rate": 0.0}, {"num_clusters": 0}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))} must be greater than 0, found"):
        FullBatchIRMSettings(**values)
