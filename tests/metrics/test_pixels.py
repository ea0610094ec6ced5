import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from blemish.errors import MetricError
from blemish.metrics.exact import ExactPixelMetrics
from blemish.metrics.pixels import PixelMetrics

LIMITS = (0.30, 0.10, 0.05, 0.01)


def metrics_of(maps, truths, valids=None, numbers=None, **options):
    options = {"pixel_threshold": 0.8, "replicates": 0} | options
    metrics = PixelMetrics(**options)
    for n in range(len(maps)) if numbers is None else numbers:
        metrics.add(
            maps[n], truths[n], None if valids is None else valids[n], f"k{n}", f"g{n // 2}"
        )
    return metrics


def values_of(metrics):
    return {name: figure.value for name, figure in metrics.figures().items()}


def same(first, second, tolerance=1e-12):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value == pytest.approx(second[name], abs=tolerance), name


def flat(maps, truths):
    return (
        np.concatenate([t.ravel() for t in truths]),
        np.concatenate([m.ravel() for m in maps]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_pooled_figures_agree_with_independent_implementations(make, naive, seed):
    maps, truths = make(seed)
    figures = values_of(metrics_of(maps, truths))
    truth, values = flat(maps, truths)
    assert figures["pixel_auroc"] == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    expected = average_precision_score(truth, values)
    assert figures["pixel_ap"] == pytest.approx(expected, abs=1e-12)
    assert figures["pixel_f1_max"] == pytest.approx(naive.best(maps, truths, naive.f1), abs=1e-12)
    assert figures["pixel_iou_max"] == pytest.approx(naive.best(maps, truths, naive.iou), abs=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_aupro_agrees_with_a_naive_loop_over_all_thresholds(make, naive, limit, decimals):
    maps, truths = make(5, decimals=decimals)
    figures = values_of(metrics_of(maps, truths, min_areas=(5,)))
    areas = [c.sum() for _, c in naive.components(truths)]
    q25, q50, q75 = np.quantile(areas, (0.25, 0.5, 0.75))
    subsets = {
        "": lambda c: True,
        "_min5": lambda c: c.sum() >= 5,
        "_q1": lambda c: c.sum() <= q25,
        "_q2": lambda c: c.sum() <= q50,
        "_q3": lambda c: c.sum() <= q75,
        "_q4": lambda c: True,
        "_d2": lambda c: q25 < c.sum() <= q50,
        "_d3": lambda c: q50 < c.sum() <= q75,
        "_d4": lambda c: c.sum() > q75,
    }
    for suffix, keep in subsets.items():
        name = f"aupro_{limit:.2f}"
        if not any(keep(c) for _, c in naive.components(truths)):
            assert figures[f"{name}{suffix}"] is None
            continue
        expected = naive.aupro(maps, truths, limit, keep)
        assert figures[f"{name}{suffix}"] == pytest.approx(expected, abs=1e-12), suffix
        expected = naive.paper_aupro(maps, truths, limit, keep)
        assert figures[f"{name}_paper{suffix}"] == pytest.approx(expected, abs=1e-12), suffix


def test_a_hand_worked_case():
    # good 1 2 3 4, one region with 3 and 5: FPR and overlap go (0, 1/2), (1/4, 1/2), (1/2, 1),
    # (1, 1), and the tie at 3 is the slanted piece from (1/4, 1/2) to (1/2, 1)
    metrics = PixelMetrics((0.25, 0.5, 1.0), 3.5, (), replicates=0)
    metrics.add(np.array([[1, 2, 3, 4, 3, 5]]), np.array([[0, 0, 0, 0, 1, 1]]))
    figures = values_of(metrics)
    assert figures["pixel_auroc"] == (2.5 + 4) / 8
    assert figures["pixel_ap"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert figures["pixel_f1_max"] == pytest.approx(2 / 3)
    assert figures["pixel_iou_max"] == 0.5
    assert figures["pixel_f1"] == 0.5  # 4 and 5 are above 3.5
    assert figures["pixel_iou"] == pytest.approx(1 / 3)
    assert figures["aupro_0.25"] == pytest.approx(0.5)
    assert figures["aupro_0.50"] == pytest.approx((0.125 + 0.1875) / 0.5)
    assert figures["aupro_1.00"] == pytest.approx(0.8125)


def test_a_perfect_map_is_1_in_every_bin_and_limit(make):
    _, truths = make(0, images=10)
    figures = metrics_of([t.astype(np.float32) for t in truths], truths).figures()
    for name, figure in figures.items():
        if figure.value is not None:
            assert figure.value == pytest.approx(1, abs=1e-12), name
        else:
            assert "areas are equal" in figure.reason
    assert {"aupro_0.01_q1", "aupro_0.01_d4", "rho_0.05"} <= {
        name for name, figure in figures.items() if figure.value
    }


def test_a_constant_map_has_aupro_015_at_030(make):
    _, truths = make()
    figures = values_of(metrics_of([np.full(t.shape, 7.0) for t in truths], truths))
    assert figures["aupro_0.30"] == pytest.approx(0.15, abs=1e-12)
    assert figures["aupro_0.01"] == pytest.approx(0.005, abs=1e-12)
    assert figures["pixel_auroc"] == 0.5


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_monotone_transform_of_scores_changes_nothing(seed):
    random = np.random.default_rng(seed)
    # whole numbers: the transform keeps them apart in float32
    maps = list(random.integers(-8, 8, (4, 9, 9)).astype(np.float32))
    truths = list(random.random((4, 9, 9)) > 0.7)
    own = values_of(metrics_of(maps, truths, pixel_threshold=None))
    other = values_of(metrics_of([np.exp(m) - 3 for m in maps], truths, pixel_threshold=None))
    same(own, other, 0)


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_images_changes_nothing(order):
    random = np.random.default_rng(3)
    maps = list(random.integers(-8, 8, (6, 9, 9)).astype(np.float32))
    truths = list(random.random((6, 9, 9)) > 0.7)
    own = values_of(metrics_of(maps, truths))
    same(own, values_of(metrics_of(maps, truths, numbers=order)))


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_merging_two_accumulators_is_one_over_both(make, cut):
    maps, truths = make()
    merged = metrics_of(maps, truths, numbers=range(cut))
    merged.merge(metrics_of(maps, truths, numbers=range(cut, 6)))
    whole = metrics_of(maps, truths)
    same(values_of(whole), values_of(merged))
    assert merged.images == 6
    assert merged.curves() == whole.curves()


def test_arrays_rebuild_the_same_state(make):
    maps, truths = make()
    for threshold in (None, 0.8):
        metrics = metrics_of(maps, truths, pixel_threshold=threshold, replicates=20)
        metrics.add(maps[0], None, key="unmarked")
        again = PixelMetrics.from_arrays(metrics.to_arrays())
        assert again.figures() == metrics.figures()
        assert (again.settings, again.notes) == (metrics.settings, metrics.notes)


PART = """
import sys
import numpy as np
from blemish.metrics.pixels import PixelMetrics
data = np.load(sys.argv[1])
metrics = PixelMetrics(pixel_threshold=0.8, replicates=50)
for n in map(int, sys.argv[3:]):
    metrics.add(data["maps"][n], data["truths"][n], None, f"k{n}", f"g{n // 2}")
np.savez(sys.argv[2], **metrics.to_arrays())
"""


def test_two_processes_that_each_see_half_merge_into_the_whole(make, tmp_path):
    maps, truths = make()
    np.savez(tmp_path / "data.npz", maps=np.stack(maps), truths=np.stack(truths))
    halves = [["0", "1", "2"], ["3", "4", "5"]]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PART, tmp_path / "data.npz", tmp_path / f"{n}.npz", *half]
        )
        for n, half in enumerate(halves)
    ]
    assert [process.wait() for process in running] == [0, 0]
    parts = []
    for n in range(2):
        with np.load(tmp_path / f"{n}.npz", allow_pickle=False) as arrays:
            parts.append(PixelMetrics.from_arrays(arrays))
    parts[0].merge(parts[1])
    assert parts[0].figures() == metrics_of(maps, truths, replicates=50).figures()


def adversarial(kind, random, size):
    """Values that break histograms: ties, near ties, heavy tails, negative and sorted ones."""
    return {
        "ties": lambda: random.integers(0, 4, size) / 3,
        "constant": lambda: np.full(size, -2.5),
        "near": lambda: 1 + random.random(size) * 1e-6,
        "tails": lambda: 10.0 ** random.uniform(-30, 30, size) * random.choice([-1, 1], size),
        "negative": lambda: -random.random(size) * 1e4,
        "sorted": lambda: np.sort(random.standard_normal(size).ravel()).reshape(size),
        "two": lambda: random.choice([-1e30, 1e-30], size),
    }[kind]()


@given(
    st.sampled_from(["ties", "constant", "near", "tails", "negative", "sorted", "two"]),
    st.integers(0, 10**6),
    st.sampled_from([9, 27, 99]),
    st.sampled_from([0, 10, 60]),
)
@settings(max_examples=60, deadline=None)
def test_every_streamed_figure_is_within_its_bound_of_the_exact_one(kind, seed, buffer, top):
    random = np.random.default_rng(seed)
    maps = list(adversarial(kind, random, (5, 12, 12)).astype(np.float32))
    truths = list(random.random((5, 12, 12)) > 0.9)
    truths[0][0, 0] = True
    stream = metrics_of(maps, truths, buffer=buffer, exact_top=top)
    exact = ExactPixelMetrics(stream, buffer=50)
    for n in range(5):
        exact.add(maps[n], truths[n], None, f"k{n}")
    truth, values = flat(maps, truths)
    assert exact.figures()["pixel_auroc"].value == pytest.approx(roc_auc_score(truth, values))
    loose, streams = 0, stream.figures()
    for name, figure in exact.figures().items():
        streamed = streams[name]
        assert figure.bound == 0
        if figure.value is not None:
            assert abs(streamed.value - figure.value) <= streamed.bound + 1e-12, name
            loose += streamed.bound > 0
    assert loose  # the buffers are small enough for the bounds to matter


@pytest.mark.parametrize("kind", ["ties", "near", "tails", "sorted"])
def test_default_sizes_keep_auroc_and_aupro_within_one_in_ten_thousand(kind):
    random = np.random.default_rng(0)
    maps = adversarial(kind, random, (4, 1000, 1000)).astype(np.float32)
    truth = np.zeros((1000, 1000), bool)
    truth[::50, :40] = True
    stream = PixelMetrics(replicates=0)
    for n, values in enumerate(maps):
        stream.add(values, truth, None, str(n))
    exact = ExactPixelMetrics(stream)
    for n, values in enumerate(maps):
        exact.add(values, truth, None, str(n))
    reference = exact.figures()
    for name, figure in stream.figures().items():
        error = abs(figure.value - reference[name].value) if figure.value is not None else 0
        assert error <= figure.bound + 1e-12
        if name.startswith(("aupro_0.30", "aupro_0.05", "pixel_auroc")) and "paper" not in name:
            assert figure.bound <= 1e-4
            assert error <= 1e-5


def test_padding_and_ignored_areas_change_nothing(make):
    maps, truths = make()
    wide_maps, wide_truths, valids = [], [], []
    for values, truth in zip(maps, truths, strict=True):
        wide_maps.append(np.pad(values, 3, constant_values=99.0))
        wide_truths.append(np.pad(truth, 3, constant_values=False))
        wide_truths[-1][0, :] = True  # a mark outside the valid area does not count
        valids.append(np.pad(np.ones_like(truth), 3, constant_values=False))
    own = metrics_of(wide_maps, wide_truths, valids)
    same(values_of(metrics_of(maps, truths)), values_of(own), 0)
    assert own.notes == ("6 marked regions lie outside the valid area: not counted.",)


def test_a_good_image_judged_good_has_no_mask_in_segf1():
    values, truth = np.array([[1.0, 0.0, 1.0]]), np.array([[True, False, False]])
    metrics = PixelMetrics(pixel_threshold=0.5, replicates=0)
    metrics.add(values, truth, key="bad", flagged=True)
    metrics.add(values, np.zeros_like(truth), key="good", flagged=False)
    figures = values_of(metrics)
    assert figures["pixel_f1"] == pytest.approx(2 / (2 + 3))
    assert figures["segf1"] == pytest.approx(2 / (2 + 1))


def test_oracles_and_estimators_are_named(test_set):
    figures = metrics_of(*test_set).figures()
    assert {name for name, figure in figures.items() if figure.oracle} == {
        "pixel_f1_max",
        "pixel_iou_max",
    }
    for name, figure in figures.items():
        if name.startswith(("aupro", "rho")):
            assert figure.estimator == ("paper" if "paper" in name else "stream")
    assert list(figures)[:4] == ["pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_iou_max"]
    assert list(figures)[7:11] == ["aupro_0.30", "aupro_0.10", "aupro_0.05", "aupro_0.01"]
    assert "our reading" in figures["rho_0.30"].label


def test_curves_end_at_the_corners_and_stay_short(make):
    curves = metrics_of(*make(0, images=20, shape=(20, 20), decimals=6)).curves()
    for x, y in curves.values():
        assert len(x) == len(y) <= 200
        assert 0 <= min(x) <= max(x) <= 1
        assert 0 <= min(y) <= max(y) <= 1
    assert (curves["pro"][0][0], curves["pro"][1][0]) == (0, 0)
    assert (curves["pro"][0][-1], curves["pro"][1][-1]) == (1, 1)
    assert curves["pixel_pr"][0][-1] == 1


def test_intervals_hold_the_value_and_repeat_with_the_seed(make):
    maps, truths = make(1, images=12)
    figures = metrics_of(maps, truths, replicates=200).figures()
    for name in ("pixel_auroc", "aupro_0.30", "aupro_0.05_q1"):
        assert figures[name].low <= figures[name].value <= figures[name].high
    assert figures == metrics_of(maps, truths, replicates=200).figures()
    other = metrics_of(maps, truths, replicates=200, seed=1).figures()
    assert other["aupro_0.30"].low != figures["aupro_0.30"].low


def test_an_empty_accumulator_says_so():
    metrics = PixelMetrics()
    assert {figure.reason for figure in metrics.figures().values()} == {"no image was added"}
    assert {figure.value for figure in metrics.figures().values()} == {None}
    assert metrics.curves() == {}
    with pytest.raises(MetricError, match="no image was added"):
        metrics.regions(0.3)


@pytest.mark.parametrize(("fill", "missing"), [(True, "good"), (False, "anomalous")])
def test_one_kind_of_pixels_gives_no_value_and_the_reason(fill, missing):
    metrics = PixelMetrics(pixel_threshold=0.5)
    metrics.add(np.eye(4), np.full((4, 4), fill))
    for figure in metrics.figures().values():
        assert figure.value is None
        assert figure.reason == f"the test set has no {missing} pixel"


def test_no_pixel_threshold_means_no_figures_at_one(make):
    figures = metrics_of(*make(), pixel_threshold=None).figures()
    assert figures["segf1"].value is None
    assert figures["segf1"].reason == "no pixel threshold was given"


def test_images_without_a_mask_are_left_out_and_counted(make):
    maps, truths = make()
    metrics = metrics_of(maps, truths)
    before = values_of(metrics)
    metrics.add(maps[0], None, key="unmarked")
    same(before, values_of(metrics), 0)
    assert metrics.notes == ("Pixel figures leave out 1 images without a mask.",)
    only = PixelMetrics()
    only.add(maps[0], None)
    reason = only.figures()["pixel_ap"].reason
    assert reason == "no image was added (1 without a mask were left out)"


@pytest.mark.parametrize(
    ("values", "truth", "valid", "message"),
    [
        (np.array([[0.0, np.nan]]), np.zeros((1, 2), bool), None, "NaN or infinite"),
        (np.array([[0.0, np.inf]]), np.zeros((1, 2), bool), None, "NaN or infinite"),
        (np.array([[0.0, 1e39]]), np.zeros((1, 2), bool), None, "NaN or infinite"),
        (np.zeros((2, 2)), np.zeros((2, 3), bool), None, r"truth mask of 'k' has shape \(2, 3\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), bool), np.ones((3, 2), bool), "valid mask"),
        (np.zeros((2, 2)), np.full((2, 2), 255), None, "other than 0 and 1"),
        (np.zeros(4), np.zeros(4, bool), None, r"a map is \(H, W\)"),
        (np.zeros((0, 4)), np.zeros((0, 4), bool), None, "not empty"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(values, truth, valid, message):
    metrics = PixelMetrics()
    with pytest.raises(MetricError, match=message):
        metrics.add(values, truth, valid, "k")
    assert metrics.images == 0


@pytest.mark.parametrize("limit", [0, -0.1, 1.1, 30, float("nan")])
def test_a_limit_outside_0_to_1_is_refused(limit):
    with pytest.raises(MetricError, match="FPR limit"):
        PixelMetrics((limit,))


def test_every_region_is_large_enough_for_an_area_of_one(make):
    assert not any("_min" in name for name in metrics_of(*make(), min_areas=(0, 1)).figures())
    figure = metrics_of(*make(), min_areas=(999,)).figures()["aupro_0.30_min999"]
    assert (figure.value, figure.reason) == (None, "no region has 999 pixels or more")


def test_an_image_counts_once():
    metrics, other = PixelMetrics(), PixelMetrics()
    for accumulator in (metrics, other):
        accumulator.add(np.eye(3), np.eye(3, dtype=bool), key="a")
    with pytest.raises(MetricError, match="'a' was added before"):
        metrics.add(np.eye(3), np.eye(3, dtype=bool), key="a")
    with pytest.raises(MetricError, match="'a' was added before"):
        metrics.merge(other)
    assert metrics.images == 1


def test_other_settings_do_not_merge():
    with pytest.raises(MetricError, match="cannot be merged"):
        PixelMetrics().merge(PixelMetrics((0.3,)))
    with pytest.raises(MetricError, match="sizes"):
        PixelMetrics().merge(PixelMetrics(buffer=9))


def test_masks_of_zeros_and_ones_count_as_bool(test_set):
    maps, truths = test_set
    numbers = [truth.astype(np.uint8) for truth in truths]
    same(values_of(metrics_of(maps, truths)), values_of(metrics_of(maps, numbers)), 0)


def test_inputs_are_left_alone(test_set):
    maps, truths = test_set
    copies = [values.copy() for values in maps]
    for values, truth in zip(maps, truths, strict=True):
        values.flags.writeable = truth.flags.writeable = False
    metrics_of(maps, truths, buffer=9).figures()
    assert all(np.array_equal(a, b) for a, b in zip(maps, copies, strict=True))
