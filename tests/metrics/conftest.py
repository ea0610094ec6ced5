"""Naive implementations, written from the definitions, with loops and scikit-image's labels."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from skimage import measure

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


def components(truths):
    """All 8-connected components, as (image, boolean mask)."""
    found = []
    for image, truth in enumerate(truths):
        labels = measure.label(truth, connectivity=2)
        found += [(image, labels == n) for n in range(1, labels.max() + 1)]
    return found


def area_to_limit(x, y, limit):
    """Trapezoids up to the limit, with linear interpolation there; the points ascend in x."""
    area = 0.0
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def aupro(maps, truths, limit, keep=lambda mask: True):
    """AUPRO with every distinct value of the test set as a threshold."""
    good = np.concatenate([m[~t] for m, t in zip(maps, truths, strict=True)])
    chosen = [(i, c) for i, c in components(truths) if keep(c)]
    thresholds = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    x, y = [0.0], [0.0]
    for threshold in thresholds:
        x.append(np.mean(good >= threshold))
        y.append(np.mean([np.mean(maps[i][c] >= threshold) for i, c in chosen]))
    return area_to_limit(x, y, limit)


def paper_aupro(maps, truths, limit, keep=lambda mask: True):
    """The same with 99 order statistics of the good pixels as thresholds (L2BT)."""
    good = np.sort(np.concatenate([m[~t] for m, t in zip(maps, truths, strict=True)]))
    chosen = [(i, c) for i, c in components(truths) if keep(c)]
    x, y = [1.0], [1.0]
    for position in np.floor(np.linspace(0, good.size - 1, 99)).astype(int):
        x.append(1 - (position + 1) / good.size)
        y.append(np.mean([np.mean(maps[i][c] > good[position]) for i, c in chosen]))
    return area_to_limit(x[::-1], y[::-1], limit)


def best(maps, truths, score):
    """Largest score(tp, fp, fn) over all thresholds."""
    values = np.concatenate([m.ravel() for m in maps])
    truth = np.concatenate([t.ravel() for t in truths])
    return max(
        score(
            np.sum((values >= t) & truth),
            np.sum((values >= t) & ~truth),
            np.sum((values < t) & truth),
        )
        for t in np.unique(values)
    )


@pytest.fixture(scope="session")
def naive():
    return SimpleNamespace(
        components=components,
        aupro=aupro,
        paper_aupro=paper_aupro,
        best=best,
        f1=lambda tp, fp, fn: 2 * tp / (2 * tp + fp + fn),
        iou=lambda tp, fp, fn: tp / (tp + fp + fn),
    )


def make_test_set(seed=0, images=6, shape=(14, 11), decimals=1):
    """Maps with many ties, and masks with regions of several sizes; every second image is good."""
    random = np.random.default_rng(seed)
    maps, truths = [], []
    for number in range(images):
        truth = np.zeros(shape, bool)
        if number % 2:
            truth[1 : 2 + number, 1:4] = True
            truth[10, 8] = truth[11, 9] = True  # touches at a corner: one region
            truth[13, 0 : 1 + number % 3] = True
        values = random.standard_normal(shape) + truth
        maps.append(np.round(values, decimals).astype(np.float32))
        truths.append(truth)
    return maps, truths


@pytest.fixture
def test_set():
    return make_test_set()


@pytest.fixture
def make():
    return make_test_set
