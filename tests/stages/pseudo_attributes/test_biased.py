import pytest
import torch

from prusc.config import BiasedConfig, ERMConfig
from prusc.errors import DataError
from prusc.stages.pseudo_attributes.biased import (
    fit_biased_head,
    infer_by_biased_head,
    infer_by_biased_network,
    make_biased_loss,
)
from prusc.stages.representations import predict
from tests.networks import Listener, feed_of, generator, small_cnn, striped_split
from tests.reference import biased as reference
from tests.reference.generalized_cross_entropy import generalized_cross_entropy


@pytest.mark.parametrize("q", [0.3, 0.7])
def test_the_head_equals_its_slow_twin(q: float) -> None:
    source = generator()
    labels = torch.tensor([0] * 9 + [1] * 5 + [2] * 4)
    features = torch.randn(18, 3, generator=source) + labels[:, None]
    mean, std = features.double().mean(dim=0), features.double().std(dim=0, unbiased=False)
    standardised = (features.double() - mean) / std
    head = fit_biased_head(features, labels, q=q, l2=0.2)
    weight, bias = reference.fit_biased_head(standardised, labels, q, 0.2)
    logits = standardised @ weight.T + bias
    torch.testing.assert_close(head.logits(features).double().softmax(dim=1), logits.softmax(dim=1), atol=2e-3, rtol=0)


def test_a_training_sample_is_predicted_without_it_and_a_validation_sample_by_all() -> None:
    labels = torch.arange(40) % 2
    features = torch.randn(40, 60, generator=generator())
    # Noise in more dimensions than samples: a head knows by heart whatever it has seen.
    found = infer_by_biased_head(features, labels, features, BiasedConfig(l2=1e-3), generator())
    assert (found.val == labels).all()
    assert 0.25 < (found.train == labels).double().mean() < 0.75
    head = fit_biased_head(features, labels, q=0.7, l2=1e-3)
    assert torch.equal(found.val, head.logits(features).argmax(dim=1))


def test_the_easy_shortcut_is_predicted_and_not_the_class() -> None:
    labels = torch.arange(300) % 3
    shortcut = torch.where(torch.arange(300) % 10 == 0, (labels + 1) % 3, labels)
    easy, hard = 5 * torch.eye(3)[shortcut], torch.eye(3)[labels]
    features = torch.cat([easy, hard], dim=1) + torch.randn(300, 6, generator=generator())
    found = infer_by_biased_head(features, labels, features)
    for conflicting, least in ((True, 0.8), (False, 0.97)):
        own = (shortcut != labels) == conflicting
        assert (found.train == shortcut)[own].double().mean() > least


def test_the_loss_of_a_network_is_the_mean_over_the_batch() -> None:
    network, split = small_cnn(), striped_split(12)
    indices = torch.tensor([4, 0, 9])
    batch = feed_of(split).take(indices)
    found = make_biased_loss(split.labels, q=0.5)(network, batch, indices)
    rows = network(batch).tolist()
    expected = [generalized_cross_entropy(row, int(split.labels[i]), 0.5) for row, i in zip(rows, indices, strict=True)]
    assert found.item() == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_the_network_is_trained_in_place_and_predicts_both_splits() -> None:
    network, feed, val = small_cnn(), feed_of(striped_split(30)), feed_of(striped_split(20, seed=1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    listener = Listener()
    erm, config = ERMConfig(batch_size=10), BiasedConfig(epochs=2)
    found = infer_by_biased_network(network, feed, val, erm, config, generator(), progress=listener)
    assert listener.steps[-1] == ("biased network", 6, 6)
    assert any(not torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(found.train, predict(network, feed).argmax(dim=1))
    assert torch.equal(found.val, predict(network, val).argmax(dim=1))
    again = small_cnn()
    infer_by_biased_network(again, feed, val, erm, config, generator())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least two classes, found 1"):
        fit_biased_head(torch.rand(5, 2), torch.zeros(5, dtype=torch.long), q=0.7, l2=0.1)
