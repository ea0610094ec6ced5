import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blemish.metrics.intervals import group_weights
from blemish.metrics.pixel_intervals import auroc_interval
from blemish.metrics.pixels import PixelMetrics


@pytest.fixture
def scattered():
    """Images whose defects are not equally visible: the spread between images is what counts."""
    random = np.random.default_rng(0)
    maps, truths = [], []
    for number in range(16):
        truth = np.zeros((30, 30), bool)
        truth[5:9, 5:15] = number % 2
        maps.append(random.standard_normal((30, 30)) + truth * random.uniform(0, 3))
        truths.append(truth)
    return maps, truths


def metrics_of(maps, truths, groups, **options):
    metrics = PixelMetrics(**options)
    for n, (values, truth) in enumerate(zip(maps, truths, strict=True)):
        metrics.add(values, truth, None, f"k{n}", groups[n])
    return metrics


def test_the_interval_is_close_to_a_bootstrap_over_all_pixels(scattered):
    maps, truths = scattered
    groups = [f"g{n}" for n in range(16)]
    metrics = metrics_of(maps, truths, groups)
    low, high = auroc_interval(metrics.pooled(), metrics.log, 0, 300)
    defective = [truth.any() for truth in truths]
    samples = []
    for weights in next(group_weights(groups, defective, 0, 300)):
        drawn = np.repeat(np.arange(16), weights)
        samples.append(
            roc_auc_score(
                np.concatenate([truths[n].ravel() for n in drawn]),
                np.concatenate([maps[n].ravel() for n in drawn]),
            )
        )
    assert (low, high) == pytest.approx(np.percentile(samples, (2.5, 97.5)), abs=0.005)


def test_one_group_has_no_interval(scattered):
    for groups in (["a"] * 16, [f"g{n}" if n % 2 else "good" for n in range(16)]):
        figure = metrics_of(*scattered, groups).figures()["pixel_auroc"]
        assert (figure.low, figure.high) == (None, None)


def test_images_without_a_group_count_one_by_one(scattered):
    own = metrics_of(*scattered, [""] * 16).figures()["pixel_auroc"]
    assert own.low is not None
    assert metrics_of(*scattered, [""] * 16, replicates=0).figures()["pixel_auroc"].low is None


def test_an_image_that_is_all_defect_does_not_stop_it(scattered):
    maps, truths = scattered
    truths[1] = np.ones((30, 30), bool)
    figure = metrics_of(maps, truths, [""] * 16).figures()["pixel_auroc"]
    assert figure.low <= figure.value <= figure.high
