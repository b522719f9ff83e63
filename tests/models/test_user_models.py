import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from prusc.cli.main import run_command_line
from prusc.config import is_function_name
from prusc.errors import ConfigError, ModelError
from prusc.models.build import build_model, check_model_name, model_image_size, model_normalisation
from tests.networks import generator

MODULE = """
from pathlib import Path
from torch import nn

Path("imported").touch()

def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 8), nn.ReLU(), nn.Linear(8, num_classes))

def fails(num_classes):
    raise RuntimeError("no such luck")

def text(num_classes):
    return "a network"

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_nets.py").write_text(MODULE)
    (tmp_path / "broken_nets.py").write_text("import nothing_of_this_name")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    sys.modules.pop("my_nets", None)


def test_a_function_of_the_users_builds_the_network_and_the_seed_its_weights(folder: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (build_model("my_nets:build", 5, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first(torch.zeros(2, 3, 28, 28)).shape == (2, 5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
    assert model_normalisation("my_nets:build") is None
    assert model_image_size("my_nets:build") is None


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nowhere:build", ConfigError, "module 'nowhere' cannot be imported .ModuleNotFoundError"),
        ("broken_nets:build", ConfigError, "cannot be imported .*nothing_of_this_name"),
        ("my_nets:biuld", ConfigError, "no function 'biuld'; did you mean build"),
        ("my_nets:number", ConfigError, "no function 'number'"),
        (":build", ConfigError, "module '' cannot be imported"),
        ("my_nets:fails", ModelError, "cannot be built for 5 classes .RuntimeError: no such luck"),
        ("my_nets:text", ModelError, "returned a str; expected a torch.nn.Module"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, name: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build_model(name, 5, generator=generator())


def test_names_of_timms_hub_are_no_functions() -> None:
    assert not is_function_name("hf-hub:timm/resnet18.a1_in1k")
    assert not is_function_name("torchvision/resnet18")
    with pytest.raises(ConfigError, match="'module:function' for your own network"):
        check_model_name("small_cn")


def test_code_runs_on_the_users_own_word_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A settings file may come from somebody else."""
    (folder / "foreign.toml").write_text('model = "my_nets:build"\nweights = "nowhere.pt"\n')
    assert run_command_line(["run", "--config", "foreign.toml"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "foreign.toml names the model 'my_nets:build', whose code prusc would run; if you trust it, name it" in error
    assert not (folder / "imported").exists()
    assert run_command_line(["run", "--config", "foreign.toml", "--model", "my_nets:build"]) == 2
    assert "nowhere.pt does not exist" in capsys.readouterr().err
    assert (folder / "imported").exists()


def test_a_file_may_stand_for_its_module_even_if_a_loaded_module_has_its_name(folder: Path) -> None:
    nets = folder / "my nets"
    nets.mkdir()
    (nets / "beside.py").write_text("SIZE = 7")
    code = "from torch import nn\nfrom beside import SIZE\n\ndef build(num_classes):\n"
    (nets / "json.py").write_text(f"{code}    return nn.Linear(SIZE, num_classes)\n")
    build = partial(build_model, generator=generator(0))
    network = build("my nets/json.py:build", 3)
    assert (network.in_features, network.out_features) == (7, 3)
    assert is_function_name(f"{nets}/json.py:build")
    assert isinstance(build(f"{nets}/json.py:build", 2), nn.Linear)
    with pytest.raises(ConfigError, match=r"file my nets/jsn.py does not exist; expected FILE.py:function"):
        build("my nets/jsn.py:build", 3)
    (nets / "broken.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"broken.py' cannot be imported .ZeroDivisionError"):
        build("my nets/broken.py:build", 3)
    with pytest.raises(ConfigError, match="no function 'biuld'; did you mean build"):
        build("my nets/json.py:biuld", 3)
    sys.modules.pop("beside", None)
