"""The experiments on functional modularity: their data, their networks, and the table of claims."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import prusc
from prusc.config import FunctionMaskConfig
from prusc.data.table import Split
from prusc.errors import DataError, RunFolderError
from prusc.masks import maskable_parameters
from prusc.runs.session import open_session
from prusc.stages.modularity import IGNORED, Examples
from prusc.stages.representations import predict
from tests.networks import generator, small_cnn, striped_data
from tests.run_folders import TINY
from tests.scripts.scripts import import_script

PARTS = (
    *("arithmetic", "catalogue", "claims", "experiments", "images", "mathematics", "measuring", "networks", "scan"),
    *("shortcut", "transfer"),
)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return SimpleNamespace(**{name: import_script(monkeypatch, f"function_experiments.{name}") for name in PARTS})


# ---------------------------------------------------------------------------------------------------------------- SCAN


def test_scan_has_the_published_counts(scripts: SimpleNamespace) -> None:
    scan = scripts.scan
    commands = scan.all_commands()
    assert len(commands) == len({words for words, _ in commands}) == 20_910
    sizes = {
        "simple": (16_728, 4_182),
        "jump": (14_670, 7_706),
        "turn left": (21_890, 1_208),
        "length": (16_990, 3_920),
    }
    splits = {
        "simple": scan.split_simple(commands, generator()),
        "jump": scan.split_primitive(commands, ("jump",)),
        "turn left": scan.split_primitive(commands, ("turn", "left")),
        "length": scan.split_length(commands),
    }
    assert {name: (len(train), len(test)) for name, (train, test) in splits.items()} == sizes
    train, test = splits["jump"]
    assert train.count((("jump",), ("JUMP",))) == 1467
    assert all("jump" in words for words, _ in test)
    assert {len(actions) for _, actions in splits["length"][1]} == {24, 25, 26, 27, 28, 30, 32, 33, 36, 40, 48}


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        ("jump", "JUMP"),
        ("turn left twice", "LTURN LTURN"),
        ("turn opposite left", "LTURN LTURN"),
        ("walk opposite right thrice", "RTURN RTURN WALK " * 3),
        ("turn around right", "RTURN " * 4),
        ("jump around left", "LTURN JUMP " * 4),
        ("run after look left twice", "LTURN LOOK LTURN LOOK RUN"),
        ("jump left and jump thrice", "LTURN JUMP JUMP JUMP JUMP"),
    ],
)
def test_scan_commands_mean_what_the_paper_says(command: str, actions: str, scripts: SimpleNamespace) -> None:
    assert dict(scripts.scan.all_commands())[tuple(command.split())] == tuple(actions.split())


def test_scan_becomes_padded_numbers(scripts: SimpleNamespace) -> None:
    scan = scripts.scan
    examples = scan.as_examples([(("turn", "left"), ("LTURN",)), (("jump",), ("JUMP",))], max_actions=3)
    left, jump = 3 + scan.ACTIONS.index("LTURN"), 3 + scan.ACTIONS.index("JUMP")
    assert examples.inputs["commands"][0].tolist() == [0] * 7 + [5, 6]
    assert examples.inputs["previous"].tolist() == [[scan.BEGIN, left, 0, 0], [scan.BEGIN, jump, 0, 0]]
    assert examples.labels.tolist() == [[left, scan.END, IGNORED, IGNORED], [jump, scan.END, IGNORED, IGNORED]]


@pytest.mark.parametrize("kind", ["LSTMTranslator", "TransformerTranslator"])
def test_translators_do_not_look_ahead_nor_at_padding(kind: str, scripts: SimpleNamespace) -> None:
    scan = scripts.scan
    extra = {"num_layers": 1} if kind == "TransformerTranslator" else {}
    model = getattr(scripts.networks, kind)(scan.NUM_WORDS, scan.NUM_ACTIONS, 8, **extra).eval()
    pairs = [pair for pair in scan.all_commands() if len(pair[1]) in (2, 8)][::200]
    examples = scan.as_examples(pairs, 10)
    with torch.no_grad():
        together = model(**examples.inputs)
        assert together.shape == (*examples.labels.shape, scan.NUM_ACTIONS)
        for row, (_, actions) in enumerate(pairs):
            alone = model(**{name: values[row : row + 1] for name, values in examples.inputs.items()})
            length = len(actions) + 1
            torch.testing.assert_close(alone[0, :length], together[row, :length], rtol=1e-4, atol=1e-5)
        later = {name: values.clone() for name, values in examples.inputs.items()}
        later["previous"][:, 2] = 4
        torch.testing.assert_close(model(**later)[:, :2], together[:, :2], rtol=1e-4, atol=1e-5)
    assert all("embedding" not in name and "words" not in name for name in maskable_parameters(model))


# --------------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("as_sequence", [False, True])
def test_two_operations_are_all_pairs_with_the_right_answers(as_sequence: bool, scripts: SimpleNamespace) -> None:
    functions = scripts.arithmetic.two_operations(as_sequence=as_sequence)
    rows = [0, 7, 4321, 9999]
    for name, operation in (("add", lambda a, b: a + b), ("multiply", lambda a, b: a * b)):
        data = functions[name]
        assert len(data) == 10_000
        for row in rows:
            read = data.inputs[row, :2] if as_sequence else data.inputs[row]
            bits = read[:, 20:] if as_sequence else read[40:]
            assert bits.reshape(-1, 2).argmax(1).unique().tolist() == [int(name == "multiply")]
            digits = read[:, :20].reshape(2, 2, 10) if as_sequence else read[:40].reshape(2, 2, 10)
            ones, tens = digits.argmax(-1).tolist()
            numbers = [ones[i] + 10 * tens[i] for i in range(2)]
            answer = operation(*numbers) % 100
            assert data.labels[row].tolist() == [answer % 10, answer // 10]
        if as_sequence:
            assert not bool(data.inputs[:, 2:].any())


@pytest.mark.parametrize("mode", ["vector", "same input", "same output", "both"])
def test_double_addition_asks_for_both_sums(mode: str, scripts: SimpleNamespace) -> None:
    data = scripts.arithmetic.double_addition(20, generator(), mode)
    for inputs, labels in zip(data.inputs, data.labels.tolist(), strict=True):
        if mode == "vector":
            pairs = inputs.reshape(2, 2, 2, 10)
        else:
            steps = torch.stack([inputs[:2], inputs[4:6]])
            if mode == "same output":
                assert not bool(steps[0, :, 20:].any())
                assert not bool(steps[1, :, :20].any())
                steps = steps[:, :, :20] + steps[:, :, 20:]
            pairs = steps.reshape(2, 2, 2, 10)
        answers = []
        for pair in pairs:
            ones, tens = pair.argmax(-1).tolist()
            total = (ones[0] + 10 * tens[0] + ones[1] + 10 * tens[1]) % 100
            answers += [total % 10, total // 10]
        assert labels == answers


# -------------------------------------------------------------------------------------------------------- mathematics


def test_mathematics_files_are_read_and_bad_ones_refused(tmp_path: Path, scripts: SimpleNamespace) -> None:
    path = tmp_path / "arithmetic.txt"
    path.write_text("What is 1 + 1?\n2\nWhat is -3 * 4?\n-12\n")
    pairs = scripts.mathematics.read_questions(path)
    assert pairs == [("What is 1 + 1?", "2"), ("What is -3 * 4?", "-12")]
    examples = scripts.mathematics.as_examples(pairs)
    said = [scripts.mathematics.CHARACTERS[number - 3] for number in examples.labels[1, :3].tolist()]
    assert "".join(said) == "-12"
    assert examples.labels[1, 3] == scripts.mathematics.END
    for content, message in (
        ("a\n", "has 1 lines"),
        ("", "has 0 lines"),
        ("é\n1\n", "line 1"),
        ("a" * 161 + "\n1\n", "160"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            scripts.mathematics.read_questions(path)
    with pytest.raises(DataError, match="cannot be read"):
        scripts.mathematics.read_questions(tmp_path / "missing.txt")


def test_easy_and_hard_questions_get_masks(tmp_path: Path, scripts: SimpleNamespace) -> None:
    settings = scripts.measuring.Settings(
        8,
        scripts.measuring.Training(2, 8),
        FunctionMaskConfig(steps=1, batch_size=8, mask_samples=2, require_skill=False),
        num_layers=1,
        num_samples=40,
        limit=2,
    )
    run = scripts.catalogue.EXPERIMENTS["mathematics"].run
    place = scripts.measuring.Place(tmp_path)
    with pytest.raises(DataError, match=r"mathematics_dataset-v1.0.*train-easy/arithmetic__add_or_sub.txt.*--source"):
        run(settings, 0, scripts.measuring.Place())
    with pytest.raises(DataError, match=r"train-easy.arithmetic__add_or_sub.txt cannot be read"):
        run(settings, 0, place)
    for digits, folder in enumerate(scripts.mathematics.LEVELS.values(), start=1):
        (tmp_path / folder).mkdir()
        lines = [f"What is {n} + {10**digits - n}?\n{10**digits}\n" for n in range(60)]
        (tmp_path / folder / "arithmetic__add_or_sub.txt").write_text("".join(lines))
    figures = {figure.measure: figure for figure in run(settings, 0, place)}
    # A tenth of 40 questions is held out.
    assert figures["accuracy/easy/hard"].num == 4
    rows = pd.DataFrame(
        [{"experiment": "mathematics", "scale": "scaled", "seed": 0, **vars(figure)} for figure in figures.values()]
    )
    claim = next(c for c in scripts.claims.make_claims(rows) if c.experiment == "mathematics")
    told, _ = claim.test(scripts.claims.Figures(rows, "mathematics"))
    assert "weights kept for easy problems" in told


# ----------------------------------------------------------------------------------------------------------- shortcut


def test_the_subnetwork_of_a_finished_run_is_the_best_of_its_candidates_with_a_mask(
    tmp_path: Path, scripts: SimpleNamespace
) -> None:
    data, config = striped_data(90), replace(TINY, evaluate_candidates=True)
    result = prusc.debias(small_cnn(), data, config, out=tmp_path / "seed-0")
    folder = scripts.shortcut.find_run(tmp_path, 0)
    rows = pd.read_csv(folder / "candidates.csv").set_index("name")
    best = rows[rows.index.str.startswith("mask@")].score.idxmax()
    state = load_file(folder / "erm.safetensors")
    save_file(state, folder / "model.safetensors")
    session = open_session(small_cnn(), data, config, out=None, force=False, progress=None)
    session.network.load_state_dict(state)
    network, (figure,) = scripts.shortcut._find_subnetwork(folder, session.network, session)
    assert figure.value == 0
    right = predict(network, data.test).argmax(1) == data.test.labels
    assert float(right.double().mean()) == pytest.approx(rows.test_average_accuracy[best])
    assert any(bool((weight == 0).any()) for weight in network.state_dict().values())
    # A network that was handed back is taken as it is.
    state["head.weight"] = state["head.weight"] + 1
    save_file(state, folder / "model.safetensors")
    network, (figure,) = scripts.shortcut._find_subnetwork(folder, session.network, session)
    assert figure.value == 1
    assert torch.equal(network.state_dict()["head.weight"], state["head.weight"])
    assert not torch.equal(result.erm.state_dict()["head.weight"], state["head.weight"])
    (folder / "clusters.csv").unlink()
    save_file(load_file(folder / "erm.safetensors"), folder / "model.safetensors")
    with pytest.raises(RunFolderError, match=r"clusters.csv does not exist"):
        scripts.shortcut._find_subnetwork(folder, session.network, session)


def test_run_folders_are_found_by_their_seed(tmp_path: Path, scripts: SimpleNamespace) -> None:
    for name in ("seed-1", "seed-11", "moles-2", "seed-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
        for file in ("erm", "model"):
            (tmp_path / name / f"{file}.safetensors").touch()
    assert scripts.shortcut.find_run(tmp_path, 1).name == "seed-1"
    for seed, count in ((2, 2), (3, 0)):
        with pytest.raises(RunFolderError, match=f"has {count} run folders whose names end in -{seed}"):
            scripts.shortcut.find_run(tmp_path, seed)
    (tmp_path / "seed-1" / "model.safetensors").unlink()
    with pytest.raises(RunFolderError, match=r"seed-1 has no model.safetensors"):
        scripts.shortcut.find_run(tmp_path, 1)
    with pytest.raises(RunFolderError, match=r"make_generalisation\.py"):
        scripts.catalogue.EXPERIMENTS["shortcut-isic"].run(None, 0, scripts.measuring.Place())


@pytest.mark.parametrize("repeat", [True, False])
def test_classes_with_and_without_the_attribute_count_the_same(repeat: bool, scripts: SimpleNamespace) -> None:
    drawn = torch.randint(6, (90,), generator=generator()).div(2, rounding_mode="floor")
    split = Split(torch.zeros(90, 3, 4, 4, dtype=torch.uint8), drawn, torch.arange(90)[:, None] % 3)
    functions = scripts.shortcut._balanced(split, repeat=repeat)
    labels, attribute = functions["class"].labels, functions["attribute"].labels
    counts = torch.bincount(labels * 3 + attribute, minlength=9)
    before = torch.bincount(split.labels * 3 + split.attributes[:, 0], minlength=9)
    assert counts.tolist() == [int(before.max() if repeat else before.min())] * 9
    assert torch.equal(functions["class"].indices, functions["attribute"].indices)
    # No image is left out where small groups are repeated, and none stands twice where large ones are cut.
    assert len(functions["class"].indices.unique()) == (90 if repeat else len(labels))
    with pytest.raises(DataError, match="a class has no image with one value of the attribute"):
        scripts.shortcut._balanced(split.subset((split.labels != 1) | (split.attributes[:, 0] != 2)), repeat=repeat)
    assert scripts.shortcut._block_of("features.3.conv.0.0.weight") == "features.3"


# -------------------------------------------------------------------------------------------------------- experiments


def test_images_are_found_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scripts: SimpleNamespace
) -> None:
    find = scripts.images.find_images
    monkeypatch.setattr(scripts.images, "FASHION_MNIST", tmp_path / "package")
    monkeypatch.delenv("PRUSC_DATA", raising=False)
    assert find("mnist", tmp_path) == tmp_path
    with pytest.raises(DataError, match=r"no folder of mnist was found; .* --source"):
        find("mnist", None)
    with pytest.raises(DataError, match=r"package does not exist.*dataset-fashion-mnist"):
        find("fashion-mnist", None)
    (tmp_path / "package").mkdir()
    assert find("fashion-mnist", None) == tmp_path / "package"
    monkeypatch.setenv("PRUSC_DATA", str(tmp_path))
    assert find("fashion-mnist", None) == tmp_path / "package"
    (tmp_path / "fashion-mnist").mkdir()
    assert find("fashion-mnist", None) == tmp_path / "fashion-mnist"
    with pytest.raises(DataError, match="cifar10 does not exist"):
        find("cifar10", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mathematics", "--seeds", "0"), "mathematics, seed 0: the mathematics data set"),
        (("mathematics",), "mathematics has no seeds on the page; name some with --seeds"),
        (("maths",), "no experiment 'maths': choose among add-mul-fnn"),
    ],
)
def test_an_experiment_that_cannot_run_is_one_clear_error(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PRUSC_DATA", raising=False)
    script = import_script(monkeypatch, "modularity_experiments")
    with pytest.raises(SystemExit) as stop:
        script.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_list_says_what_was_not_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import_script(monkeypatch, "modularity_experiments").main(["--list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["mathematics"].endswith("not run")
    assert lines["add-mul-fnn"].endswith("seeds 0, 1, 2")


def test_used_weights_stay_as_they_were_and_others_are_drawn_anew(scripts: SimpleNamespace) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    tasks = []
    for task in range(3):
        inputs = torch.randn(64, 6, generator=generator(task))
        data = Examples(inputs, (inputs[:, task] > 0).long())
        tasks.append((data, data))
    settings = scripts.measuring.Settings(
        8,
        scripts.measuring.Training(80, 32, 3e-2),
        FunctionMaskConfig(steps=80, batch_size=32, mask_samples=2, learning_rate=0.1, sparsity=0.01),
    )
    first = scripts.transfer.learn_in_turn(model, tasks[:1], settings, seed=0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    learned = scripts.transfer.learn_in_turn(model, tasks, settings, seed=0)
    for name, weight in model.named_parameters():
        kept = first[0].mask.tensors[name]
        assert torch.equal(learned[0].mask.tensors[name], kept)
        assert torch.equal(weight[kept], before[name][kept])
        assert bool(kept.any())
        assert not bool(learned[0].was_frozen.tensors[name].any())
        assert torch.equal(learned[1].was_frozen.tensors[name], kept)
        assert torch.equal(learned[2].was_frozen.tensors[name], kept | learned[1].mask.tensors[name])
        assert not torch.equal(weight[~kept], before[name][~kept])
    # The later tasks get what the first one left.
    assert float(learned[0].right.float().mean()) > 0.7


def test_a_tiny_run_has_every_measure_of_the_claims(scripts: SimpleNamespace) -> None:
    settings = scripts.measuring.Settings(
        8,
        scripts.measuring.Training(2, 16),
        FunctionMaskConfig(steps=1, batch_size=8, mask_samples=2, require_skill=False),
        num_layers=2,
        num_samples=50,
    )
    rows = []
    for name in ("add-mul-fnn", "double-add-lstm-both"):
        figures = scripts.catalogue.EXPERIMENTS[name].run(settings, 0, scripts.measuring.Place())
        rows += [{"experiment": name, "scale": "scaled", "seed": 0, "cpu_seconds": 1, **vars(f)} for f in figures]
    table = scripts.claims.make_claims_table(pd.DataFrame(rows))
    lines = [line for line in table.splitlines() if "add and multiply; FNN" in line]
    assert len(lines) == 4
    assert all(scripts.claims.NOT_RUN not in line for line in lines)
    assert scripts.claims.NOT_RUN in table.splitlines()[-1]


def test_verdicts_follow_from_the_figures(scripts: SimpleNamespace) -> None:
    def rows(iou: tuple[float, ...], same: float) -> pd.DataFrame:
        found = []
        for seed, value in enumerate(iou):
            measures = {f"iou/{scripts.claims.ALL}/add/multiply": value}
            measures |= {f"stability/{scripts.claims.ALL}/{name}": same for name in ("add", "multiply")}
            measures |= {f"accuracy/{a}/{b}": 0.5 for a in ("add", "multiply") for b in ("add", "multiply")}
            found += [
                {
                    "experiment": "add-mul-fnn",
                    "scale": "scaled",
                    "seed": seed,
                    "measure": m,
                    "value": v,
                    "low": v,
                    "high": v,
                }
                for m, v in measures.items()
            ]
        return pd.DataFrame(found)

    test = scripts.claims.make_claims(pd.DataFrame())[0].test
    expected = {
        scripts.claims.AGREES: ((0.30, 0.31, 0.32), 0.7),
        scripts.claims.PARTLY: ((0.1, 0.6, 0.9), 0.7),
        scripts.claims.DOES_NOT: ((0.8, 0.81, 0.82), 0.7),
    }
    for verdict, (iou, same) in expected.items():
        told, found = test(scripts.claims.Figures(rows(iou, same), "add-mul-fnn"))
        assert found == verdict, told
    estimate = scripts.claims.Figures(rows((0.3, 0.4, 0.5), 0.7), "add-mul-fnn").estimate("iou/all layers/add/multiply")
    # Student's t with 2 degrees of freedom: 4.303 * 0.1 / sqrt(3).
    assert (estimate.mean, estimate.high) == pytest.approx((0.4, 0.4 + 0.2484), abs=1e-3)


def test_networks_have_the_shapes_of_their_answers(scripts: SimpleNamespace) -> None:
    networks = scripts.networks
    assert networks.FNN(42, 8, 4, 2, 10)(torch.zeros(3, 42)).shape == (3, 2, 10)
    lstm = networks.StepLSTM(20, 8, (2, 3, 6, 7), 2)
    assert lstm(torch.zeros(3, 8, 20)).shape == (3, 4, 10)
    assert len(lstm.heads) == 2
    resnet = networks.ResNet(1, 10, 3, 4)
    assert resnet(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(isinstance(module, nn.Conv2d) for module in resnet.modules()) == 7
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in networks.ResNet(18, 10, 3).modules()) == 110


def test_every_experiment_has_both_scales(scripts: SimpleNamespace) -> None:
    for name, experiment in scripts.catalogue.EXPERIMENTS.items():
        published, scaled = experiment.settings["published"], experiment.settings["scaled"]
        assert scaled.training.steps < published.training.steps, name
        assert scaled.masks.steps < published.masks.steps, name
        assert replace(scaled, width=1).width == 1


def test_images_are_permuted_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    images = import_script(monkeypatch, "function_experiments.images")
    data = Examples(torch.arange(18.0).view(2, 1, 3, 3), torch.arange(2))
    same, other = images.permute_pixels(data, 0), images.permute_pixels(data, 3)
    assert isinstance(same.inputs, Tensor)
    assert same.inputs.tolist() == data.inputs.flatten(1).tolist()
    assert (other.inputs[1] - other.inputs[0]).unique().tolist() == [9.0]
    assert sorted(other.inputs[0].tolist()) == same.inputs[0].tolist() != other.inputs[0].tolist()
    assert len(images.take_few(data, 1)) == 1
    assert images.take_few(data, 0) is data
