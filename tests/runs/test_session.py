"""What every run begins with, and what is refused before anything is written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prusc import RunConfig
from prusc.config import DataConfig, DebiasingSetConfig, ERMConfig, SelectionConfig
from prusc.data import Data
from prusc.data.table import SkippedSample
from prusc.errors import ConfigError, DataError, ModelError, RunFolderError
from prusc.models.build import SmallCNN
from prusc.runs import session as module
from prusc.runs.session import Session, open_session
from tests.networks import Listener, striped_data
from tests.run_folders import TINY


def begin(
    model: SmallCNN | None = None,
    data: Data | None = None,
    config: RunConfig = TINY,
    out: Path | None = None,
    progress: Listener | None = None,
    *,
    force: bool = False,
) -> Session:
    return open_session(model, data or striped_data(12), config, out=out, force=force, progress=progress)


def test_a_network_from_the_settings_is_to_be_trained_and_a_given_one_is_copied() -> None:
    session = begin()
    assert (session.is_trained, session.given) == (False, ("data",))
    assert type(session.network) is SmallCNN
    assert session.stages.folder is None
    model = SmallCNN(3)
    session = begin(model)
    assert (session.is_trained, session.given) == (True, ("model", "data"))
    assert session.network is not model
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in session.network.state_dict().items())


def test_weights_from_a_file_are_trained_if_the_settings_say_so(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    save_file(SmallCNN(3).state_dict(), file)
    assert begin(config=replace(TINY, trained=file)).is_trained
    assert not begin(config=replace(TINY, weights=file)).is_trained


def test_data_are_loaded_where_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    data = striped_data(12)
    monkeypatch.setattr(module, "load_run_data", lambda config, progress: data)
    session = open_session(None, None, TINY, out=None, force=False, progress=None)
    assert session.data is data
    assert session.given == ()


def test_what_it_begins_with_is_logged(tmp_path: Path) -> None:
    progress, data = Listener(), striped_data(12)
    skipped = replace(data, skipped=(SkippedSample("val", "a.png", "a.png is empty"),))
    begin(data=skipped, out=tmp_path / "run", progress=progress)
    assert progress.lines == [
        "data stripes: 12 train, 12 val, 12 test samples of 3 classes",
        "skipped 1 images that cannot be read or are in another split too, "
        f"listed in {tmp_path / 'run' / 'skipped.csv'}",
    ]
    logged = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert [line.partition(" ")[2] for line in logged] == progress.lines
    progress = Listener()
    begin(data=skipped, progress=progress)
    assert progress.lines[1] == "skipped 1 images that cannot be read or are in another split too"


def test_a_finished_run_is_kept_unless_force_is_asked_for(tmp_path: Path) -> None:
    session = begin(out=tmp_path / "run")
    assert session.stages.folder is not None
    session.stages.folder.write_json("metrics.json", {})
    with pytest.raises(RunFolderError, match=r"run holds a finished run; read its metrics\.json, name another folder"):
        begin(out=tmp_path / "run")
    assert session.stages.folder.is_finished
    begin(out=tmp_path / "run", force=True)
    assert not session.stages.folder.is_finished


def test_what_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    without = striped_data(12)
    without = replace(
        without,
        **{name: replace(split, attributes=None) for name, split in without.splits.items()},
        attribute_names=(),
        attribute_values=(),
    )
    config = replace(TINY, selection=SelectionConfig(rule="validation-groups"))
    with pytest.raises(
        ConfigError, match=r"validation-groups needs group labels.*'stripes' has no attributes; name them"
    ):
        begin(data=without, config=config, out=out)
    assert begin(config=config).config is config
    with pytest.raises(ConfigError, match="unknown model 'nothing'"):
        begin(config=replace(TINY, model="nothing"), out=out)
    wrong = tmp_path / "wrong.safetensors"
    save_file({"head.weight": torch.zeros(2, 2)}, wrong)
    with pytest.raises(ModelError, match=r"wrong\.safetensors"):
        begin(config=replace(TINY, trained=wrong), out=out)

    def check(data: Data) -> None:
        raise DataError(f"{data.name} will not do")

    with pytest.raises(DataError, match="stripes will not do"):
        open_session(None, striped_data(12), TINY, out=out, force=False, progress=None, check=check)
    assert not out.exists()


def test_a_run_that_skipped_other_images_is_not_resumed(tmp_path: Path) -> None:
    out, data = tmp_path / "run", striped_data(12)
    session = begin(data=data, out=out)
    assert session.stages.folder is not None
    session.stages.folder.write_tensors("erm.safetensors", {"a": torch.ones(1)})
    skipped = replace(data, skipped=(SkippedSample("val", "a.png", "a.png is empty"),))
    expected = (
        r"the run in folder .*run skipped 0 images, and these data skip 1; restore the images, or delete that run"
    )
    with pytest.raises(RunFolderError, match=expected):
        begin(data=skipped, out=out)


def test_each_feed_has_the_augmentation_of_its_stage() -> None:
    config = replace(
        TINY,
        data_options=DataConfig(crop_size=6),
        erm=ERMConfig(flip=True, min_crop_scale=0.7),
        debiasing_set=DebiasingSetConfig(flip=False),
    )
    session = begin(config=config)
    plain, train, draws = session.feed, session.train_feed, session.draw_feed(session.data.val)
    assert (plain.transform.flip, plain.transform.min_crop_scale, plain.transform.crop_size) == (False, 1.0, 6)
    assert (train.transform.flip, train.transform.min_crop_scale, train.transform.crop_size) == (True, 0.7, 6)
    # What the de-biasing set leaves open is that of the training.
    assert (draws.transform.flip, draws.transform.min_crop_scale, draws.transform.crop_size) == (False, 0.7, 6)
    assert plain.split is train.split is session.data.train
    assert draws.split is session.data.val
    session = begin(config=replace(config, debiasing_set=DebiasingSetConfig(min_crop_scale=0.5)))
    draws = session.draw_feed(session.data.train)
    assert (draws.transform.flip, draws.transform.min_crop_scale) == (True, 0.5)
