import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig
from prusc.errors import DataError
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations
from prusc.stages.pseudo_attributes.given import given_clustering
from tests.networks import generator


def bundles(num_bundles: int, per_bundle: int = 30, dim: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors along a few directions, of any length, and which direction each has."""
    source = generator(seed)
    directions = torch.linalg.qr(torch.randn(dim, dim, generator=source))[0][:num_bundles]
    ids = torch.arange(num_bundles * per_bundle) % num_bundles
    vectors = directions[ids] + 0.05 * torch.randn(len(ids), dim, generator=source)
    return vectors * (torch.rand(len(ids), 1, generator=source) * 100 + 0.01), ids


def cluster(
    vectors: Tensor, num_clusters: int | None = None, seed: int = 0, num_classes: int = 1, **settings: object
) -> Clustering:
    config = ClusteringConfig(num_clusters=num_clusters, **settings)  # type: ignore[arg-type]
    return cluster_representations(vectors, config, num_classes=num_classes, generator=generator(seed))


def same_partition(first: Tensor, second: Tensor) -> bool:
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first.tolist())) == len(set(second.tolist()))


def test_directions_are_found_whatever_the_lengths() -> None:
    vectors, ids = bundles(4)
    clustering = cluster(vectors, 4)
    assert same_partition(clustering.cluster_ids, ids)
    assert clustering.num_clusters == 4
    assert clustering.centres.shape == (4, 6)
    torch.testing.assert_close(clustering.centres.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("true_number", [2, 3, 5])
def test_the_silhouette_picks_the_obvious_number(true_number: int) -> None:
    vectors, ids = bundles(true_number)
    clustering = cluster(vectors, None, candidates=(2, 3, 4, 5, 6))
    assert clustering.num_clusters == true_number
    assert same_partition(clustering.cluster_ids, ids)
    assert [trial.num_clusters for trial in clustering.trials] == [2, 3, 4, 5, 6]
    inertias = [trial.inertia for trial in clustering.trials]
    assert inertias == sorted(inertias, reverse=True)


def test_where_nothing_stands_apart_the_largest_number_is_taken_and_said_so() -> None:
    noise = torch.randn(300, 8, generator=generator(0))
    clustering = cluster(noise, None, candidates=(2, 3, 6))
    assert clustering.structure == "weak"
    assert clustering.num_clusters == 6
    lenient = cluster(noise, None, candidates=(2, 3, 6), strong_silhouette=0.9, weak_silhouette=-1.0)
    assert (lenient.structure, lenient.num_clusters) == ("reasonable", 6)
    assert cluster(bundles(3)[0], None, candidates=(2, 3, 6)).structure == "strong"


def test_clusters_that_may_be_the_classes_are_no_strong_structure() -> None:
    vectors, _ = bundles(3)
    # Three bundles of three classes: they stand apart because the classes do.
    of_three_classes = cluster(vectors, None, candidates=(2, 3, 6), num_classes=3)
    assert of_three_classes.structure != "strong"
    assert of_three_classes.num_clusters == 6
    assert cluster(vectors, None, candidates=(2, 3, 6), num_classes=2).structure == "strong"
    assert cluster(vectors, None, candidates=(2, 3), num_classes=3).structure == "strong"


def test_there_are_at_least_as_many_clusters_as_classes() -> None:
    # Three tight bundles, each of two that lie close together.
    pairs = bundles(3)[0].repeat_interleave(2, dim=0)
    vectors = torch.nn.functional.normalize(pairs, dim=1)
    vectors[::2, 5] += 0.3
    assert cluster(vectors, None, candidates=(3, 6)).num_clusters == 3
    assert cluster(vectors, None, candidates=(3, 6), num_classes=4).num_clusters == 6
    assert cluster(vectors, None, candidates=(3,), num_classes=4).num_clusters == 3


def test_a_given_number_does_not_hide_that_something_stands_apart() -> None:
    vectors, _ = bundles(3)
    clustering = cluster(vectors, 12, candidates=(2, 3, 6))
    assert clustering.num_clusters == 12
    silhouettes = {trial.num_clusters: trial.silhouette for trial in clustering.trials}
    assert list(silhouettes) == [12, 2, 3, 6]
    assert silhouettes[12] is not None
    assert silhouettes[12] < 0.7
    assert clustering.structure == "strong"


def test_the_figures_of_every_trial_are_right() -> None:
    vectors, ids = bundles(3)
    trial = cluster(vectors, 3).trials[0]
    unit = F.normalize(vectors, dim=1).double()
    centres = torch.stack([unit[ids == k].mean(0) for k in range(3)])
    assert trial.inertia == pytest.approx((unit - centres[ids]).square().sum(1).mean().item(), rel=1e-5)
    assert trial.silhouette == pytest.approx(silhouette_score(unit, ids, metric="cosine"), rel=1e-5)


def test_it_is_cosine_k_means() -> None:
    vectors = torch.randn(300, 4, generator=generator(1))
    ours = cluster(vectors, 5, num_restarts=10)
    theirs = KMeans(5, n_init=10, random_state=0).fit(F.normalize(vectors, dim=1).double())
    assert ours.trials[0].inertia == pytest.approx(theirs.inertia_ / 300, rel=0.01)


def test_a_seed_decides() -> None:
    vectors = torch.randn(200, 5, generator=generator(1))
    first, again = (cluster(vectors, 7, seed=3, num_restarts=1) for _ in range(2))
    assert torch.equal(first.cluster_ids, again.cluster_ids)
    assert torch.equal(first.centres, again.centres)
    assert first.trials == again.trials
    others = [cluster(vectors, 7, seed=seed, num_restarts=1).centres for seed in range(4, 8)]
    assert any(not torch.equal(first.centres, other) for other in others)


def test_global_randomness_is_left_alone() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    vectors, _ = bundles(2)
    before = vectors.clone()
    cluster(vectors)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(vectors, before)


@pytest.mark.parametrize("num_clusters", [3, 8, None])
def test_assign_agrees_with_the_cluster_ids(num_clusters: int | None) -> None:
    vectors = torch.randn(500, 3, generator=generator(2))
    clustering = cluster(vectors, num_clusters)
    assert torch.equal(clustering.assign(vectors), clustering.cluster_ids)
    for vector, cluster_id in zip(vectors[:50], clustering.cluster_ids, strict=False):
        cosines = [F.cosine_similarity(vector, centre, dim=0).item() for centre in clustering.centres]
        assert cosines[cluster_id] == pytest.approx(max(cosines), abs=1e-6)


@pytest.mark.parametrize("num_clusters", [2, 5])
def test_margins_say_how_far_the_next_centre_is(num_clusters: int) -> None:
    vectors = torch.randn(200, 3, generator=generator(4))
    clustering = cluster(vectors, num_clusters)
    others = 7 * torch.randn(50, 3, generator=generator(5))
    ids = torch.randint(0, num_clusters, (50,), generator=generator(6))
    for values, cluster_ids, margins in (
        (vectors, clustering.cluster_ids, clustering.margins),
        (others, ids, clustering.measure_margins(others, ids)),
    ):
        for value, cluster_id, margin in zip(values, cluster_ids.tolist(), margins.tolist(), strict=True):
            cosines = [F.cosine_similarity(value, centre, dim=0).item() for centre in clustering.centres]
            own = cosines.pop(cluster_id)
            assert margin == pytest.approx(own - max(cosines), abs=1e-5)
    assert (clustering.margins >= 0).all()
    assert (clustering.measure_margins(others, clustering.assign(others)) >= 0).all()


def test_one_cluster_has_no_border() -> None:
    vectors = torch.randn(20, 3, generator=generator())
    assert given_clustering(vectors, torch.zeros(20, dtype=torch.long)).margins.tolist() == [0.0] * 20


def test_assign_serves_samples_that_were_not_clustered() -> None:
    vectors, ids = bundles(3, per_bundle=40)
    clustering = cluster(vectors[:60], 3)
    assert same_partition(clustering.assign(vectors), ids)
    assert torch.equal(clustering.assign(vectors * 7), clustering.assign(vectors))
    assert clustering.assign(torch.empty(0, 6)).shape == (0,)


def test_duplicates_are_clustered() -> None:
    vectors = torch.eye(4)[torch.arange(40) % 3]
    clustering = cluster(vectors, 3)
    assert same_partition(clustering.cluster_ids, torch.arange(40) % 3)
    assert clustering.trials[0].inertia == pytest.approx(0, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_more_clusters_than_distinct_directions_is_an_error_that_says_so() -> None:
    # Lengths make no new direction, and neither do last digits.
    vectors = torch.eye(4)[torch.arange(40) % 3] * (1 + torch.arange(40.0)[:, None])
    vectors[:20, 3] += 1e-9
    with pytest.raises(DataError, match=r"into 4 clusters .* 40 samples have 3: lower clustering.num_clusters"):
        cluster(vectors, 4)
    with pytest.raises(DataError, match=r"into 4 clusters .* have 3"):
        cluster(vectors, None, candidates=(6, 4))
    with pytest.raises(DataError, match=r"40 samples have 3: lower class_clusters.most, or"):
        cluster_representations(
            vectors, ClusteringConfig(4), num_classes=2, generator=generator(), option="class_clusters.most"
        )


@pytest.mark.filterwarnings("error")
def test_candidates_beyond_the_distinct_directions_are_left_out() -> None:
    vectors = torch.eye(4)[torch.arange(40) % 3]
    clustering = cluster(vectors, None, candidates=(2, 3, 4, 16))
    assert [trial.num_clusters for trial in clustering.trials] == [2, 3]
    assert clustering.num_clusters == 3


def test_one_point_cannot_be_clustered() -> None:
    with pytest.raises(DataError, match="30 samples have 1"):
        cluster(torch.ones(30, 4), 2)
    with pytest.raises(DataError, match="30 samples have 1"):
        cluster(torch.zeros(30, 4), 2)


def test_zero_vectors_do_not_stop_it() -> None:
    vectors, ids = bundles(3)
    vectors[:5] = 0
    for num_clusters in (3, 4, None):
        clustering = cluster(vectors, num_clusters, candidates=(2, 3))
        assert same_partition(clustering.cluster_ids[5:], ids[5:]) or num_clusters != 3
        assert clustering.centres.isfinite().all()
        assert clustering.cluster_ids.min() >= 0
        assert clustering.cluster_ids.max() < clustering.num_clusters


def test_as_many_clusters_as_samples_have_no_silhouette() -> None:
    clustering = cluster(torch.eye(12), 12)
    assert clustering.trials[0].silhouette is None
    assert same_partition(clustering.cluster_ids, torch.arange(12))


def test_the_silhouette_is_computed_on_a_sample() -> None:
    vectors = torch.randn(200, 3, generator=generator())
    part, whole = (cluster(vectors, 4, silhouette_samples=n).trials[0] for n in (20, 200))
    assert part.inertia == pytest.approx(whole.inertia)
    assert part.silhouette != whole.silhouette


def test_the_centres_come_from_a_part_of_the_samples_and_serve_all() -> None:
    vectors, ids = bundles(3, per_bundle=40)
    clustering = cluster(vectors, 3, fit_samples=30)
    assert clustering.cluster_ids.shape == ids.shape
    assert same_partition(clustering.cluster_ids, ids)
    # Means of 30 samples are other means than those of all.
    whole = cluster(vectors, 3)
    nearest = (clustering.centres @ whole.centres.T).amax(dim=1)
    assert (nearest > 0.9).all()
    assert (nearest < 1 - 1e-6).any()
    assert clustering.trials[0].inertia != pytest.approx(whole.trials[0].inertia, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_directions_matter_at_any_scale(scale: float) -> None:
    values = torch.randn(40, 3, generator=generator()) + torch.tensor([[3.0, 0, 0], [0, 3.0, 0]]).repeat(20, 1)
    config = ClusteringConfig(num_clusters=2)
    expected, found = cluster_representations(values, config), cluster_representations(values * scale, config)
    assert torch.equal(found.cluster_ids, expected.cluster_ids)
    assert torch.allclose(found.margins, expected.margins, atol=1e-5)


def test_a_representation_that_is_not_finite_is_refused() -> None:
    values = torch.randn(10, 3, generator=generator())
    values[4, 1], values[7, 0] = float("nan"), float("inf")
    with pytest.raises(DataError, match="2 of 10 samples are not finite, the first is number 4"):
        cluster_representations(values, ClusteringConfig(num_clusters=2))
