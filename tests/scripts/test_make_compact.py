"""The tables of the page: from rows alone."""

import pandas as pd
import pytest

from tests.scripts.scripts import import_script


def test_the_quality_of_each_arm_is_compared_with_masks_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "make_compact")
    rows = [
        {"experiment": arm, "seed": seed, "worst_group_accuracy": worst + 0.01 * seed, "average_accuracy": 0.8}
        | {"flops": flops, "verdict": "improved"}
        for arm, worst, flops in ((script.BASE, 0.5, None), ("channels, sparsity 1", 0.45, 0.3))
        for seed in (0, 2)
    ]
    weights, channels = script.quality_table(pd.DataFrame(rows)).splitlines()[2:]
    assert weights.split(" | ")[1:] == ["", "80.0 (0.0)", "51.0 (1.4)", "50.0, 52.0", "", "improved, improved |"]
    assert channels.split(" | ")[1:] == [
        "30, 30",
        "80.0 (0.0)",
        "46.0 (1.4)",
        "45.0, 47.0",
        "-5.0",
        "improved, improved |",
    ]


def test_every_arm_changes_the_masks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "make_compact")
    base = script.make_config(script.BASE, 1)
    assert not base.masks.by_channel
    for arm in script.ARMS:
        config = script.make_config(arm, 1)
        assert (config.erm, config.clustering, config.finetune) == (base.erm, base.clustering, base.finetune)
        assert config.masks.by_channel == (arm != script.BASE)


def test_times_stand_beside_the_ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "make_compact")
    rows = [
        {"network": "net", "image_size": 8, "engine": engine, "batch": 1, "density": density}
        | {"parameters": 2_000_000, "operations": 4e6, "bytes": 2**20, "share_of_operations": density}
        | {"share_of_time": density * 1.2, "time_to_ideal": 1.2, "milliseconds": 3.0}
        for engine in ("PyTorch", "onnxruntime")
        for density in (1.0, 0.5)
    ]
    title, _, header, _, _, half = script.speed_tables(pd.DataFrame(rows)).splitlines()
    assert title == "### net, 8 px"
    assert "onnxruntime, batch 1" in header
    assert half == "| 0.5 | 50.0 % | 4 | 2.00 | 1.0 | 60.0 % (1.20; 3.0) | 60.0 % (1.20; 3.0) |"


@pytest.mark.slow
def test_the_benchmark_compares_networks_of_all_densities(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    script = import_script(monkeypatch, "compact", "benchmarks")
    options = ["--models", "small-cnn", "--image-size", "28", "--densities", "1", "0.5", "--batch-sizes", "1", "2"]
    monkeypatch.setattr("sys.argv", ["compact.py", *options, "--rounds", "1", "--out", f"{tmp_path}/rows.csv"])
    script.main()
    rows = pd.read_csv(f"{tmp_path}/rows.csv")
    assert len(rows) == 2 * 2 * 2
    assert rows[rows.density == 1].share_of_time.tolist() == [1] * 4
    assert (rows[rows.density == 0.5].share_of_operations < 0.3).all()
    assert rows.groupby("density").parameters.nunique().tolist() == [1, 1]
