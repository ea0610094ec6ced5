import numpy as np
import pytest

from blemish.errors import MetricError
from blemish.metrics.comparison import compare_image_auroc
from blemish.metrics.ranking import auroc, average_precision
from blemish.metrics.repeated import RepeatedRuns, compare_runs


def run(seed, groups, shift=1.0):
    generator = np.random.default_rng(seed)
    bad = [g.startswith("bad") for g in groups]
    scores = generator.normal(size=len(groups)) + shift * np.array(bad)
    return {"groups": groups, "defective": bad, "scores": scores.tolist(), "threshold": 1.0}


def folds(shift=1.0, seed=0):
    bad = [f"bad{i}" for i in range(12)]
    good = [[f"good{f}{i}" for i in range(10)] for f in range(3)]
    return [run(seed * 10 + f, [*good[f], *bad], shift) for f in range(3)]


def test_the_mean_is_the_mean_of_the_runs():
    runs = folds()
    found = RepeatedRuns.of(runs)
    for name, one in (("auroc", auroc), ("average_precision", average_precision)):
        expected = np.mean([one(r["scores"], r["defective"]) for r in runs])
        assert found.mean(name) == pytest.approx(expected)
        low, high = found.interval(name, replicates=200)
        assert low < expected < high


def test_one_run_has_the_interval_of_an_ordinary_bootstrap():
    one, two = folds(1.0)[0], folds(0.5, seed=1)[0]
    found = compare_runs(RepeatedRuns.of([one]), RepeatedRuns.of([two]), seed=3)
    plain = compare_image_auroc(one["scores"], two["scores"], one["defective"], one["groups"], 3)
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_a_part_is_drawn_with_its_scores_in_all_runs():
    # The same images in three runs say no more than in one: the interval must not shrink.
    one = folds()[0]
    once, thrice = (RepeatedRuns.of([one] * n).interval("auroc", replicates=400) for n in (1, 3))
    assert once == pytest.approx(thrice, abs=0.03)


def test_every_draw_keeps_both_kinds_in_every_run():
    few = [run(f, [f"good{f}a", f"good{f}b", "bad1", "bad2"]) for f in range(4)]
    low, high = RepeatedRuns.of(few).interval("auroc", replicates=100)
    assert np.isfinite([low, high]).all()


def test_a_better_method_is_told_apart_and_equal_ones_are_not():
    better, worse = RepeatedRuns.of(folds(4.0)), RepeatedRuns.of(folds(0.0, seed=2))
    assert compare_runs(better, worse, replicates=200).low > 0
    same = compare_runs(better, better, replicates=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_other_parts_cannot_be_compared():
    with pytest.raises(MetricError, match="the same folds and seeds"):
        compare_runs(RepeatedRuns.of(folds()), RepeatedRuns.of(folds()[:2]))
    with pytest.raises(MetricError, match="one kind of image only"):
        RepeatedRuns.of([run(0, ["good1", "good2"])])
    with pytest.raises(MetricError, match="no run"):
        RepeatedRuns.of([])
