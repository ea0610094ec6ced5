import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.errors import MetricError
from blemish.metrics import class_threshold
from blemish.metrics.class_threshold import ClassThreshold


def images_of(seed, count=3):
    random = np.random.default_rng(seed)
    return [
        (
            np.sort(random.standard_normal(random.integers(1, 30)) + 1).astype(np.float32),
            np.sort(np.round(random.standard_normal(200), 1)).astype(np.float32),
        )
        for _ in range(count)
    ]


def fill(images, given_threshold=None):
    found = ClassThreshold(given_threshold)
    for anomalous, good in images:
        found.see(np.concatenate([anomalous, good]))
        found.add(anomalous, good)
    return found


@given(st.integers(0, 10**6), st.sampled_from([5, 17, 4096]))
@settings(max_examples=40, deadline=None)
def test_figures_are_within_their_bound_of_the_true_ones(seed, kept):
    images = images_of(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_threshold, "KEPT", kept)
        found = fill(images)
        pixels = np.concatenate([np.concatenate(image) for image in images]).astype(float)
        threshold = found.threshold
        assert threshold == pytest.approx(pixels.mean() + pixels.std())
        f1, iou = found.figures()
    for n, (anomalous, good) in enumerate(images):
        hits, falses = np.sum(anomalous > threshold), np.sum(good > threshold)
        true_f1 = 2 * hits / (hits + falses + anomalous.size)
        true_iou = hits / (falses + anomalous.size)
        assert abs(f1.values[n] - true_f1) <= f1.bounds[n] + 1e-12
        assert abs(iou.values[n] - true_iou) <= iou.bounds[n] + 1e-12
        if kept > 200:
            assert f1.bounds[n] == iou.bounds[n] == 0


def test_merging_is_one_over_both():
    images = images_of(0, 6)
    merged, whole = fill(images[:2]), fill(images)
    merged.merge(fill(images[2:]))
    assert merged.threshold == pytest.approx(whole.threshold, rel=1e-12)
    assert np.array_equal(merged.figures()[0].values, whole.figures()[0].values)


def test_arrays_rebuild_the_same_state():
    for given_threshold in (None, 0.5):
        found = fill(images_of(1), given_threshold)
        again = ClassThreshold.from_arrays(found.to_arrays())
        assert again.threshold == found.threshold
        assert np.array_equal(again.figures()[1].values, found.figures()[1].values)
    empty = ClassThreshold.from_arrays(ClassThreshold().to_arrays())
    assert empty.threshold is None
    assert empty.figures()[0].values.size == 0


def test_equal_constant_images_have_exactly_their_value_as_threshold():
    found = ClassThreshold()
    for size in (7, 1001, 33):
        found.see(np.full(size, 0.1, np.float32))
    assert found.threshold == np.float32(0.1)


def test_empty_images_and_empty_merges_change_nothing():
    found = ClassThreshold()
    found.see(np.empty(0, np.float32))
    found.merge(ClassThreshold())
    assert found.threshold is None


def test_other_given_thresholds_do_not_merge():
    with pytest.raises(MetricError, match="do not merge"):
        ClassThreshold(0.5).merge(ClassThreshold())
