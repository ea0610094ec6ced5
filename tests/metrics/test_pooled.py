from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.metrics.pooled import PooledPixels

SEEDS = st.integers(0, 10**6)


def pooled_of(seed, error=0, decimals=1):
    """Random anomalous and good pixels in four regions, with counts off by up to `error`."""
    random = np.random.default_rng(seed)
    good = np.round(random.standard_normal(300), decimals).astype(np.float32)
    values = np.sort(np.round(random.standard_normal(50) + 1, decimals).astype(np.float32))
    regions = random.integers(0, 4, 50).astype(np.int32)
    regions[:4] = np.arange(4)
    above = np.array([np.sum(good > v) for v in values])
    not_below = np.array([np.sum(good >= v) for v in values])
    pooled = PooledPixels(
        values, regions, above, not_below, above * 0, 300, np.bincount(regions), np.zeros(4, int)
    )
    # one shift for equal values, as a summary of the good pixels gives
    _, place = np.unique(values, return_inverse=True)
    shift = random.integers(-error, error + 1, place.max() + 1)[place]
    shifted = pooled.with_counts(
        np.clip(above + shift, 0, 300), np.clip(not_below + shift, 0, 300), above * 0 + error
    )
    return pooled, shifted


@given(SEEDS, st.integers(1, 20))
def test_wrong_counts_move_every_figure_by_at_most_its_bound(seed, error):
    true, shifted = pooled_of(seed, error)
    for name in ("auroc", "average_precision", "f1_max", "iou_max"):
        value, bound = getattr(shifted, name)()
        assert abs(value - getattr(true, name)().value) <= bound + 1e-12, name
        assert getattr(true, name)().bound == 0
    for limit in (1.0, 0.3, 0.05, 0.01):
        for name in ("region_scores", "paper_region_scores"):
            scores, bounds = getattr(shifted, name)(limit)
            apart = np.abs(scores - getattr(true, name)(limit)[0])
            assert np.all(apart <= bounds + 1e-12), (name, limit)
            if name == "region_scores":
                assert np.all(bounds <= error / 300 / limit + 1e-12)


@given(SEEDS, st.sampled_from([0, 1, 6]), st.floats(0.01, 1))
def test_the_mean_over_regions_is_the_area_under_the_mean_curve(seed, decimals, limit):
    pooled, _ = pooled_of(seed, decimals=decimals)
    x, y = pooled.pro_curve()
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= -1e-12)
    last = np.searchsorted(x, limit)  # first point at or past the limit
    part = (limit - x[last - 1]) / (x[last] - x[last - 1])
    xs = np.append(x[:last], limit)
    ys = np.append(y[:last], y[last - 1] + part * (y[last] - y[last - 1]))
    area = np.sum(np.diff(xs) * (ys[1:] + ys[:-1]) / 2) / limit
    assert pooled.region_scores(limit)[0].mean() == pytest.approx(area, abs=1e-9)


@given(SEEDS)
def test_aupro_grows_with_the_limit(seed):
    pooled, _ = pooled_of(seed)
    scores = [pooled.region_scores(limit)[0] for limit in (0.01, 0.05, 0.3, 1.0)]
    for small, large in pairwise(scores):
        assert np.all(small <= large + 1e-12)


def test_one_region_with_limit_one_has_the_auroc():
    pooled, _ = pooled_of(0)
    single = PooledPixels(
        pooled.values,
        pooled.regions * 0,
        pooled.above,
        pooled.not_below,
        pooled.error,
        pooled.good,
        np.array([50]),
        np.array([0]),
    )
    assert single.region_scores(1.0)[0][0] == pytest.approx(single.auroc().value)


def test_precision_recall_runs_from_high_to_low_values():
    recall, precision = pooled_of(0)[0].precision_recall_curve()
    assert np.all(np.diff(recall) > 0)
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(50 / (50 + pooled_of(0)[0].not_below[0]))
