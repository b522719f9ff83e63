"""Whatever is wrong with a benchmark is said in one line, before anything runs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from prusc.benchmark import narrow, read_matrix, read_suite, suite_names
from prusc.benchmark.matrix import matrix_to_dict, parse_matrix
from prusc.cli.main import run_command_line
from prusc.config import RunConfig
from prusc.errors import ConfigError
from prusc.methods import METHODS
from tests.benchmark.matrices import tiny_matrix, write_matrix
from tests.data.folders import write_class_folders


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


BAD = [
    (swap('"prusc"', '"pruscc"'), [], "unknown method 'pruscc'; did you mean prusc? ... the methods are"),
    (swap("methods", "method"), [], "unknown key 'method'; did you mean methods?"),
    (swap("seeds = [0]", "seeds = [0, 1, 0]"), [], "0 appears twice in seeds; two cells would share one name"),
    (swap("seeds = [0]", "seeds = []"), [], "seeds is empty or missing"),
    (swap("seeds = [0]", "seeds = 3"), [], "seeds must be a list, found 3"),
    (swap("seeds = [0]", 'seeds = ["a"]'), [], "seeds must be a list of whole numbers, found 'a' in it"),
    (swap("seeds = [0]", "seeds = [-1]"), [], "seed must be in 0.."),
    (swap("epochs", "epoch"), [], "[data.birds] with [network.small-cnn]: unknown setting erm.epoch; ... epochs"),
    (swap("epochs = 1", "epochs = 0"), [], "erm.epochs must be at least 1, found 0"),
    (swap("max_settings", "seed"), [], "[settings] sets seed; list it in seeds"),
    (swap("[network.small-cnn]", "[network.smal-cnn]"), [], "unknown model 'smal-cnn'; did you mean small-cnn"),
    (swap("[network.small-cnn]", ""), [], "network is empty or missing"),
    (swap("[network.small-cnn]", "[network]\nsmall-cnn = 3"), [], "network.small-cnn must be a table of settings"),
    (swap("/birds", "/bids"), [], "data birds with network small-cnn: ... bids"),
    (swap("/birds", "/${PRUSC_NOT_SET}"), [], "variable PRUSC_NOT_SET, which is not set"),
    (swap("max_settings = 1", "preset = 'celba'"), [], "unknown preset 'celba'; did you mean celeba"),
    (
        swap("[network.small-cnn]", '[network."a b"]\nmodel="small-cnn"\n[network."a-b"]'),
        [],
        "two cells share one name",
    ),
    (
        swap("[network.small-cnn]", "[network.mine]\nmodel = 'mine:build'"),
        [],
        "whose code prusc would run; ... --trust-",
    ),
    (swap("[network.small-cnn]", "[network.small-cnn"), [], "not valid TOML"),
    (swap('"prusc"', '"group-dro"'), ["--methods", "jttt"], "unknown method 'jttt'; did you mean jtt?"),
    (str, ["--backend", "rai"], "unknown backend 'rai'; did you mean ray? ... loky, dask, ray"),
    (str, ["--workers", "0"], "num_workers must be at least 1, found 0"),
    (str, ["--address", "local"], "address 'local' needs a cluster backend; set the backend to dask or ray"),
    (str, ["--suite", "small"], "either --suite or --matrix, found both; the suites are real, small, tiny"),
]


@pytest.mark.parametrize(("change", "options", "expected"), BAD, ids=[expected[:30] for *_, expected in BAD])
def test_bad_input_is_refused_before_anything_runs(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
    options: list[str],
    expected: str,
) -> None:
    matrix = write_matrix(tmp_path, change(tiny_matrix(tmp_path)))
    out = tmp_path / "bench"
    refused(["bench", "--matrix", str(matrix), "--out", str(out), *options], capsys, expected)
    assert not out.exists()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], expected: str) -> None:
    assert run_command_line(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert printed.err.count("prusc: ") == 1
    assert re.search(".*".join(map(re.escape, expected.split(" ... "))), " ".join(printed.err.split())), printed.err


def test_a_suite_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    refused(["bench", "--suite", "smal"], capsys, "unknown suite 'smal'; did you mean small")


def test_a_method_with_group_labels_is_refused_on_data_without_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = write_class_folders(tmp_path / "classes", num_images=12)
    text = tiny_matrix(tmp_path).replace(str(tmp_path / "birds"), str(folders)).replace('"prusc"', '"group-dro"')
    matrix = write_matrix(tmp_path, text)
    expected = "data birds with network small-cnn: method group-dro needs group labels of the train split"
    refused(["bench", "--matrix", str(matrix), "--out", str(tmp_path / "bench")], capsys, expected)


def test_a_matrix_spreads_out_into_cells_with_erm_among_them(tmp_path: Path) -> None:
    text = tiny_matrix(tmp_path).replace("seeds = [0]", "seeds = [0, 5]")
    matrix = read_matrix(write_matrix(tmp_path, f"{text}[network.other]\nmodel = 'resnet18'\nerm = {{ epochs = 3 }}\n"))
    cells = matrix.cells()
    assert matrix.methods == ("erm", "prusc", "class-balanced")
    assert len({cell.path for cell in cells}) == len(cells) == 3 * 2 * 2
    # Tables are put together key by key: the network's own epochs, everybody's batch size.
    assert {(c.network, c.config.erm.epochs, c.config.erm.batch_size) for c in cells} == {
        ("small-cnn", 1, 4),
        ("other", 3, 4),
    }
    assert cells[-1].config.seed == 5
    assert cells[-1].path == Path("birds/other/class-balanced/seed-5")
    assert cells[-1].original_path == Path("birds/other/original/seed-5")


def test_a_preset_is_won_over_by_every_table_and_variables_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    methods = ["jtt"]
    seeds = [0]
    settings = { erm = { epochs = 7 } }
    [data.faces]
    preset = "celeba"
    data = "${PRUSC_FACES:-/somewhere}/celeba"
    [network.small-cnn]
    pretrained = false
    """
    config = parse_matrix(text, "m").cells()[0].config
    assert (config.data, config.model, config.pretrained) == ("/somewhere/celeba", "small-cnn", False)
    assert (config.erm.epochs, config.erm.batch_size, config.data_options.image_size) == (7, 64, 256)
    monkeypatch.setenv("PRUSC_FACES", "/here")
    assert parse_matrix(text, "m").cells()[0].config.data == "/here/celeba"


