"""The public names, chained as a user would, in a plain session that has set nothing up."""

import ast
import doctest
import importlib
import inspect
import json
import os
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import prusc
from prusc.config import ClusteringConfig, MaskConfig
from prusc.data.table import Data
from prusc.errors import ModelError
from prusc.models.build import SmallCNN
from tests.networks import NUM_CLASSES, generator, randomise, striped_data

# What `import prusc` must not load: seconds each.
HEAVY = ("torch", "torchvision", "timm", "plotly", "jinja2", "sklearn", "scipy", "pandas", "lightning_fabric")


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        # A wide terminal, so that no line of help is broken.
        env={**os.environ, "COLUMNS": "200"},
    )
    return done.stdout


# ------------------------------------------------------------------------------------------------------------- names


def stub_names() -> dict[str, str]:
    """Where each name of ``__init__.pyi`` comes from."""
    stub = Path(inspect.getfile(prusc)).with_suffix(".pyi")
    found = {}
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node.module or "" for alias in node.names}
    return found


def test_all_names_are_those_of_the_stub_and_each_one_is_there() -> None:
    # To be reached as prusc.config and so on, and no names of their own.
    modules = {"config": "config", "methods": "methods", "modularity": "stages.modularity"}
    assert len(set(prusc.__all__)) == len(prusc.__all__)
    assert set(prusc.__all__) == set(stub_names()) - set(modules)
    for name, module in stub_names().items():
        found = getattr(prusc, name)
        if name in modules:
            assert found is importlib.import_module(f"prusc.{modules[name]}")
        else:
            assert found is getattr(importlib.import_module(f"prusc.{module}"), name)
            assert found.__name__ == name
    assert set(dir(prusc)) >= set(prusc.__all__)
    assert prusc.__version__ == importlib.metadata.version("prusc")


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        prusc.no_such_name  # noqa: B018


def test_the_help_lists_every_name() -> None:
    text = pydoc.plain(pydoc.render_doc(prusc))
    for name in prusc.__all__:
        found = getattr(prusc, name)
        if inspect.isclass(found):
            assert f"class {name}(" in text, name
        else:
            assert f"\n    {name}(" in text, name


@pytest.mark.parametrize("name", prusc.__all__)
def test_the_examples_of_the_docstrings_run(name: str) -> None:
    found = getattr(prusc, name)
    assert inspect.getdoc(found), f"{name} has no docstring"
    # Errors and results have none; the methods of a class have their own.
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    num_examples = (found.__doc__ or "").count(">>> ")
    for example in finder.find(found, name, globs={}):
        report: list[str] = []
        runner.run(example, out=report.append)
        assert not runner.failures, "".join(report)
    assert runner.tries >= num_examples, "an example was not run"


def test_each_stage_has_an_example() -> None:
    stages = prusc.__all__[prusc.__all__.index("extract_representations") : prusc.__all__.index("MaskedModel")]
    assert len(stages) == 7
    for name in stages:
        assert ">>> " in (getattr(prusc, name).__doc__ or ""), name


# ------------------------------------------------------------------------------------------------------------- chain


def small_network() -> nn.Module:
    return randomise(SmallCNN(NUM_CLASSES))


def test_the_stages_are_chained_with_nothing_else_given() -> None:
    model, data = small_network(), striped_data(60)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    train = prusc.extract_representations(model, data.train)
    assert train.values.shape == (60, 128)
    clustering = prusc.cluster_representations(train)
    cells = prusc.Cells(data.train.labels, clustering.cluster_ids)
    debiasing_set = prusc.build_debiasing_set(cells)
    masks = prusc.learn_masks(model, data.train, debiasing_set, MaskConfig(steps=3, batch_size=16, snapshots=1))
    subnetwork = prusc.extract_subnetwork(model, masks.final, data.train, debiasing_set, batch_size=16)
    pruned = prusc.extract_representations(subnetwork, data.train)
    head = prusc.fit_head(pruned.values, pruned.labels, debiasing_set.weights)
    head.apply(subnetwork)
    test = prusc.extract_representations(subnetwork, data.test)
    evaluation = prusc.evaluate_groups(test.predictions, data.test, data)

    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert type(subnetwork) is SmallCNN
    # What the chain gives is the network itself, run by hand.
    assert data.test.transform is not None
    logits = subnetwork.eval()(data.test.transform(data.test.inputs))
    torch.testing.assert_close(test.logits, logits.detach(), rtol=1e-4, atol=1e-4)
    for name, kept in masks.final.tensors.items():
        if name != "head.weight":  # which was fitted anew
            assert not bool(dict(subnetwork.named_parameters())[name][~kept].any())
    right = logits.argmax(dim=1) == data.test.labels
    assert evaluation.average_accuracy == pytest.approx(right.double().mean().item())
    assert data.test.attributes is not None
    worst = min(
        right[inside].double().mean().item()
        for label in range(3)
        for value in range(3)
        if bool((inside := (data.test.labels == label) & (data.test.attributes[:, 0] == value)).any())
    )
    assert evaluation.worst_group_accuracy == pytest.approx(worst)


