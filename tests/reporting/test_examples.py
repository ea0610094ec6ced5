from dataclasses import replace

import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.reporting.examples import picture_budget, scale_bar, sections, shown
from blemish.types import Region


@pytest.mark.parametrize(
    ("shape", "form"),
    [((1200, 240), "tall"), ((300, 300), "square"), ((200, 800), "wide"), ((1, 1), "square")],
)
def test_every_shape_of_image_gets_four_pictures_of_one_size(make_evaluation, shape, form):
    example = shown(make_evaluation(shape, examples=1).hits[0], 20_000)
    assert example.form == form
    assert [p.title for p in example.panels] == ["Image", "Anomaly map", "Predicted", "Truth"]
    assert len({(p.width, p.height) for p in example.panels}) == 1
    assert all(p.uri.startswith("data:image/") for p in example.panels)
    assert max(example.panels[0].width, example.panels[0].height) <= 480
    assert example.size == f"{shape[1]} × {shape[0]}"


def test_a_strip_gets_a_close_up_and_its_regions_in_words(make_evaluation):
    example = shown(make_evaluation((1200, 240), examples=1).hits[0], 20_000)
    assert len(example.details) == 4
    assert example.details[0].alt.startswith("Close-up of test/")
    assert example.regions[0].share == "100\u00a0%"
    assert example.regions[0].fraction == 1


def test_pictures_of_the_method_come_last(make_evaluation):
    example = shown(make_evaluation((50, 50), examples=1, own=True).hits[0], 20_000)
    assert [p.title for p in example.panels][4:] == ["Reconstruction"]
    assert example.panels[4].alt == "Reconstruction, a picture made by the method"


def test_a_defect_that_was_not_marked_is_not_shown_as_good(make_evaluation):
    hit = make_evaluation((50, 50), examples=1).hits[0]
    truth = shown(replace(hit, truth=None), 20_000).panels[3]
    assert (truth.uri, truth.alt) == ("", "Defective, but not marked in the data")


def test_outlines_are_announced_only_where_they_are_drawn(make_evaluation):
    evaluation = make_evaluation((80, 80), examples=1)
    for example, swatches in (
        (evaluation.misses[0], ["", "", "", "truth"]),
        (evaluation.false_alarms[0], ["", "", "predicted", ""]),
        (evaluation.hits[0], ["", "", "predicted", "truth"]),
    ):
        assert [p.swatch for p in shown(example, 20_000).panels] == swatches


def test_many_regions_are_counted_not_listed(make_evaluation):
    hit = make_evaluation((80, 80), examples=1).hits[0]
    regions = tuple(Region((i, 0, i + 1, 1), 1234, 1.0, 0.1) for i in range(9))
    example = shown(replace(hit, prediction=replace(hit.prediction, regions=regions)), 20_000)
    assert (len(example.regions), example.more_regions) == (4, 5)
    assert example.regions[1].place == "1 × 1 at 1, 0"
    assert example.regions[1].area == "1\u202f234"
    assert example.panels[2].alt.endswith("outlined, 9 regions")


def test_a_map_of_another_size_is_refused(make_evaluation):
    hit = make_evaluation((40, 40), examples=1).hits[0]
    wrong = replace(hit, image=np.zeros((41, 40, 3), np.uint8))
    with pytest.raises(ImageError, match="anomaly map"):
        shown(wrong, 20_000)


def test_pixels_outside_the_region_of_interest_are_darkened(make_evaluation):
    hit = make_evaluation((60, 60), examples=1).hits[0]
    masked = replace(hit, valid=np.zeros((60, 60), bool))
    assert shown(hit, 20_000).panels[1].uri != shown(masked, 20_000).panels[1].uri


def test_each_section_keeps_its_first_examples(make_evaluation):
    evaluation = make_evaluation((30, 30), examples=3)
    kept = sections((evaluation.misses, evaluation.false_alarms, evaluation.hits), 2)
    assert [len(group) for group in kept] == [min(2, len(evaluation.misses)), 2, 2]
    assert kept[2][0].name == evaluation.hits[0].result.key


def test_more_pictures_are_smaller_pictures_down_to_a_limit(make_evaluation):
    hit = make_evaluation((30, 30), examples=1).hits[0]
    assert picture_budget([]) == picture_budget([hit]) == 32_000
    assert picture_budget([hit] * 36) == 4_500_000 // 288
    assert picture_budget([hit] * 9000) == 4_000


def test_the_scale_bar_names_the_threshold_where_there_is_one():
    assert "0.420, the pixel threshold" in scale_bar(0.42)
    assert "0.840 and above" in scale_bar(0.42)
    assert "the pixel threshold" not in scale_bar(float("inf"))
