import numpy as np
import pytest

from blemish.errors import MetricError
from blemish.metrics.checking import checked_map, checked_mask


def test_a_float32_map_is_not_copied():
    values = np.zeros((3, 4), np.float32)
    assert checked_map(values, "k") is values


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint8, np.float16, bool])
def test_other_real_types_become_float32(kind):
    checked = checked_map(np.ones((2, 2), kind), "k")
    assert checked.dtype == np.float32
    assert np.all(checked == 1)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("place", [0, 7, 15])
def test_a_value_that_is_not_finite_is_found_anywhere(wrong, place):
    values = np.zeros(16)
    values[place] = wrong
    with pytest.raises(MetricError, match="'screw/7' has NaN or infinite"):
        checked_map(values.reshape(4, 4), "screw/7")


def test_a_mask_of_numbers_becomes_bool():
    mask = checked_mask([[0, 1], [1.0, 0]], (2, 2), "truth", "k")
    assert mask.dtype == bool
    assert mask.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("wrong", [255, 2, -1, 0.5, np.nan])
def test_a_mask_of_other_numbers_is_refused(wrong):
    with pytest.raises(MetricError, match="other than 0 and 1"):
        checked_mask([[0, wrong]], (1, 2), "truth", "k")


def test_a_mask_of_another_shape_names_both_shapes():
    with pytest.raises(
        MetricError, match=r"valid mask of 'k' has shape \(3, 2\), its map \(2, 3\)"
    ):
        checked_mask(np.zeros((3, 2), bool), (2, 3), "valid", "k")
