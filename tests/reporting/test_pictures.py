import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from blemish.errors import ImageError
from blemish.reporting.pictures import (
    LONG_SIDE,
    LONG_SIDE_STRIP,
    PREDICTED_COLOUR,
    MapScale,
    close_up,
    colour_ramp,
    data_uri,
    heat,
    outlined,
    overlay,
    thumbnail,
    thumbnail_map,
    thumbnail_mask,
    thumbnail_size,
)
from blemish.types import Prediction, Region


def prediction(values, *, threshold=0.5, mask=None, regions=()):
    values = np.asarray(values, np.float32)
    return Prediction(
        key="part.png",
        score=1.0,
        p_value=0.1,
        defective=True,
        false_alarms=0.05,
        threshold=0.9,
        pixel_threshold=threshold,
        anomaly_map=values,
        mask=values > threshold if mask is None else mask,
        regions=regions,
    )


def lightness(colours):
    c = np.asarray(colours, float) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def decoded(uri):
    head, body = uri.split(",", 1)
    with Pillow.open(io.BytesIO(base64.b64decode(body))) as picture:
        return head, np.asarray(picture.convert("RGB"))


def test_colours_grow_lighter_evenly_from_end_to_end():
    levels = lightness(colour_ramp())
    steps = np.diff(levels)
    assert (steps > 0).all()
    assert levels[0] < 12
    assert levels[-1] > 92
    assert steps.reshape(5, -1).sum(axis=1) == pytest.approx((levels[-1] - levels[0]) / 5, abs=2)


@pytest.mark.parametrize(
    ("threshold", "low", "high"),
    [
        (0.4, 0, 0.8),
        (-2.0, -4, 0),
        (0.0, 0, 1),
        (np.inf, 0, 1),
        (np.nan, 0, 1),
    ],
)
def test_the_scale_comes_from_the_pixel_threshold_alone(threshold, low, high):
    scale = MapScale.of(threshold)
    assert (scale.low, scale.high) == pytest.approx((low, high))


def test_map_values_beyond_the_scale_or_not_numbers_have_a_colour():
    places = MapScale.of(1.0).positions(np.float32([-3, 0, 1, 2, 9, np.inf, -np.inf, np.nan]))
    assert places.tolist() == [0, 0, 0.5, 1, 1, 1, 0, 0]


def test_one_map_value_has_one_colour_whatever_else_the_image_holds():
    image = np.full((30, 30, 3), 120, np.uint8)
    calm, loud = np.full((30, 30), 0.3, np.float32), np.full((30, 30), 0.3, np.float32)
    loud[20:, 20:] = 50
    pair = [overlay(image, prediction(m, threshold=0.5)) for m in (calm, loud)]
    assert (pair[0][:10, :10] == pair[1][:10, :10]).all()
    assert (pair[0][25, 25] != pair[1][25, 25]).any()


def test_an_overlay_keeps_size_and_type_and_draws_the_outline_around_the_mask():
    image = np.full((60, 40, 3), 200, np.uint8)
    values = np.zeros((60, 40), np.float32)
    values[20:30, 10:20] = 1
    drawn = overlay(image, prediction(values))
    assert (drawn.shape, drawn.dtype) == ((60, 40, 3), np.uint8)
    assert (drawn[19, 15] == PREDICTED_COLOUR).all()
    assert (drawn[25, 15] != PREDICTED_COLOUR).any()
    assert (image == 200).all()


@pytest.mark.parametrize("which", ["anomaly_map", "mask"])
def test_an_overlay_refuses_a_prediction_of_another_image(which):
    wrong = replace(prediction(np.zeros((4, 4))), **{which: np.zeros((5, 6), np.float32)})
    with pytest.raises(ImageError, match=r"'part\.png' is 6×5 pixels, the image 4×4; pass"):
        overlay(np.zeros((4, 4, 3), np.uint8), wrong)


