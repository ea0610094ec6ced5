from dataclasses import replace

import numpy as np
import pytest

from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import CapabilityError, OptionError, UnknownNameError
from blemish.methods.by_region import ByRegion, ByRegionOptions
from blemish.preprocess import Geometry
from blemish.run import Run
from blemish.samples import Samples
from drawn import HEIGHT, WIDTH, defective_records, draw_defective, draw_good, good_records, plates

HALVES = ("left=0:0:1/2:1", "right=1/2:0:1:1")
TINY = {"regions": HALVES, "inner_preset": "tiny"}


def fit(data=None, **values):
    given = {**TINY, "false_alarms": 0.4, "calibration": "split", **values}
    return Detector("by_region", **given).fit(data or plates())


def learned(**values):
    method = ByRegion(ByRegionOptions(**{**TINY, **values}))
    method.learn(Samples(DataSet("d", good_records(16)), Geometry((HEIGHT, WIDTH))), Run())
    return method


@pytest.fixture(scope="module")
def method():
    return learned()


def look(method, *images):
    x = np.stack(images).astype(np.float32) / np.float32(255)
    valid = np.ones(x.shape[:3], bool)
    return method.predict_batch(x, valid, [str(i) for i in range(len(x))])


def test_a_region_sees_its_own_pixels_and_no_others(method):
    image = draw_good(5)
    other = image.copy()
    other[:, WIDTH // 2 :] = draw_defective(1000)[:, WIDTH // 2 :]
    maps = look(method, image, other).maps
    np.testing.assert_array_equal(maps[0][:, : WIDTH // 2], maps[1][:, : WIDTH // 2])
    assert (maps[0][:, WIDTH // 2 :] != maps[1][:, WIDTH // 2 :]).any()


def test_the_score_is_that_of_the_worst_region(method):
    image = draw_good(5)
    left, right, both = (image.copy() for _ in range(3))
    left[20:36, 10:26] = 255
    right[20:36, 60:76] = 255
    both[20:36, 10:26] = both[20:36, 60:76] = 255
    plain, a, b, ab = look(method, image, left, right, both).scores
    assert ab == max(a, b)
    assert min(a, b) > plain


def test_good_regions_score_about_zero_deviations(method):
    scores = look(method, *(draw_good(i) for i in range(300, 330))).scores
    assert -3 < np.median(scores) < 3


def test_one_rate_is_kept_where_several_detectors_flag_more():
    def share(detector, images):
        return np.mean([p.defective for p in detector.predict(images)])

    data = DataSet("good", good_records(80, photos=1))
    fresh = [draw_good(i) for i in range(5000, 5200)]
    both = fit(data, false_alarms=0.1, calibration_share=0.5)
    assert share(both, fresh) < 0.2
    flags = []
    for half in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
        cut = DataSet(
            "half",
            tuple(
                replace(r, image=lambda r=r, half=half: np.ascontiguousarray(r.image()[:, half]))
                for r in data
            ),
        )
        own = Detector("patchcore", "tiny", false_alarms=0.1, calibration_share=0.5,
                       calibration="split").fit(cut)  # fmt: skip
        found = own.predict([np.ascontiguousarray(image[:, half]) for image in fresh])
        flags.append([p.defective for p in found])
    assert np.any(flags, axis=0).mean() > max(map(np.mean, flags))


def test_every_region_may_have_its_own_method_and_options():
    mixed = learned(inner="bank_mb=0.4;left.blur=7;right.image_size=32")
    left, right = mixed.judges_
    assert (left.method.options.blur, right.method.options.blur) == (7, 4)
    assert left.method.options.bank_mb == right.method.options.bank_mb == 0.4
    assert left.geometry.size != right.geometry.size == (32, 32)
    assert look(mixed, draw_good(3)).maps.shape == (1, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"regions": ("a=0:1/2",)}, "cover 50.0%"),
        ({"methods": ("patchcore",) * 3}, "names 3 methods for 2 regions"),
        ({"tile": 32}, "leave tile out"),
    ],
)
def test_options_that_cannot_be_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        fit(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ("patchcor",)}, "Did you mean 'patchcore'"),
        ({"inner_preset": "tin"}, "Did you mean 'tiny'"),
        ({"inner": "coresett=1"}, "Did you mean 'coreset'"),
        ({"inner": "lift.blur=1"}, "Did you mean 'left'"),
    ],
)
def test_unknown_names_get_the_nearest(values, message):
    with pytest.raises(UnknownNameError, match=message):
        fit(**values)


def test_a_method_that_learns_from_defects_is_refused():
    pytest.importorskip("torch")
    with pytest.raises(CapabilityError, match="aexad learns from defects"):
        fit(methods=("aexad",))


def test_training_curves_are_those_of_the_regions():
    pytest.importorskip("lightning")
    detector = fit(methods=("vae", "patchcore"), inner="left.epochs=2", device="cpu")
    assert len(detector.history["left: loss"]) == 2
    assert not any(name.startswith("right") for name in detector.history)


def test_a_defect_is_found_in_the_region_that_has_it():
    detector = fit()
    for record in defective_records(3):
        found = detector.predict(record.image())
        assert record.mask()[np.unravel_index(found.anomaly_map.argmax(), (HEIGHT, WIDTH))]
