"""Exhibits of a small network and striped images, without a run."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from prusc.config import AuditConfig, RuntimeConfig
from prusc.data.table import Data
from prusc.engine.runtime import Runtime
from prusc.runs.samples.exhibit import Exhibit
from prusc.stages.audit.clusters import judge_clusters
from prusc.stages.cells import Cells
from tests.networks import NUM_CLASSES, feed_of, small_cnn, striped_data

NUM_CLUSTERS = 3


def make_exhibit(
    data: Data | None = None, *, with_after: bool = True, look_at: Sequence[int] = (), seed: int = 0
) -> tuple[Exhibit, Tensor]:
    """Return an exhibit with random predictions, and the cluster of each validation sample."""
    data = striped_data(60) if data is None else data
    source = torch.Generator().manual_seed(seed)
    families = ("erm", "subnetwork") if with_after else ("erm",)
    predictions = {
        family: {
            name: torch.randint(0, NUM_CLASSES, (len(split),), generator=source)
            for name, split in (("val", data.val), ("test", data.test))
        }
        for family in families
    }
    cluster_ids = torch.randint(0, NUM_CLUSTERS, (len(data.val),), generator=source)
    clusters = judge_clusters(
        predictions["erm"]["val"],
        Cells(data.val.labels, cluster_ids, num_classes=NUM_CLASSES, num_values=NUM_CLUSTERS),
        AuditConfig(num_permutations=49),
        generator=source,
    )
    networks: dict[str, nn.Module] = {"before": small_cnn(0)}
    if with_after:
        networks["after"] = small_cnn(1)
    exhibit = Exhibit(
        data=data,
        networks=networks,
        predictions=predictions,
        clusters=clusters,
        look_at=look_at,
        head_name="head",
        feed=feed_of(data.val, runtime=Runtime(RuntimeConfig(device="cpu", num_workers=0))),
        seed=seed,
    )
    return exhibit, cluster_ids


def without_after(exhibit: Exhibit) -> Exhibit:
    """The same of an audit, which has one network."""
    return replace(exhibit, networks={"before": exhibit.networks["before"]})