def test_outside_the_region_of_interest_no_colour_is_painted():
    image = np.full((10, 10, 3), 100, np.uint8)
    valid = np.ones((10, 10), bool)
    valid[:, :5] = False
    drawn = heat(image, np.full((10, 10), 1.0, np.float32), MapScale.of(0.5), valid)
    assert (drawn[:, :5] == 35).all()
    assert (drawn[0, 9] != drawn[0, 9, 0]).any()


def test_an_empty_mask_changes_nothing_and_gives_a_copy():
    image = np.full((8, 8, 3), 9, np.uint8)
    drawn = outlined(image, np.zeros((8, 8), bool), (1, 2, 3))
    assert (drawn == image).all()
    assert not np.shares_memory(drawn, image)


def test_a_mask_that_fills_the_image_has_its_line_inside():
    drawn = outlined(np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), bool), (7, 8, 9))
    assert (drawn[0, 0] == (7, 8, 9)).all()
    assert (drawn[10, 10] == 0).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1024, 1024), (360, 360)),
        ((1200, 240), (480, 96)),
        ((300, 900), (160, 480)),
        ((1, 1), (120, 120)),
        ((1, 3000), (1, 480)),
        ((100, 5), (400, 20)),
        ((200, 300), (200, 300)),
    ],
)
def test_thumbnails_fit_a_page_at_any_shape(shape, expected):
    assert thumbnail_size(*shape) == expected
    assert thumbnail(np.zeros((*shape, 3), np.uint8)).shape == (*expected, 3)
    assert thumbnail_map(np.zeros(shape, np.float32)).shape == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.data())
def test_one_hot_pixel_survives_in_every_thumbnail(height, width, data):
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    values = np.zeros((height, width), np.float32)
    values[y, x] = 3.5
    small = thumbnail_map(values)
    assert max(small.shape) <= max(LONG_SIDE, LONG_SIDE_STRIP)
    assert small.max() == 3.5
    assert thumbnail_mask(values > 0).any()


def test_a_close_up_shows_the_largest_true_defect():
    truth = np.zeros((1200, 240), bool)
    truth[700:720, 100:130] = True
    truth[10, 10] = True
    rows, columns = close_up(truth.shape, prediction(np.zeros(truth.shape)), truth)
    assert rows.start <= 700 < 720 <= rows.stop
    assert columns.start <= 100 < 130 <= columns.stop
    assert rows.stop - rows.start == columns.stop - columns.start


def test_a_close_up_without_truth_shows_the_first_region_else_the_peak():
    values = np.zeros((600, 600), np.float32)
    values[590, 5] = 2
    region = Region((300, 200, 320, 230), 600, 1.0, 1.0)
    rows, columns = close_up(values.shape, prediction(values, regions=(region,)), None)
    assert (rows.start <= 200, rows.stop >= 230, columns.start <= 300) == (True, True, True)
    rows, columns = close_up(values.shape, prediction(values), None)
    assert (rows.stop, columns.start) == (600, 0)


def test_there_is_no_close_up_that_shows_most_of_the_image():
    assert close_up((60, 60), prediction(np.zeros((60, 60))), None) is None
    assert close_up((1, 1), prediction(np.zeros((1, 1))), None) is None


def test_a_flat_picture_becomes_png_exactly():
    image = np.full((40, 50, 3), (10, 200, 30), np.uint8)
    head, back = decoded(data_uri(image, 32_000))
    assert head == "data:image/png;base64"
    assert (back == image).all()


def test_a_noisy_picture_becomes_jpeg_within_its_budget():
    image = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    sizes = []
    for budget in (200_000, 60_000, 20_000, 1):
        head, back = decoded(data_uri(image, budget))
        assert head == "data:image/jpeg;base64"
        assert back.shape == image.shape
        sizes.append(len(data_uri(image, budget)))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] <= 4 * 60_000 / 3 + 40
    assert sizes[2] < sizes[1]
