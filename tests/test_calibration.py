import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blemish.calibration import LEVELS, Calibration, CalibrationBuilder
from blemish.errors import DataError, OptionError

RATES = st.floats(0.001, 0.999)


def calibrate(scores, groups=None, maps=None) -> Calibration:
    builder = CalibrationBuilder()
    for i, score in enumerate(scores):
        group = str(i) if groups is None else str(groups[i])
        found = np.full((2, 2), score, np.float32) if maps is None else maps[i]
        builder.add(score, group, found, None)
    return builder.build()


def test_p_values_of_a_hand_worked_case():
    calibration = calibrate([1, 2, 2, 4])
    expected = {0: 5 / 5, 1: 5 / 5, 1.5: 4 / 5, 2: 4 / 5, 3: 2 / 5, 4: 2 / 5, 5: 1 / 5}
    assert {s: pytest.approx(calibration.p_value(s)) for s in expected} == expected


def test_photos_of_one_part_count_once():
    # Part a: 1, 3 and 5; part b: 2. Of a third of a's photos and none of b's the score is >= 4.
    calibration = calibrate([1, 3, 5, 2], "aaab")
    assert calibration.group_count == 2
    assert calibration.p_value(4) == pytest.approx((1 + 1 / 3) / 3)
    assert calibration.p_value(2) == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert calibration.p_value(9) == pytest.approx(1 / 3)
    assert calibration.p_value(0) == 1
    assert calibration.smallest_rate() == pytest.approx(1 / 3)


def test_thresholds_of_a_hand_worked_case():
    calibration = calibrate(range(1, 20))  # 19 parts: 1 in 20 is the smallest rate
    assert calibration.threshold(0.05) == 19
    assert calibration.threshold(0.10) == 18
    assert calibration.threshold(0.14) == 18
    assert calibration.threshold(0.5) == 10


def test_below_the_smallest_rate_the_largest_score_decides():
    calibration = calibrate([3, 1, 2])
    assert calibration.threshold(0.001) == 3
    assert calibration.p_value(3.1) == 0.25


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=30),
    RATES,
    st.floats(-1, 8),
)
def test_above_the_threshold_is_the_same_as_a_small_p_value(pairs, rate, score):
    calibration = calibrate([float(s) for s, _ in pairs], [g for _, g in pairs])
    if rate < calibration.smallest_rate():
        assert calibration.threshold(rate) == max(s for s, _ in pairs)
        return
    for value in (score, float(round(score))):
        flagged = value > calibration.threshold(rate)
        p = calibration.p_value(value)
        # Sums of shares such as 1/3 are rounded: within 1e-8 of the rate either is right.
        assert flagged == (p <= rate) or abs(p - rate) < 1e-8


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_a_higher_score_never_has_a_higher_p_value(scores):
    calibration = calibrate(scores)
    found = [calibration.p_value(s) for s in np.linspace(-6, 6, 25)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(1 / (len(scores) + 1))


@pytest.mark.parametrize(("parts", "photos"), [(19, 1), (40, 1), (40, 3)])
def test_the_promise_is_kept_on_average_also_with_several_photos_per_part(parts, photos):
    rate, trials = 0.1, 3000
    generator = np.random.default_rng(5)
    flagged = 0
    for _ in range(trials):
        # Photos of one part are alike: a common deviation and a small one of each photo.
        common = generator.normal(size=parts + 1)
        photo = common[:, None] + 0.3 * generator.normal(size=(parts + 1, photos))
        scores, groups = photo[:-1].ravel(), np.repeat(np.arange(parts), photos)
        calibration = Calibration(scores, groups, *[np.empty(0)] * 3)
        flagged += photo[-1, 0] > calibration.threshold(rate)
    # Four standard errors of 3000 trials are about 0.022.
    assert flagged / trials <= rate + 0.022
    assert flagged / trials >= rate - 1 / (parts + 1) - 0.022


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (99, 0.05), (99, 0.1), (3, 0.01), (3, 0.9)])
def test_the_interval_of_the_true_rate_is_a_beta_distribution(n, rate):
    k = min(max(1, int(rate * (n + 1) + 1e-9)), n)
    expected = stats.beta(k, n + 1 - k).interval(0.95)
    assert calibrate(range(n)).rate_interval(rate) == pytest.approx(expected)


