import pytest
import torch

from prusc.config import DebiasingSetConfig
from prusc.errors import DataError
from prusc.methods.irm import environment_probabilities
from prusc.stages.cells import Cells
from tests.networks import generator
from tests.reference import methods as reference
from tests.reference.cells import draw_weights


@pytest.mark.parametrize("seed", range(4))
def test_the_environments_are_the_minority_and_the_balanced_draw(seed: int) -> None:
    source = generator(seed)
    clusters = torch.randint(0, 4, (60,), generator=source)
    labels = torch.where(torch.rand(60, generator=source) < 0.7, clusters % 3, clusters.flip(0) % 3)
    cells = Cells(labels, clusters, num_classes=3, num_values=4)
    found = environment_probabilities(cells, DebiasingSetConfig(cell_exponent=0.5))
    minority = reference.minority(labels.tolist(), clusters.tolist())
    assert found[:, 0].tolist() == pytest.approx([is_one / sum(minority) for is_one in minority])
    assert found[:, 1].tolist() == pytest.approx(draw_weights(labels.tolist(), clusters.tolist(), 0.5, 1))


def test_pure_clusters_have_no_minority() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    with pytest.raises(DataError, match="none of the 2 clusters has samples of two classes"):
        environment_probabilities(Cells(labels, labels), DebiasingSetConfig())
