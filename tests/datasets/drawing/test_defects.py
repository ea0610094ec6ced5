import numpy as np
import pytest

from blemish.datasets.drawing import defects
from blemish.datasets.drawing.plate import REGIONS, draw_plate


def sampled(kind: str, count: int) -> list[defects.Defect]:
    return [defects.sample_defect(np.random.default_rng((7, n)), kind) for n in range(count)]


@pytest.mark.parametrize("kind", defects.KINDS)
def test_a_defect_stays_in_its_region_at_any_jitter(kind: str):
    for defect in sampled(kind, 60):
        rows = np.flatnonzero(defects.footprint(defect, 1.0).any(1))
        top, bottom = REGIONS[defect.region]
        assert top + 3 <= rows[0] <= rows[-1] < bottom - 3


@pytest.mark.parametrize("kind", defects.KINDS)
def test_a_footprint_is_whole_and_has_the_same_size_at_every_scale(kind: str):
    for defect in sampled(kind, 12):
        one, three = (defects.footprint(defect, scale) for scale in (1.0, 3.0))
        assert three.sum() / 9 == pytest.approx(one.sum(), rel=0.04)
        left, top, right, bottom = defects.reach(defect)
        ys, xs = np.nonzero(three)
        assert xs.min() / 3 > left
        assert xs.max() / 3 + 1 < right
        assert ys.min() / 3 > top
        assert ys.max() / 3 + 1 < bottom


@pytest.mark.parametrize("kind", defects.KINDS)
def test_a_defect_changes_the_plate_inside_its_footprint_only(kind: str):
    for defect in sampled(kind, 10):
        canvas, before = (draw_plate(np.random.default_rng(0)) for _ in range(2))
        defects.add_defect(canvas, defect)
        changed = (canvas.rgb != before.rgb).any(0) | (canvas.alpha != before.alpha)
        inside = defects.footprint(defect, 1.0)
        assert changed.any()
        assert not changed[inside == 0].any()


def test_missing_material_at_the_edge_lets_the_background_through():
    notches = [d for d in sampled("missing", 40) if d.edge]
    assert 8 < len(notches) < 30
    canvas = draw_plate(np.random.default_rng(0))
    before = canvas.alpha.sum()
    defects.add_defect(canvas, notches[0])
    lost = before - canvas.alpha.sum()
    assert lost == pytest.approx(defects.footprint(notches[0], 1.0).sum(), rel=0.1)


def test_glass_has_hardly_any_defects():
    regions = [d.region for d in sampled("dent", 400)]
    assert 0.06 < regions.count("glass") / 400 < 0.18
    assert min(regions.count("anode"), regions.count("cathode")) > 130


def test_scratches_run_across_the_brushing():
    assert all(abs(d.angle) <= 1.1 for d in sampled("scratch", 50))
