"""Audit networks with and without a shortcut, and write the table of docs/results/audit.md.

    python scripts/make_audit.py                        # fashion-stickers
    PRUSC_DATA=DIR python scripts/make_audit.py isic    # ISIC with stickers too, from DIR/isic and DIR/weights
    python scripts/make_audit.py --tables-only          # the table alone, from docs/data/audit.csv

Each network is audited twice. The first audit uses the clusters of the first epoch (the default) or, on ISIC, those of
the untrained network (the default with published weights). The second one uses the clusters of the final
representations. Rows of earlier audits stay in the table.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from experiments import PHOTOGRAPHS, ROOT, insert, table

from prusc import RunConfig, audit
from prusc.config import ClusteringConfig, DataConfig, PseudoAttributeConfig, StickerConfig

RESULTS = ROOT / "docs" / "data" / "audit.csv"
CLUSTERS, FINAL = PseudoAttributeConfig(source="clusters"), ClusteringConfig(checkpoint=None)
KINDS = {None: "final", 0: "untrained", 1: "first epoch"}


def make_experiments() -> dict[str, list[tuple[str, RunConfig]]]:
    """Return names and settings by their names on the command line."""
    fashion = [
        (f"fashion-stickers, correlation {correlation:g}", RunConfig(seed=seed, data_options=DataConfig(correlation)))
        for correlation, seeds in ((0.95, range(30, 33)), (0.25, range(30, 50)))
        for seed in seeds
    ]
    isic = []
    folder = os.environ.get("PRUSC_DATA")
    for name, shares in (("50 % / 3 %", (0.5, 0.03)), ("27 % / 27 %", (0.27, 0.27))):
        for seed in range(60, 63):
            config = replace(
                PHOTOGRAPHS,
                data=f"{folder}/isic",
                pretrained=False,
                weights=Path(f"{folder}/weights/mobilenet_v2-b0353104.pth"),
                seed=seed,
                data_options=DataConfig(
                    image_size=96, keep_together="lesion_id", stickers=StickerConfig(train_shares=shares)
                ),
            )
            isic.append((f"ISIC, a sticker on {name} of the benign / malignant", config))
    return {"fashion-stickers": fashion, "isic": isic if folder else []}


def run(name: str, config: RunConfig, out: Path) -> list[dict[str, object]]:
    """Audit one network by both kinds of clusters; each audit trains the network if needed."""
    rows = []
    config = replace(config, pseudo_attribute=CLUSTERS)
    for setting in (config, replace(config, clustering=FINAL)):
        which = KINDS[setting.early_epoch]
        result = audit(config=setting, out=out / f"{name}-{config.seed}-{which}".replace(" ", "-").replace("/", "-"))
        found, first = result.audit, result.audit.clusters[0]
        beyond = [t.silhouette for t in result.clustering.trials if t.num_clusters > len(result.class_names)]
        rows.append(
            {
                "data": name,
                "seed": config.seed,
                "clusters_of": which,
                "silhouette": max(value for value in beyond if value is not None),
                "structure": found.structure,
                "verdict": found.verdict,
                "num_suspects": sum(cluster.is_suspect for cluster in found.clusters),
                "first_purity": first.class_counts[first.main_label] / sum(first.class_counts),
                "first_others_accuracy": first.others_accuracy,
                "ami_class": result.agreements[0].adjusted_mutual_information,
                "ami_attribute": result.agreements[-1].adjusted_mutual_information,
            }
        )
    return rows


def write_table(rows: pd.DataFrame) -> None:
    """Write one line per data set and kind of clusters."""
    lines = []
    for (name, which), own in rows.groupby(["data", "clusters_of"], sort=False):
        verdicts = ", ".join(f"{verdict} {count}" for verdict, count in own.verdict.value_counts().items())
        lines.append(
            [
                str(name),
                str(which),
                str(len(own)),
                f"{own.silhouette.min():.2f} to {own.silhouette.max():.2f}",
                f"{own.ami_class.mean():.2f}",
                f"{own.ami_attribute.mean():.2f}",
                verdicts,
            ]
        )
    headings = ["data", "clusters of", "networks", "best silhouette", "AMI class", "AMI sticker", "verdicts"]
    insert(ROOT / "docs" / "results" / "audit.md", "audit", table(headings, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("which", nargs="*", default=["fashion-stickers"], help="fashion-stickers, isic")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "audit")
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args(arguments)
    known = make_experiments()
    if not options.tables_only:
        rows = []
        for which in options.which:
            if which not in known or not known[which]:
                parser.error(f"no experiments {which!r}: choose among {', '.join(known)}; isic needs PRUSC_DATA")
            for name, config in known[which]:
                rows += run(name, config, options.out)
                print(f"finished {name}, seed {config.seed}", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        found = pd.DataFrame(rows)
        if RESULTS.is_file():
            before = pd.read_csv(RESULTS)
            found = pd.concat([before, found]).drop_duplicates(["data", "seed", "clusters_of"], keep="last")
        found.to_csv(RESULTS, index=False, float_format="%.6g")
    write_table(pd.read_csv(RESULTS))


if __name__ == "__main__":
    main()