def test_the_interval_covers_the_true_rate_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        calibration = calibrate_fast(generator.random(49))
        low, high = calibration.rate_interval(0.1, 0.9)
        covered += low <= 1 - calibration.threshold(0.1) <= high
    assert covered / 1000 == pytest.approx(0.9, abs=0.035)


def calibrate_fast(scores) -> Calibration:
    return Calibration(scores, np.arange(len(scores)), *[np.empty(0)] * 3)


def test_the_pixel_threshold_by_images_counts_images_with_any_pixel_above():
    maps = [np.array([[0.0, peak]], np.float32) for peak in range(1, 11)]
    calibration = calibrate(range(10), maps=maps)
    assert calibration.pixel_threshold(0.05) == 10
    assert calibration.pixel_threshold(0.1) == 9
    assert calibration.pixel_threshold(0.25) == 8


@given(st.integers(0, 99), RATES)
def test_at_most_the_asked_share_of_images_has_a_pixel_above(seed, rate):
    maps = list(np.random.default_rng(seed).random((12, 4, 5)).astype(np.float32))
    threshold = calibrate(range(12), maps=maps).pixel_threshold(rate)
    assert np.mean([(m > threshold).any() for m in maps]) <= rate + 1e-9


@given(st.integers(0, 99), RATES)
def test_at_most_the_asked_share_of_pixels_lies_above(seed, rate):
    generator = np.random.default_rng(seed)
    maps = [generator.random((9, w)).astype(np.float32) for w in (4, 9, 30)]
    threshold = calibrate(range(3), maps=maps).pixel_threshold(rate, "pixels")
    pixels = np.concatenate([m.ravel() for m in maps])
    above = np.mean(pixels > threshold)
    assert above <= rate + 1e-9
    # Rounding up costs at most the distance of two stored quantiles.
    assert above >= rate - 2.5 * np.diff(LEVELS).max() - 3 * 1 / 36


def test_only_valid_pixels_count():
    builder = CalibrationBuilder()
    values = np.array([[1.0, 50.0]], np.float32)
    builder.add(1.0, "a", values, np.array([[True, False]]))
    calibration = builder.build()
    assert calibration.peaks.tolist() == [1.0]
    assert calibration.areas.tolist() == [1]
    with pytest.raises(DataError, match="no valid pixel"):
        builder.add(1.0, "a", values, np.zeros((1, 2), bool))


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(DataError, match="No image is left for calibration"):
        CalibrationBuilder().build()


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan"), 5])
def test_a_rate_outside_of_zero_and_one_is_refused(rate):
    calibration = calibrate([1, 2])
    for ask in (calibration.threshold, calibration.rate_interval, calibration.pixel_threshold):
        with pytest.raises(OptionError, match="not between 0 and 1"):
            ask(rate)


def test_arrays_bring_the_calibration_back():
    calibration = calibrate([1, 3, 2], "aab")
    again = Calibration(**calibration.arrays())
    assert again.p_value(2.5) == calibration.p_value(2.5)
    assert again.pixel_threshold(0.4, "pixels") == calibration.pixel_threshold(0.4, "pixels")


def test_a_rate_that_cannot_be_promised_says_how_many_parts_it_needs():
    calibration = calibrate(range(9))
    assert calibration.cannot_promise(0.1) is None
    assert "needs 19 calibration parts, there are 9" in calibration.cannot_promise(0.05)
    assert "promises at most 0.1" in calibration.cannot_promise(5e-324)
