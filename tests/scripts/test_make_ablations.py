from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import save_file

from tests.networks import striped_data
from tests.run_folders import TINY
from tests.scripts.scripts import import_script


def test_an_arm_is_scored_on_the_cells_of_the_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = import_script(monkeypatch, "make_ablations")
    data = striped_data(270)  # so that no side is small enough to be judged with the others
    monkeypatch.setattr(script, "data_of", lambda seed: data)
    arm, base = (script.Experiment(name, TINY) for name in ("arm", "base"))
    # An untrained network, and clusters that are the classes except for every seventh sample.
    model = script.build_run_model(TINY, data, None).eval()
    for experiment in (arm, base):
        experiment.folder(tmp_path).mkdir(parents=True)
    save_file(model.state_dict(), arm.folder(tmp_path) / "model.safetensors")
    clusters = data.val.labels.clone()
    clusters[::7] = (clusters[::7] + 1) % 3
    table = pd.DataFrame({"split": "val", "cluster_assign": clusters.numpy()})
    table.to_csv(base.folder(tmp_path) / "clusters.csv", index=False)
    found = script.score_on_cells(arm, base, tmp_path)
    # By hand: accuracies of the samples that follow their cluster and of those that do not, class by class.
    transform = script.InputTransform(data.mean, data.std)
    right = (model(transform(data.val.inputs)).argmax(dim=1) == data.val.labels).double()
    conflicts = clusters != data.val.labels
    sides = [(label, side) for label in range(3) for side in (False, True)]
    accuracies = [right[(conflicts == side) & (data.val.labels == label)].mean().item() for label, side in sides]
    assert found == pytest.approx((sum(accuracies) / 6 + min(accuracies)) / 2, abs=1e-6)
    from_validation = replace(TINY, debiasing_set=replace(TINY.debiasing_set, split="val"))
    assert script.score_on_cells(script.Experiment("arm", from_validation), base, tmp_path) is None


def test_every_arm_changes_settings_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "make_ablations")
    base = script.make_config(script.BASE, 20)
    for arm in script.ARMS:
        config = script.make_config(arm, 20)
        assert (config == base) == (arm == script.BASE), arm
