"""Two detectors on the same images."""

import json

import numpy as np
import pytest

from blemish import Detector, compare, write_comparison
from blemish.errors import DataError
from blemish.reporting.comparison_page import render_comparison
from drawn import plates


@pytest.fixture(scope="module")
def data():
    return plates(train=16, good=6, defective=6)


@pytest.fixture(scope="module")
def sharp(data):
    return Detector("patchcore", "tiny", false_alarms=0.4).fit(data)


@pytest.fixture(scope="module")
def blurred(data):
    return Detector("patchcore", "tiny", false_alarms=0.4, blur=40.0, image_size="32").fit(data)


@pytest.fixture(scope="module")
def comparison(sharp, blurred, data):
    return compare(sharp, blurred, data, examples=3)


def test_a_detector_against_itself_differs_in_nothing_and_wins_half(sharp, data):
    found = compare(sharp, sharp, data, examples=1)
    for difference in found.differences.values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert set(found.shares_won.values()) == {0.5}


def test_the_better_maps_win_with_an_interval_that_leaves_out_zero(comparison):
    difference = comparison.differences["AUPRO@0.05"]
    assert 0 < difference.low <= difference.value <= difference.high
    assert comparison.shares_won["Pixel AUROC per image"] > 0.8


def test_swapping_the_detectors_changes_the_signs(comparison, sharp, blurred, data):
    swapped = compare(blurred, sharp, data, examples=0)
    for label, difference in comparison.differences.items():
        assert swapped.differences[label].value == pytest.approx(-difference.value)
    assert swapped.duels == ()


def test_duels_show_where_the_maps_differ_most(comparison):
    gaps = [abs(duel.x_auc[0] - duel.x_auc[1]) for duel in comparison.duels]
    assert len(gaps) == 3
    assert gaps == sorted(gaps, reverse=True)
    first = comparison.duels[0]
    assert first.truth.shape == first.predictions[0].anomaly_map.shape


def test_the_page_is_self_contained_and_shows_both_maps(comparison, tmp_path):
    path = write_comparison(comparison, tmp_path / "c.html", command="blemish compare a b")
    text = path.read_text("utf-8")
    assert text.count("<img") == 9
    assert "http" not in text.replace("http-equiv", "")
    assert "blemish compare a b" in text


def test_equal_figures_are_not_called_a_clear_difference(comparison):
    from dataclasses import replace

    found = comparison.differences["Image AUROC"]._replace(value=1e-17, low=1e-17, high=1e-17)
    text = render_comparison(replace(comparison, differences={"Image AUROC": found}))
    assert "not told apart" in text


def test_hostile_names_are_escaped(comparison):
    from dataclasses import replace

    duel = comparison.duels[0]
    record = replace(duel.record, key="<script>alert(1)</script>", defect_type='"><img onerror=x>')
    text = render_comparison(replace(comparison, duels=(replace(duel, record=record),)))
    assert "<script>" not in text
    assert "<img onerror" not in text


def test_the_json_holds_every_difference(comparison):
    content = json.loads(json.dumps(comparison.to_json()))
    assert set(content["differences"]) == set(comparison.differences)
    assert np.isfinite(content["differences"]["Image AUROC"]["low"])


def test_what_cannot_be_compared_is_said(sharp):
    good_only = plates(train=16, good=6, defective=0)
    found = compare(sharp, sharp, good_only)
    assert found.differences == {}
    assert any("Image AUROC" in note for note in found.notes)


def test_a_data_set_without_test_images_is_refused(sharp, data):
    with pytest.raises(DataError, match="no test images"):
        compare(sharp, sharp, data.select("train"))
