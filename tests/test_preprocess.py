import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import DataError, OptionError
from blemish.preprocess import AUTO_PIXELS, Geometry, auto_size, cell_valid
from drawn import draw_good

SIDE = st.integers(1, 70)
GEOMETRIES = st.builds(
    Geometry,
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    fit=st.sampled_from(["pad", "stretch"]),
    interpolation=st.sampled_from(["bilinear", "area", "bicubic", "lanczos"]),
    crop=st.sampled_from([(0.0, 0.0, 1.0, 1.0), (0.25, 0.1, 0.75, 0.9)]),
    tile=st.sampled_from([0, 8, 16]),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    multiple=st.sampled_from([1, 4, 8]),
)


def left_half(height: int, width: int) -> np.ndarray:
    roi = np.zeros((height, width), bool)
    roi[:, : width // 2] = True
    return roi


@given(GEOMETRIES, SIDE, SIDE, st.integers(1, 9))
def test_a_constant_map_stays_constant_on_the_way_back(geometry, height, width, grid):
    layout = geometry.layout((height, width))
    maps = np.full((len(layout.views), grid, grid), 2.5, np.float32)
    back = geometry.to_image(geometry.to_canvas(maps, layout), layout)
    valid = geometry.image_valid(layout)
    assert back.shape == (height, width)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[valid], 2.5, rtol=1e-4)
    assert not back[~valid].any()


@given(GEOMETRIES, SIDE, SIDE)
def test_views_have_one_shape_and_valid_pixels_whatever_the_image(geometry, height, width):
    image = draw_good(1, height, width)
    pixels, valid, layout = geometry.views(image)
    shape = (len(layout.views), *geometry.view_shape)
    assert pixels.shape == (*shape, 3)
    assert pixels.dtype == np.uint8
    assert valid.shape == shape
    assert valid.any(axis=(1, 2)).all()
    assert geometry.view_shape[0] % geometry.multiple == 0
    assert geometry.view_shape[1] % geometry.multiple == 0
    mask = geometry.mask_views(np.ones((height, width), bool), layout)
    np.testing.assert_array_equal(mask, valid)


@given(GEOMETRIES, st.integers(20, 60), st.integers(20, 60), st.data())
def test_the_centre_of_a_mask_comes_back_to_where_it_was(geometry, height, width, data):
    layout = geometry.layout((height, width))
    x0, y0, x1, y1 = layout.box
    side = 5
    top = data.draw(st.integers(y0, max(y0, y1 - side)))
    left = data.draw(st.integers(x0, max(x0, x1 - side)))
    mask = np.zeros((height, width), bool)
    mask[top : min(top + side, y1), left : min(left + side, x1)] = True
    soft = geometry.mask_views(mask, layout).astype(np.float32)
    back = geometry.to_image(geometry.to_canvas(soft, layout), layout)
    if not back.any():
        return  # so small that no pixel at working resolution is half covered
    found = np.array([np.average(i, weights=back) for i in np.indices(back.shape)])
    centre = np.array([i[mask].mean() for i in np.indices(mask.shape)])
    # One pixel of the canvas is the best that a mask of whole pixels can do.
    pixel = np.array([y1 - y0, x1 - x0]) / layout.canvas_shape
    assert (np.abs(found - centre) <= np.maximum(pixel, 1)).all()


def test_an_image_at_working_resolution_is_not_changed():
    image = draw_good(2, 20, 30)
    pixels, valid, layout = Geometry((20, 30)).views(image)
    np.testing.assert_array_equal(pixels[0], image)
    assert valid.all()
    assert layout.canvas_shape == (20, 30)


def test_padding_repeats_the_edge_and_is_not_valid():
    image = draw_good(3, 10, 30)
    pixels, valid, layout = Geometry((30, 30)).views(image)
    assert layout.canvas_shape == (10, 30)
    assert valid.sum() == 300
    np.testing.assert_array_equal(pixels[0][10:20], image)
    assert (pixels[0][:10] == image[0]).all()
    assert (pixels[0][20:] == image[-1]).all()


def test_stretching_fills_the_size():
    layout = Geometry((30, 20), fit="stretch").layout((10, 50))
    assert layout.canvas_shape == (30, 20)


def test_multiples_are_filled_up_and_never_stretched():
    geometry = Geometry((30, 20), multiple=16)
    assert geometry.view_shape == (32, 32)
    pixels, valid, _ = geometry.views(draw_good(1, 30, 20))
    assert pixels.shape == (1, 32, 32, 3)
    assert valid.sum() == 600


def test_tiles_see_the_same_pixels_as_one_view():
    image = draw_good(5, 40, 56)
    pixels, _, layout = Geometry((40, 56), tile=16, overlap=0.5).views(image)
    for tile, (rows, columns) in zip(pixels, layout.views, strict=True):
        expected = image[rows.start : rows.stop, columns.start : columns.stop]
        np.testing.assert_array_equal(tile, expected)