def test_a_matrix_can_be_narrowed_and_read_back(tmp_path: Path) -> None:
    import tomli_w

    matrix = narrow(parse_matrix(tiny_matrix(tmp_path), "m"), methods=["all"], seeds=[3])
    assert matrix.methods == tuple(METHODS)
    assert matrix.seeds == (3,)
    assert parse_matrix(tomli_w.dumps(matrix_to_dict(matrix)), "m") == matrix


def test_every_suite_is_a_matrix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRUSC_DATA", str(tmp_path))
    monkeypatch.setattr("prusc.benchmark.matrix.find_method", lambda name: None)
    for name in suite_names():
        matrix = read_suite(name)
        assert matrix.about
        assert len(matrix.cells()) >= len(matrix.seeds) * len(matrix.methods)
        assert len(matrix.seeds) >= (2 if name == "tiny" else 5)


def test_a_preset_names_the_model_and_weights_replace_pretrained() -> None:
    def settings(text: str) -> RunConfig:
        matrix = parse_matrix(f"methods = ['erm']\nseeds = [0]\n{text}", "m")
        return matrix.cells()[0].config

    assert settings("[data.d]\n[network.mine]\npreset = 'celeba'").model == "resnet50.tv_in1k"
    assert settings("[data.d]\n[network.mine]\npreset = 'celeba'\nmodel = 'small-cnn'").model == "small-cnn"
    assert settings("[data.d]\npreset = 'celeba'\n[network.resnet18]").model == "resnet18"
    assert settings("[data.faces]\npreset = 'celeba'\n[network.resnet18]").data == "celeba"
    assert settings("[data.faces]\npreset = 'celeba'\ndata = 'x'\n[network.resnet18]").data == "x"
    for where in ("[settings]\npreset = 'celeba'\n", ""):
        preset = "" if where else "preset = 'celeba'\n"
        weighted = settings(f"{where}[data.d]\n[network.mine]\n{preset}weights = 'w.pt'")
        assert (weighted.weights, weighted.pretrained) == (Path("w.pt"), False)
    for first, second in (("weights = 'w.pt'", "pretrained = true"), ("trained = 'w.pt'", "pretrained = true")):
        config = settings(f"[settings]\n{first}\n[data.d]\n[network.resnet18]\n{second}")
        assert (config.weights, config.trained, config.pretrained) == (None, None, True)


VARIANTS = """
[variant.gentle]
method = "prusc"
title = "PruSC, gentle"
masks = { learning_rate = 0.01, snapshots = 1 }

[variant.late]
method = "prusc"
clustering = { num_clusters = 2, checkpoint = "none" }
"""


def test_variants_are_further_rows_with_an_erm_of_their_own_only_where_they_need_one(tmp_path: Path) -> None:
    text = tiny_matrix(tmp_path).replace(
        "[data.birds]", "[data.birds]\nunbiased = { data_options = { image_size = 16 } }"
    )
    matrix = parse_matrix(text + VARIANTS, "m")
    cells = {cell.name: cell for cell in matrix.cells()}
    assert list(cells) == ["erm", "prusc", "class-balanced", "gentle", "late", "erm-unbiased"]
    gentle, late, ceiling, plain = (cells[name] for name in ("gentle", "late", "erm-unbiased", "prusc"))
    assert (gentle.title, gentle.method, gentle.config.masks.learning_rate) == ("PruSC, gentle", "prusc", 0.01)
    assert gentle.config.erm == plain.config.erm
    assert gentle.original_path == plain.original_path
    assert late.config.clustering.checkpoint is None
    assert late.original_path == Path("birds/small-cnn/original-late/seed-0")
    assert (ceiling.method, ceiling.config.data_options.image_size) == ("erm", 16)
    assert ceiling.original_path == Path("birds/small-cnn/original-erm-unbiased/seed-0")
    assert plain.config.data_options.image_size == 12
    assert str(gentle) == "gentle on birds, small-cnn, seed 0"
    import tomli_w

    assert parse_matrix(tomli_w.dumps(matrix_to_dict(matrix)), "m") == matrix
    fewer = narrow(matrix, methods=["jtt", "late"])
    assert [cell.name for cell in fewer.cells()] == ["erm", "jtt", "late", "erm-unbiased"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[variant.prusc]\nmethod = 'prusc'", "variant 'prusc' needs a name of its own"),
        ("[variant.mine]\nmethod = 'pruscc'", "variant mine: unknown method 'pruscc'; did you mean prusc"),
        ("[variant.mine]\nseed = 3", r"\[variant.mine\] sets seed; list it in seeds"),
        ("[variant]\nmine = 3", "variant.mine must be a table of settings, found 3"),
    ],
)
def test_a_bad_variant_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_matrix(f"{tiny_matrix(tmp_path)}{text}\n", "m").cells()