def test_the_same_chain_gives_the_same_network() -> None:
    def run(data: Data) -> Tensor:
        model = small_network()
        values = prusc.extract_representations(model, data.train)
        clusters = prusc.cluster_representations(values, ClusteringConfig(num_clusters=3))
        draws = prusc.build_debiasing_set(prusc.Cells(data.train.labels, clusters.cluster_ids))
        masks = prusc.learn_masks(model, data.train, draws, MaskConfig(steps=2, batch_size=16, snapshots=1))
        network = prusc.extract_subnetwork(model, masks.final, data.train, draws)
        return prusc.extract_representations(network, data.val).logits

    assert torch.equal(run(striped_data(30)), run(striped_data(30)))


# ------------------------------------------------------------------------------------------------------------- masks


def random_mask(model: nn.Module, seed: int = 0) -> prusc.BinaryMask:
    source = generator(seed)
    names = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
    shapes = {name: dict(model.named_parameters())[name].shape for name in names}
    return prusc.BinaryMask({name: torch.rand(shape, generator=source) < 0.5 for name, shape in shapes.items()})


def test_a_mask_is_saved_loaded_and_applied_by_its_path(tmp_path: Path) -> None:
    model, other = small_network(), small_network()
    mask = random_mask(model)
    file = tmp_path / "mask.safetensors"
    mask.save(file)
    loaded = prusc.BinaryMask.load(file)
    assert loaded.tensors.keys() == mask.tensors.keys()
    assert all(torch.equal(kept, loaded.tensors[name]) for name, kept in mask.tensors.items())
    assert loaded.density == mask.density
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prusc.apply_mask(model, mask)
    prusc.apply_mask(other, str(file))
    for key, value in other.state_dict().items():
        kept = mask.tensors.get(key)
        assert torch.equal(value, before[key] if kept is None else torch.where(kept, before[key], 0.0))
        assert torch.equal(value, model.state_dict()[key])
    with pytest.raises(ModelError, match=r"mask file .*nowhere\.safetensors"):
        prusc.apply_mask(model, tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("with_file", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1})],
)
def test_zeros_stay_in_a_training_loop_by_hand_until_the_handle_is_removed(
    tmp_path: Path, kind: type[torch.optim.Optimizer], options: dict[str, float], with_file: bool
) -> None:
    data, model = striped_data(24), small_network().train()
    assert data.train.transform is not None
    inputs, labels = data.train.transform(data.train.inputs), data.train.labels
    mask: prusc.BinaryMask | Path = random_mask(model)
    pruned = {name: ~kept for name, kept in random_mask(model).tensors.items()}
    if with_file:
        random_mask(model).save(tmp_path / "mask.safetensors")
        mask = tmp_path / "mask.safetensors"
    optimizer = kind(model.parameters(), **options)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    # With momentum, so that more than this step's gradient pulls at the pruned weights.
    step()
    handle = prusc.keep_zeros(model, mask, optimizer)
    weights = {name: parameter for name, parameter in model.named_parameters() if name in pruned}
    assert all(not bool(weights[name][gone].any()) for name, gone in pruned.items()), "at once"
    for _ in range(3):
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        step()
        for name, gone in pruned.items():
            assert not bool(weights[name][gone].any()), name
            moved = weights[name][~gone] != before[name][~gone]
            assert moved.double().mean() > 0.9, f"the kept weights of {name} are trained"
    handle.remove()
    step()
    for name, gone in pruned.items():
        assert weights[name][gone].ne(0).double().mean() > 0.9, f"the pruned weights of {name} move again"


# ------------------------------------------------------------------------------------------------------------ imports


def test_importing_prusc_loads_nothing_heavy() -> None:
    loaded = run_python(f"import prusc, sys; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"
    # Nor do settings, which the command line reads first.
    code = f"import prusc, sys; prusc.RunConfig(); print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


_COMMAND = """
import contextlib, io, json, sys
from prusc.cli.main import run_command_line
out, errors = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
    code = run_command_line(sys.argv[1:])
loaded = [name for name in HEAVY if name in sys.modules]
print(json.dumps([code, out.getvalue(), errors.getvalue(), loaded]))
""".replace("HEAVY", repr(HEAVY))


@pytest.mark.parametrize(
    ("arguments", "code", "stream", "expected"),
    [
        (["--help"], 0, "out", "usage: prusc COMMAND"),
        (["--version"], 0, "out", f"prusc {prusc.__version__}"),
        ([], 2, "out", "usage: prusc COMMAND"),
        (["run", "--help"], 0, "out", "usage: prusc run"),
        (["runn"], 2, "errors", "unknown command 'runn'; did you mean run"),
        (["run", "--foo"], 2, "errors", "--foo"),
        (["run", "--method", "joot"], 2, "errors", "joot"),
        (["run", "--preset", "celebb"], 2, "errors", "unknown preset 'celebb'; did you mean celeba"),
        (["bench"], 2, "errors", "matrix"),
    ],
    ids=str,
)
def test_help_and_usage_errors_load_nothing_heavy(arguments: list[str], code: int, stream: str, expected: str) -> None:
    found, out, errors, loaded = json.loads(run_python(_COMMAND, *arguments).splitlines()[-1])
    assert found == code
    assert expected.lower() in (out if stream == "out" else errors).lower()
    assert loaded == []
