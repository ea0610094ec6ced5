import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish import memory
from blemish.memory import covering_radius, greedy_coreset, nearest, random_projection
from blemish.team import Team


def points(count, dimensions=6, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, dimensions)).astype(np.float32)


def one_by_one(cloud, count, start=None):
    """Plain farthest-first selection, one point at a time, in double precision."""
    cloud = cloud.astype(float)

    def away(other):
        return ((cloud - other) ** 2).sum(axis=1)

    chosen = []
    distances = np.full(len(cloud), np.inf)
    if start is None:
        chosen = [int(away(cloud.mean(axis=0)).argmin())]
        distances = away(cloud[chosen[0]])
        distances[chosen] = -np.inf
    else:
        for row in start:
            distances = np.minimum(distances, away(row))
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, away(cloud[chosen[-1]]))
        distances[chosen] = -np.inf
    return chosen


@pytest.mark.parametrize("candidates", [4, 32, 1024])
@pytest.mark.parametrize("start", [None, points(5, seed=9)])
def test_choosing_in_batches_gives_the_same_as_one_by_one(monkeypatch, candidates, start):
    monkeypatch.setattr(memory, "CANDIDATES", candidates)
    cloud = points(300)
    assert greedy_coreset(cloud, 60, start=start).tolist() == one_by_one(cloud, 60, start)


def test_blocks_of_rows_give_the_same(monkeypatch):
    cloud = points(200)
    expected = greedy_coreset(cloud, 30)
    found = nearest(cloud, cloud[:20])
    monkeypatch.setattr(memory, "BLOCK_BYTES", 700)
    np.testing.assert_array_equal(greedy_coreset(cloud, 30), expected)
    np.testing.assert_array_equal(nearest(cloud, cloud[:20])[1], found[1])


@given(st.integers(1, 25), st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
def test_no_point_is_chosen_twice_also_among_equal_ones(count, wanted, values, seed):
    cloud = np.random.default_rng(seed).integers(0, values, (count, 2)).astype(np.float32)
    chosen = greedy_coreset(cloud, wanted)
    assert len(chosen) == min(count, wanted)
    assert len(set(chosen.tolist())) == len(chosen)
    distinct = len(np.unique(cloud, axis=0))
    # Different points come before repeated ones.
    assert len(np.unique(cloud[chosen], axis=0)) == min(distinct, len(chosen))


def test_points_of_the_start_are_not_covered_again():
    cloud = np.array([[0.0], [1.0], [10.0]], np.float32)
    assert greedy_coreset(cloud, 1, start=np.array([[10.0]], np.float32)).tolist() == [0]
    assert greedy_coreset(cloud, 0).tolist() == []
    assert greedy_coreset(cloud, 2, start=cloud[:0]).tolist() == one_by_one(cloud, 2)


def test_progress_ends_at_the_count():
    seen = []
    greedy_coreset(points(50), 20, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)


def test_a_coreset_covers_better_than_chance():
    cloud = points(500, 3)
    radius, mean = covering_radius(cloud, cloud[greedy_coreset(cloud, 40)])
    assert radius < covering_radius(cloud, cloud[:40])[0]
    assert 0 < mean < radius
    assert covering_radius(cloud, cloud) == (0, 0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 99))
def test_the_nearest_is_that_of_brute_force(queries, bank, dimensions, seed):
    asked, kept = points(queries, dimensions, seed), points(bank, dimensions, seed + 1)
    distances, index = nearest(asked, kept)
    full = np.linalg.norm(asked[:, None].astype(float) - kept[None], axis=2)
    np.testing.assert_allclose(distances, full.min(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(full[np.arange(queries), index], full.min(axis=1), atol=1e-5)


def test_a_vector_of_the_bank_is_exactly_zero_away_also_far_from_the_origin():
    bank = points(30) + 1000
    distances, index = nearest(bank, bank)
    assert distances.max() == 0
    assert index.tolist() == list(range(30))


def test_a_projection_keeps_distances_on_average():
    cloud = points(60, 400)
    projected = cloud @ random_projection(400, 128, 0)
    ratio = np.linalg.norm(projected[1:] - projected[0], axis=1) / np.linalg.norm(
        cloud[1:] - cloud[0], axis=1
    )
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.1


def test_a_projection_to_no_fewer_dimensions_is_the_identity():
    np.testing.assert_array_equal(random_projection(5, 8, 0), np.eye(5))
    np.testing.assert_array_equal(random_projection(9, 4, 3), random_projection(9, 4, 3))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("started", [False, True])
def test_processes_with_a_part_each_choose_what_one_would(size, started):
    points = np.random.default_rng(4).normal(size=(5000, 8)).astype(np.float32)
    start = points[:40] + 1 if started else None
    alone = greedy_coreset(points, 300, start=start)
    parts = np.array_split(points, size)
    barrier, board = threading.Barrier(size), [None] * size

    class Together(Team):
        def gather(self, found):
            board[self.rank] = found
            barrier.wait()
            everything = list(board)
            barrier.wait()
            return everything

    def choose(rank):
        return greedy_coreset(parts[rank], 300, start=start, team=Together(rank, size))

    with ThreadPoolExecutor(size) as pool:
        chosen = list(pool.map(choose, range(size)))
    for found in chosen:
        assert found.tolist() == alone.tolist()