def test_tiles_of_pixels_blend_back_without_a_seam():
    geometry = Geometry((40, 56), tile=16)
    layout = geometry.layout((40, 56))
    whole = np.random.default_rng(0).normal(size=(40, 56)).astype(np.float32)
    tiles = np.stack([whole[r.start : r.stop, c.start : c.stop] for r, c in layout.views])
    np.testing.assert_allclose(geometry.to_canvas(tiles, layout), whole, atol=1e-5)


def test_a_crop_is_seen_alone_and_its_map_is_zero_outside():
    image = draw_good(6, 40, 40)
    changed = image.copy()
    changed[:10] = 0
    geometry = Geometry((20, 40), crop=(0.0, 0.5, 1.0, 1.0))
    np.testing.assert_array_equal(geometry.views(image)[0], geometry.views(changed)[0])
    layout = geometry.layout((40, 40))
    assert layout.box == (0, 20, 40, 40)
    back = geometry.to_image(np.ones((20, 40), np.float32), layout)
    assert back[20:].all()
    assert not back[:20].any()


@pytest.mark.parametrize("shape", [(20, 30), (33, 51), (64, 20)])
def test_pixels_outside_the_region_of_interest_are_never_seen(shape):
    roi = left_half(*shape)
    geometry = Geometry((24, 24), roi=roi)
    image = draw_good(7, *shape)
    changed = np.where(roi[:, :, None], image, 255 - image)
    for one, other in zip(geometry.views(image)[:2], geometry.views(changed)[:2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_region_of_interest_of_another_size_is_stretched():
    geometry = Geometry((20, 20), roi=left_half(10, 10))
    layout = geometry.layout((40, 60))
    np.testing.assert_array_equal(geometry.image_valid(layout), left_half(40, 60))
    assert geometry.canvas_valid(layout).sum() == geometry.canvas_valid(layout).size / 2
    assert Geometry((20, 20)).canvas_valid(layout).all()


def test_cells_outside_the_region_neither_raise_nor_lower_what_is_inside():
    geometry = Geometry((32, 32), roi=left_half(32, 32))
    layout = geometry.layout((32, 32))
    maps = np.full((1, 8, 8), 3.0, np.float32)
    maps[:, :, 4:] = 1000
    canvas = geometry.to_canvas(maps, layout)
    np.testing.assert_allclose(canvas[:, :16], 3.0, rtol=1e-5)
    assert not canvas[:, 16:].any()
    assert not geometry.to_image(canvas, layout)[:, 16:].any()


@given(GEOMETRIES, st.integers(2, 40), st.integers(2, 40))
def test_a_mask_lies_inside_what_is_valid(geometry, height, width):
    mask = np.random.default_rng(0).random((height, width)) < 0.5
    layout = geometry.layout((height, width))
    assert not (
        geometry.mask_views(mask, layout) & ~geometry.views(draw_good(1, height, width))[1]
    ).any()


@pytest.mark.parametrize(
    "crop", [(0.5, 0, 0.5, 1), (0, 0.9, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.5)]
)
def test_a_crop_that_holds_nothing_is_refused(crop):
    with pytest.raises(OptionError, match="left, top, right, bottom"):
        Geometry((8, 8), crop=crop)


def test_an_empty_region_of_interest_is_refused():
    with pytest.raises(DataError, match="region of interest is empty"):
        Geometry((8, 8), roi=np.zeros((4, 4), bool))


def test_json_brings_the_geometry_back():
    roi = left_half(4, 6)
    geometry = Geometry((24, 32), "stretch", "area", (0.1, 0.2, 0.9, 1.0), 16, 0.5, 8, roi)
    again = Geometry.from_json(geometry.to_json(), roi)
    assert "roi" not in geometry.to_json()
    assert again.roi is roi
    assert again.to_json() == geometry.to_json()
    assert again.size == (24, 32)


def test_auto_size_keeps_small_images_and_bounds_large_ones():
    assert auto_size([(256, 512)]) == (256, 512)
    assert auto_size([(250, 510)]) == (256, 512)
    assert auto_size([(1, 1)]) == (16, 16)
    height, width = auto_size([(3000, 4000)] * 3 + [(10, 10)])
    assert height * width == pytest.approx(AUTO_PIXELS, rel=0.1)
    assert width / height == pytest.approx(4 / 3, rel=0.1)


def test_a_cell_is_valid_when_it_touches_a_valid_pixel():
    valid = np.zeros((10, 10), bool)
    valid[3, 3] = True
    # Three cells over ten pixels: cell 0 covers 0–3⅓, cell 1 covers 3⅓–6⅔; pixel 3 touches both.
    expected = np.zeros((3, 3), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(cell_valid(valid, (3, 3)), expected)
    np.testing.assert_array_equal(cell_valid(valid, (10, 10)), valid)
    assert cell_valid(np.ones((4, 4), bool), (2, 2)).all()
    assert not cell_valid(np.zeros((4, 4), bool), (7, 2)).any()
