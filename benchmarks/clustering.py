"""k-means of many representations: prusc's clustering with the choice of K against other ways, time and quality.

160,000 x 512 numbers of planted bundles. Each way runs in turn with one thread. Quality is the mean squared distance to
the nearest centre over all samples, on the unit sphere, divided by that of scikit-learn's k-means on all of them.

* prusc: `prusc.cluster_representations`, which tries K = 2, 4, 8 and 16 on 10,000 samples, and places all.
* one k-means: scikit-learn's `KMeans(16, n_init=1)` on all samples, as the yardstick.
* mini-batch: scikit-learn's `MiniBatchKMeans(16, n_init=1)`.
* Lloyd over blocks: the plain algorithm, block by block, from the centres of prusc's K = 16.
* faiss: `faiss.Kmeans`, if the package is installed.

    python benchmarks/clustering.py
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable

import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch import Tensor
from torch.nn import functional as F

from prusc import cluster_representations
from prusc.config import ClusteringConfig
from prusc.data.rows import iterate_blocks
from prusc.losses import unit_rows

NUM_CLUSTERS = 16


def make_rows(num_samples: int, dim: int, *, noise: float) -> Tensor:
    """Return bundles around random directions, some of them close to each other."""
    source = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(24, dim, generator=source), dim=1)
    directions[12:] = F.normalize(directions[:12] + 0.5 * directions[12:], dim=1)
    ids = torch.randint(24, (num_samples,), generator=source)
    return directions[ids] + noise * torch.randn(num_samples, dim, generator=source) / dim**0.5


def inertia(rows: Tensor, centres: Tensor) -> float:
    """Return the mean squared distance to the nearest centre, on the unit sphere."""
    centres, total = F.normalize(centres, dim=1), 0.0
    for _, block in iterate_blocks(rows):
        total += (2 - 2 * (unit_rows(block) @ centres.T).amax(dim=1)).double().sum().item()
    return total / len(rows)


def lloyd(rows: Tensor, centres: Tensor, *, max_passes: int = 300, tolerance: float = 1e-4) -> Tensor:
    """Run Lloyd's algorithm on the unit sphere, block by block, until an inertia falls by less than the tolerance."""
    before = float("inf")
    for _ in range(max_passes):
        sums, total = torch.zeros_like(centres), 0.0
        for _, block in iterate_blocks(rows):
            unit = unit_rows(block)
            nearest = (unit @ centres.T).max(dim=1)
            sums.index_add_(0, nearest.indices, unit)
            total += (2 - 2 * nearest.values).double().sum().item()
        centres = F.normalize(sums, dim=1)
        if before - total < tolerance * total:
            break
        before = total
    return centres


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-samples", type=int, default=160_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--noise", type=float, default=1.0, help="length of the noise beside directions of length 1")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = make_rows(arguments.num_samples, arguments.dim, noise=arguments.noise)

    def by_prusc() -> Tensor:
        # Only the centres of K = 16 can be compared; given K, the same candidates are tried all the same.
        return cluster_representations(rows, ClusteringConfig(num_clusters=NUM_CLUSTERS)).centres

    ways: dict[str, Callable[[], Tensor]] = {
        "prusc, with the choice of K": by_prusc,
        "one k-means of all": lambda: torch.from_numpy(
            KMeans(NUM_CLUSTERS, n_init=1, random_state=0).fit(unit_rows(rows).numpy()).cluster_centers_
        ),
        "mini-batch k-means": lambda: torch.from_numpy(
            MiniBatchKMeans(NUM_CLUSTERS, n_init=1, random_state=0).fit(unit_rows(rows).numpy()).cluster_centers_
        ),
        "prusc, then Lloyd over blocks": lambda: lloyd(rows, by_prusc()),
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)

        def by_faiss() -> Tensor:
            found = faiss.Kmeans(arguments.dim, NUM_CLUSTERS, niter=20, spherical=True, seed=0)
            found.train(unit_rows(rows).numpy())
            return torch.from_numpy(found.centroids)

        ways["faiss (256 samples per centre)"] = by_faiss
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    quality: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for name, run in ways.items():
            begin = time.process_time()
            centres = run()
            seconds[name].append(time.process_time() - begin)
            quality[name] = inertia(rows, centres.float())
    yardstick = "one k-means of all"
    print(f"{arguments.num_samples} x {arguments.dim}, noise {arguments.noise}, torch {torch.__version__}")
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, seconds[yardstick], strict=True))
        print(
            f"  {name:<31} {statistics.median(own):7.2f} CPU s ({min(own):.2f} to {max(own):.2f}), ratio {ratio:.3f}, "
            f"inertia {quality[name]:.4f} = {quality[name] / quality[yardstick]:.4f} of the yardstick's"
        )
    own, base = seconds["prusc, with the choice of K"], seconds[yardstick]
    print(json.dumps({"ratio": round(statistics.median(a / b for a, b in zip(own, base, strict=True)), 4)}))


if __name__ == "__main__":
    main()
