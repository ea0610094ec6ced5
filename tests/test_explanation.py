import json
from dataclasses import replace

import numpy as np
import pytest

from blemish.calibration import CELLS, Calibration, CalibrationBuilder
from blemish.detector import Detector
from blemish.errors import DataError, UnknownNameError
from blemish.explanation import RULES, explain
from drawn import HEIGHT, WIDTH, blob_mask, draw_defective, draw_good, plates


@pytest.fixture(scope="module")
def detector() -> Detector:
    options = {"false_alarms": 0.3, "calibration": "split", "calibration_share": 0.4}
    return Detector("patchcore", "tiny", **options).fit(plates())


def calibration(maps: np.ndarray) -> Calibration:
    builder = CalibrationBuilder()
    for number, values in enumerate(maps):
        builder.add(float(values.max()), str(number), values, None)
    return builder.build()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_a_painted_defect_and_says_what_it_counts(detector, rule):
    found = explain(detector, detector.predict(draw_defective(3)), rule)
    assert (found.mask & blob_mask(3)).any()
    assert sum(r.share for r in found.regions) == pytest.approx(1)
    assert 0 < found.inside <= 1
    assert found.threshold.shape == found.mask.shape == (HEIGHT, WIDTH)
    assert f"{found.regions[0].share:.0%}" in found.text()
    json.dumps(found.to_json())


def test_the_calibrated_rule_is_the_mask_of_the_prediction(detector):
    prediction = detector.predict(draw_defective(3))
    assert prediction.defective
    found = explain(detector, prediction)
    np.testing.assert_array_equal(found.mask, prediction.mask)
    assert found.regions == prediction.regions


def test_nothing_stands_out_of_a_map_below_its_threshold(detector):
    prediction = detector.predict(draw_good(77))
    still = replace(prediction, anomaly_map=np.zeros_like(prediction.anomaly_map))
    found = explain(detector, still)
    assert not found.mask.any()
    assert found.inside == 0
    assert found.text() == "Nothing stands out."


def test_mean_and_deviation_of_the_map_always_mark_something(detector):
    prediction = detector.predict(draw_good(77))
    values = prediction.anomaly_map
    found = explain(detector, prediction, "image")
    assert found.mask.any()
    assert found.threshold[0, 0] == pytest.approx(values.mean() + values.std(), rel=1e-4)


def test_an_unknown_rule_is_named(detector):
    with pytest.raises(UnknownNameError, match="Did you mean 'local'"):
        explain(detector, detector.predict(draw_good(1)), "locale")


def bright_corner(count: int = 40) -> np.ndarray:
    """Maps of good parts that are always high in one corner."""
    maps = np.random.default_rng(0).random((count, 64, 64)).astype(np.float32) * 0.2
    maps[:, :20, :20] += 2
    return maps


def test_a_local_threshold_is_high_where_good_maps_are_high_and_low_elsewhere():
    found = calibration(bright_corner())
    cells = found.local_thresholds(0.1)
    assert cells.shape == (CELLS, CELLS)
    assert cells[0, 0] > 2
    assert cells[-1, -1] < 0.5 < found.pixel_threshold(0.1)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_at_most_the_asked_share_of_good_images_rises_above_a_local_threshold(share):
    maps = np.random.default_rng(1).random((200, 32, 32)).astype(np.float32) ** 3
    maps[:, :10] *= 3
    thresholds = calibration(maps[:100]).local_thresholds(share)
    large = np.kron(thresholds, np.ones((2, 2)))
    flagged = (maps[100:] > large).any(axis=(1, 2)).mean()
    assert flagged <= share + 0.1


def test_a_constant_map_has_a_local_threshold():
    assert np.isfinite(calibration(np.zeros((3, 8, 8), np.float32)).local_thresholds(0.4)).all()


def test_images_smaller_than_the_grid_work():
    assert calibration(np.ones((2, 3, 1), np.float32)).local_thresholds(0.5).shape == (16, 16)


def test_what_is_not_valid_raises_no_local_threshold():
    maps = bright_corner(4)
    valid = np.ones((64, 64), bool)
    valid[:24, :24] = False
    builder = CalibrationBuilder()
    for number, values in enumerate(maps):
        builder.add(0.0, str(number), values, valid)
    assert builder.build().local_thresholds(0.3).max() < 0.5


def test_files_of_earlier_versions_have_no_local_threshold_and_say_so():
    found = calibration(bright_corner(4))
    earlier = replace(found, cells=None)
    assert "cells" not in earlier.arrays()
    assert "cells" in found.arrays()
    with pytest.raises(DataError, match="fit it again"):
        earlier.local_thresholds(0.1)


def test_moments_of_the_maps_come_from_their_quantiles():
    maps = np.random.default_rng(2).normal(3, 0.5, (5, 100, 100)).astype(np.float32)
    mean, deviation = calibration(maps).map_moments()
    assert mean == pytest.approx(maps.mean(), rel=0.01)
    assert deviation == pytest.approx(maps.std(), rel=0.05)
