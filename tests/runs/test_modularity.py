"""The modularity task: its folder, its resumption, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from prusc.config import ModularityConfig, RunConfig
from prusc.errors import ConfigError, DataError, ModelError, RunFolderError
from prusc.masks import BinaryMask
from prusc.runs import modularity as task
from prusc.runs.modularity import ALL_SAMPLES, ModularityResult, inspect_modularity, make_functions
from prusc.stages.modularity import ALL_LAYERS, CONTROL, NO_MASK, compare_masks, stability
from tests.networks import small_cnn, striped_data
from tests.runs.modularity_cases import tiny
from tests.traces import no_trace


@pytest.fixture(scope="module")
def by_class(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModularityResult, Path]:
    out = tmp_path_factory.mktemp("modularity") / "run"
    model = small_cnn()
    with no_trace(model):
        result = inspect_modularity(model, striped_data(), tiny(), out=out)
    return result, out


def test_the_folder_holds_what_the_result_says(by_class: tuple[ModularityResult, Path]) -> None:
    result, out = by_class
    told = json.loads((out / "modularity.json").read_text())
    names = [CONTROL, "without a", "without b", "without c"]
    assert [function["name"] for function in told["functions"]] == names == list(result.masks[0])
    for function in told["functions"]:
        for number, file in enumerate(function["files"]):
            mask, expected = BinaryMask.load(out / file), result.masks[number][function["name"]]
            assert all(torch.equal(mask.tensors[layer], kept) for layer, kept in expected.tensors.items())
    table = pd.read_csv(out / "accuracies.csv")
    assert table["function"].unique().tolist() == [CONTROL, "a", "b", "c"]
    assert table["mask"].unique().tolist() == [NO_MASK, *names]
    assert len(pd.read_csv(out / "removal.csv")) == 3
    overlaps = pd.read_csv(out / "overlaps.csv")
    assert set(overlaps["seeds"]) == {"same", "different"}
    assert told["left_out"] == list(result.left_out)
    assert not (out / "stages").exists()
    assert told["group_labels_used_for"] == []


def test_overlaps_are_pooled_over_the_seeds(by_class: tuple[ModularityResult, Path]) -> None:
    result, _ = by_class
    found = [compare_masks(masks).overlap(CONTROL, "without b") for masks in result.masks]
    pooled = next(o for o in result.overlaps if o.layer == ALL_LAYERS and o.second == "without b")
    assert (pooled.first, pooled.num_both) == (CONTROL, sum(overlap.num_both for overlap in found))
    expected = {o.first: o for o in stability(*result.masks) if o.layer == ALL_LAYERS}
    assert {o.first: o for o in result.stability if o.layer == ALL_LAYERS} == expected
    frame = result.to_frame()
    assert frame["iou_with_another_seed"].tolist() == pytest.approx([expected[name].iou for name in frame["function"]])
    assert "4 functions, 2 seeds" in result._repr_html_()


class Killed(BaseException):
    """As by a signal: nothing may catch it."""


def test_a_killed_run_goes_on_after_its_last_mask(
    by_class: tuple[ModularityResult, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = by_class
    learn, learned = task.learn_function_masks, []

    def dying(model: object, functions: dict[str, object], *args: object, **kwargs: object) -> object:
        learned.extend(functions)
        if len(learned) == 6:
            raise Killed
        return learn(model, functions, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(task, "learn_function_masks", dying)
    with pytest.raises(Killed):
        inspect_modularity(small_cnn(), striped_data(), tiny(), out=tmp_path / "run")
    assert not (tmp_path / "run/modularity.json").exists()
    result = inspect_modularity(small_cnn(), striped_data(), tiny(), out=tmp_path / "run")
    assert learned == [*whole.masks[0], "all classes", "without a", "without a", "without b", "without c"]
    for before, after in zip(whole.masks, result.masks, strict=True):
        for name, mask in before.items():
            assert all(torch.equal(kept, after[name].tensors[layer]) for layer, kept in mask.tensors.items())
    assert whole.accuracies.entries == result.accuracies.entries
    assert whole.removal is not None
    assert result.removal is not None
    assert whole.removal.to_frame().equals(result.removal.to_frame())


def test_functions_by_attribute_are_its_values() -> None:
    result = inspect_modularity(small_cnn(), striped_data(), tiny("attribute:corner"))
    assert list(result.masks[0]) == [ALL_SAMPLES, "corner: red", "corner: green", "corner: blue"]
    assert result.removal is None
    data = striped_data()
    functions, control = make_functions(data, data.test, "attribute:corner")
    assert control == ALL_SAMPLES
    assert data.test.attributes is not None
    for value, name in enumerate(list(functions)[1:]):
        assert len(functions[name]) == int((data.test.attributes[:, 0] == value).sum()) == result.num_samples[name][1]
    assert result.accuracies.get("corner: red", "corner: blue").num_samples == len(functions["corner: blue"])


def test_a_column_is_read_as_an_attribute() -> None:
    config = RunConfig(modularity=ModularityConfig(by="column:site"))
    assert task._name_column(config).data_options.attributes == ("site",)
    known = replace(config, data_options=replace(config.data_options, attributes=("site", "age")))
    assert task._name_column(known) is known


def bad_runs() -> dict[str, tuple[RunConfig, type[Exception], str]]:
    skilled = tiny()
    masks = replace(skilled.modularity.masks, require_skill=True)
    return {
        "attribute": (tiny("attribute:corners"), DataError, "no attribute 'corners'; did you mean corner"),
        "chance": (
            replace(skilled, modularity=replace(skilled.modularity, masks=masks)),
            ModelError,
            "no better than chance on function 'all classes'",
        ),
    }


@pytest.mark.parametrize("case", bad_runs())
def test_a_bad_run_is_one_clear_error(case: str, tmp_path: Path) -> None:
    config, error, message = bad_runs()[case]
    with pytest.raises(error, match=message):
        inspect_modularity(small_cnn(), striped_data(), config, out=tmp_path / "run")
    assert not (tmp_path / "run/modularity.json").exists()
    if error is DataError:
        assert not (tmp_path / "run").exists()


def test_a_value_with_one_class_or_without_samples_is_refused(tmp_path: Path) -> None:
    data = striped_data()
    assert data.train.attributes is not None
    data.train.attributes[:, 0] = data.train.labels
    with pytest.raises(DataError, match=r"train split of data 'stripes': all samples of function 'corner: red'"):
        inspect_modularity(small_cnn(), data, tiny("attribute:corner"), out=tmp_path / "run")
    data.train.attributes[:, 0] = torch.arange(60) % 2
    with pytest.raises(DataError, match="function 'corner: blue' has no samples"):
        inspect_modularity(small_cnn(), data, tiny("attribute:corner"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_finished_masks_are_kept_unless_forced(by_class: tuple[ModularityResult, Path]) -> None:
    _, out = by_class
    before = (out / "modularity.json").read_bytes()
    with pytest.raises(RunFolderError, match="holds finished masks of functions"):
        inspect_modularity(small_cnn(), striped_data(), tiny(), out=out)
    assert (out / "modularity.json").read_bytes() == before


def test_unknown_kinds_are_refused() -> None:
    for by in ("classes", "attribute", "attribute:", "colour:red"):
        with pytest.raises(ConfigError, match=r"modularity\.by must be class, attribute:NAME or column:NAME"):
            ModularityConfig(by=by)
    with pytest.raises(ConfigError, match=r"modularity.num_seeds must be at least 2"):
        ModularityConfig(num_seeds=1)
