from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.resampling import (
    Span,
    blend_matrices,
    linear_matrix,
    resize_linear,
    span_matrix,
    spans,
)

SIZES = st.integers(1, 60)


@given(SIZES, SIZES)
def test_rows_of_an_interpolation_add_up_to_one(n_in, n_out):
    matrix = linear_matrix(n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 5), (5, 1), (4, 9), (9, 4), (7, 7), (3, 100)])
def test_interpolation_is_that_of_torch_without_aligned_corners(n_in, n_out):
    torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
    signal = np.random.default_rng(0).normal(size=n_in).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(signal)[None, None], size=n_out, mode="linear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(linear_matrix(n_in, n_out) @ signal, expected, atol=1e-5)


def test_matrices_are_cached_and_so_read_only():
    assert linear_matrix(3, 4) is linear_matrix(3, 4)
    with pytest.raises(ValueError, match="read-only"):
        linear_matrix(3, 4)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        blend_matrices((Span(0, 4, 0, 4),), 4, 2)[0][0] = 1


def test_one_view_is_centred():
    assert spans(5, 8, 0.25, False) == (Span(0, 5, 1, 8),)
    assert spans(8, 8, 0.25, True) == (Span(0, 8, 0, 8),)
    assert spans(3, 8, 0.25, True) == (Span(0, 3, 2, 8),)


@given(SIZES, st.integers(1, 20), st.floats(0, 0.9))
def test_tiles_cover_the_axis_and_overlap_as_asked(canvas, view, overlap):
    placed = spans(canvas, view, overlap, True)
    covered = np.zeros(canvas, int)
    for span in placed:
        assert 0 <= span.start < span.stop <= canvas
        assert span.length == view
        covered[span.start : span.stop] += 1
    assert covered.min() >= 1
    assert placed[0].start == 0
    assert placed[-1].stop == canvas
    step = max(1, round(view * (1 - overlap)))
    starts = [span.start for span in placed]
    assert all(0 < b - a <= step for a, b in pairwise(starts))


@given(SIZES, st.integers(1, 20), st.floats(0, 0.9), st.integers(1, 10))
def test_a_constant_stays_constant_across_seams(canvas, view, overlap, grid):
    placed = spans(canvas, view, overlap, True)
    line = np.zeros(canvas)
    for span, matrix in zip(placed, blend_matrices(placed, canvas, grid), strict=True):
        assert matrix.shape == (span.stop - span.start, grid)
        line[span.start : span.stop] += matrix.sum(axis=1)
    np.testing.assert_allclose(line, 1, atol=1e-5)


def test_cells_on_padding_hold_no_information():
    # 4 pixels in the middle of a view of 16 with 8 cells: only cells 3 and 4 lie on them.
    (matrix,) = blend_matrices((Span(0, 4, 6, 16),), 4, 8)
    assert np.flatnonzero(matrix.any(axis=0)).tolist() == [3, 4]


def test_cells_of_one_pixel_come_back_as_they_were():
    (matrix,) = blend_matrices((Span(0, 5, 2, 9),), 5, 9)
    np.testing.assert_array_equal(matrix @ np.arange(9.0), [2, 3, 4, 5, 6])


@pytest.mark.parametrize(("cells", "pixels"), [(4, 32), (5, 11), (8, 8)])
def test_a_span_that_fills_its_view_is_plain_interpolation(cells, pixels):
    found = span_matrix(Span(0, 32, 0, 32), pixels, cells)
    np.testing.assert_allclose(found, linear_matrix(cells, pixels), atol=1e-6)


def test_to_the_canvas_itself_it_is_what_tiles_are_blended_with():
    span = Span(0, 20, 6, 32)
    np.testing.assert_allclose(
        span_matrix(span, 20, 8), blend_matrices((span,), 20, 8)[0], atol=1e-6
    )


def test_cells_on_padding_have_no_weight():
    matrix = span_matrix(Span(0, 16, 8, 32), 40, 8)
    assert matrix.shape == (40, 8)
    assert not matrix[:, :2].any()
    assert not matrix[:, 6:].any()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 5), (1, 9), (600, 3), (4, 4), (2, 1)])
def test_resizing_is_the_product_with_both_matrices(shape):
    values = np.random.default_rng(0).random((4, 3), np.float32)
    expected = linear_matrix(4, shape[0]) @ values @ linear_matrix(3, shape[1]).T
    np.testing.assert_allclose(resize_linear(values, shape), expected, atol=1e-6)
    assert resize_linear(values, (4, 3)) is values
