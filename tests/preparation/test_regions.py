from fractions import Fraction

import pytest

from blemish.errors import OptionError
from blemish.preparation.regions import THIRDS, read_regions


def test_thirds_leave_no_pixel_out_and_share_none():
    regions = read_regions(THIRDS)
    assert [r.name for r in regions] == ["anode", "glass", "cathode"]
    assert regions[1].top == Fraction(1, 3)
    for height in (7, 100, 1199, 1200):
        rows = [range(height)[r.slices((height, 240))[0]] for r in regions]
        assert [i for own in rows for i in own] == list(range(height))


def test_boxes_and_pixels_as_fractions():
    left, right = read_regions(["left=0:0:60/240:1", "right=60/240:0:1:1"])
    assert left.slices((10, 240)) == (slice(0, 10), slice(0, 60))
    assert right.slices((10, 240)) == (slice(0, 10), slice(60, 240))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a=0:1/3", "b=1/3:1/2"], "cover 50.0% of the part"),
        (["a=0:0.6", "b=0.5:1"], "a and b overlap"),
        (["a=0:1/2", "a=1/2:1"], "each once"),
        ([], "at least one region"),
        (["a=0:2"], "no box inside the part"),
        (["a=0.5:0.5"], "no box inside the part"),
        (["a=0:x"], "is no region"),
        (["a=0:1/0"], "is no region"),
        (["a=0:1:2"], "is no region"),
        (["../a=0:1"], "is no name of a region"),
    ],
)
def test_a_split_that_cannot_be_is_refused(texts, message):
    with pytest.raises(OptionError, match=message):
        read_regions(texts)


def test_gaps_are_allowed_where_they_are_asked_for():
    (region,) = read_regions(["a=0.1:0.9"], gaps=True)
    assert region.slices((100, 10)) == (slice(10, 90), slice(0, 10))
