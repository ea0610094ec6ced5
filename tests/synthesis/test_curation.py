import numpy as np
import pytest

from blemish.backbones.opening import open_backbone
from blemish.synthesis.curation import Curator, Rules, tally
from blemish.synthesis.quality import FeatureSpace
from drawn import draw_good

LEARNED = [draw_good(i, 50, 30) for i in range(24)]
HELD_OUT = [draw_good(i, 50, 30) for i in range(50, 70)]


def brightness(x):
    return np.asarray(x, np.float64).mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def space():
    return FeatureSpace(open_backbone("filter_bank", None, ()), LEARNED)


def test_what_looks_less_real_than_most_photos_is_left_out(space):
    curator = Curator(brightness, space, LEARNED, HELD_OUT)
    dark = (draw_good(90, 50, 30) // 2).astype(np.uint8)
    values = sorted(brightness(np.stack(LEARNED) / 255))
    assert values[4] <= curator.least_real <= values[5]
    (verdict,) = curator([dark])
    assert verdict.reason == "unreal"
    assert verdict.detector is None


def test_copies_of_learned_photos_are_left_out_and_new_ones_kept(space):
    rules = Rules(real=None)
    curator = Curator(brightness, space, LEARNED, HELD_OUT, rules=rules)
    verdicts = curator([LEARNED[3], *HELD_OUT[:5]])
    assert verdicts[0].reason == "copy"
    assert verdicts[0].nearest == pytest.approx(0, abs=1e-6)
    # The nearest held-out photo sets the limit; the others are farther.
    assert sum(v.reason == "" for v in verdicts[1:]) >= 4


def test_what_a_detector_finds_odd_is_left_out(space):
    def red(image):
        return float(image[..., 0].mean() - image[..., 2].mean())

    odd = draw_good(91, 50, 30).copy()
    odd[..., 0] = 255
    rules = Rules(real=None, copy=None)
    curator = Curator(brightness, space, LEARNED, HELD_OUT, red, rules)
    verdicts = curator([odd, HELD_OUT[0]])
    assert [v.reason for v in verdicts] == ["odd", ""]
    assert verdicts[0].detector == red(odd)
    without = Curator(brightness, space, LEARNED, HELD_OUT, red, Rules(None, None, None))
    assert tally(without([odd])) == {"accepted": 1, "unreal": 0, "odd": 0, "copy": 0}


def test_the_tally_names_every_reason():
    assert tally([]) == {"accepted": 0, "unreal": 0, "odd": 0, "copy": 0}
