import torch

from prusc.methods.last_layer import LAST_LAYER, LastLayerSettings
from prusc.stages.heads import fit_head
from tests.methods.inputs import make_inputs


def test_it_is_the_head_of_the_cells_balanced() -> None:
    inputs = make_inputs("last-layer")
    network = LAST_LAYER.train(inputs, LastLayerSettings(l2=1.0)).network
    for key, value in inputs.trained.state_dict().items():
        assert torch.equal(network.state_dict()[key], value) == (not key.startswith("head.")), key
    seen = inputs.represent(inputs.trained, inputs.train)
    cells = list(zip(inputs.train.labels.tolist(), inputs.cells.attribute_ids.tolist(), strict=True))
    per_class = {label: len({cell for cell in cells if cell[0] == label}) for label, *_ in cells}
    weights = torch.tensor([1 / cells.count(cell) / per_class[cell[0]] for cell in cells])
    weight, bias = fit_head(seen.values, seen.labels, weights, num_classes=inputs.num_classes, l2=1.0)
    torch.testing.assert_close(network.head.weight.detach(), weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(network.head.bias.detach(), bias, atol=1e-3, rtol=1e-3)
