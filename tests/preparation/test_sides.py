from dataclasses import replace

import numpy as np
import pytest

from blemish.preparation.placement import Rectangle
from blemish.preparation.sides import fit_sides
from scenes import PLACE, photo

TURNED = Rectangle(241.3, 357.7, 120.4, 480.6, -7.3)


@pytest.mark.parametrize("place", [PLACE, TURNED])
def test_sides_move_onto_the_edges_to_a_fraction_of_a_pixel(place):
    coarse = replace(
        place,
        x=place.x + 1.5,
        y=place.y - 1,
        width=place.width + 4,
        height=place.height + 3,
        angle=place.angle + 0.3,
    )
    found = fit_sides(photo(place), coarse, 2)
    assert np.linalg.norm(found.place.corners - place.corners, axis=1).max() < 0.3
    assert min(found.seen) > 0.9


def test_a_covered_side_is_seen_less():
    slip = Rectangle(PLACE.x + 60, PLACE.y + 120, 90, 100, 20)
    free = fit_sides(photo(PLACE), PLACE, 2).seen
    top, right, bottom, left = fit_sides(photo(PLACE, over=slip), PLACE, 2).seen
    assert right < free[1] - 0.1
    assert (top, bottom, left) == pytest.approx((free[0], free[2], free[3]), abs=0.03)


def test_where_nothing_is_no_side_is_seen():
    assert max(fit_sides(photo(), PLACE, 2).seen) < 0.5
