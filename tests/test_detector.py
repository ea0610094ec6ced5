import contextlib
import copy
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from blemish import registry
from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import (
    BlemishError,
    CalibrationWarning,
    DataError,
    ImageError,
    ModelFileError,
    OptionError,
    UnknownNameError,
)
from blemish.images import to_png_bytes, write_png
from blemish.methods.base import Method, Output, Run
from blemish.model_file import ModelFile, read_model_file, write_model_file
from drawn import (
    HEIGHT,
    WIDTH,
    defective_records,
    draw_defective,
    draw_good,
    good_records,
    images,
    plates,
    record,
)
from mock_method import MockMethod, MockOptions

DATA = plates()


def make(**values) -> Detector:
    return Detector("mock_method", **{"false_alarms": 0.4, "calibration_share": 0.25, **values})


@pytest.fixture(autouse=True)
def mock_is_registered(monkeypatch):
    register(monkeypatch, "mock_method", MockMethod)


@pytest.fixture
def detector():
    return make().fit(DATA)


def register(monkeypatch, name, method):
    found = registry.get

    def get(kind, asked):
        return method if (kind, asked) == ("methods", name) else found(kind, asked)

    monkeypatch.setattr(registry, "get", get)


def test_an_array_a_path_and_bytes_are_the_same_image(detector, tmp_path):
    image = draw_defective(5)
    path = write_png(tmp_path / "new part.png", image)
    by_array = detector.predict(image)
    by_path, by_text, by_bytes = detector.predict([path, str(path), to_png_bytes(image)])
    assert by_array.score == by_path.score == by_text.score == by_bytes.score
    assert by_path.key == by_text.key == str(path)
    assert by_array.key == by_bytes.key == ""


def test_one_image_gives_one_prediction_and_a_list_gives_a_list(detector):
    assert detector.predict([]) == []
    assert len(detector.predict([draw_good(1)])) == 1
    assert detector.predict(draw_good(1)).key == ""


def test_images_are_read_only_as_far_as_they_are_asked_for(detector):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield draw_good(len(drawn))

    predictions = detector.predict_each(endless())
    next(predictions)
    assert len(drawn) < 40
    del predictions


def test_a_decision_follows_from_score_and_threshold(detector):
    good, bad = detector.predict([draw_good(600), draw_defective(600)])
    assert bad.defective
    assert bad.score > detector.threshold == bad.threshold
    assert bad.p_value == pytest.approx(1 / 3)
    assert bad.regions
    assert bad.mask.any()
    assert bad.mask.sum() == sum(r.area for r in bad.regions)
    assert (bad.anomaly_map[bad.mask] > bad.pixel_threshold).all()
    assert good.score < bad.score


def test_the_mask_of_a_part_judged_good_is_empty():
    # By this rule nearly every pixel of any part rises above the pixel threshold.
    detector = make(pixel_rule="pixels", pixel_false_alarms=0.99).fit(DATA)
    learned = detector.predict(draw_good(2))
    assert not learned.defective
    assert (learned.anomaly_map > learned.pixel_threshold).any()
    assert not learned.mask.any()
    assert learned.regions == ()


def test_another_false_alarm_rate_needs_no_new_fit(detector):
    before = detector.threshold
    detector.set_false_alarms(0.9)
    assert detector.threshold < before
    found = detector.predict(draw_good(600))
    assert found.false_alarms == 0.9
    assert found.defective == (found.score > detector.threshold)
    for wrong in (0, 1, 1.5):
        with pytest.raises(OptionError, match="not between 0 and 1"):
            detector.set_false_alarms(wrong)
        with pytest.raises(OptionError, match="not between 0 and 1"):
            detector.set_false_alarms(0.5, wrong)
    assert detector.false_alarms == 0.9


def test_a_promise_that_cannot_be_kept_is_warned_of():
    with pytest.warns(CalibrationWarning, match="needs 19 calibration parts, there are 2"):
        detector = make(false_alarms=0.05).fit(DATA)
    with pytest.warns(CalibrationWarning, match=r"promises at most 0\.333"):
        detector.set_false_alarms(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.set_false_alarms(0.34)
        make().set_false_alarms(0.01)  # nothing is promised before fit


def test_the_pixel_rule_and_rate_are_settings():
    by_images = make().fit(DATA).pixel_threshold
    assert make(pixel_rule="pixels").fit(DATA).pixel_threshold < by_images
    assert make(pixel_false_alarms=0.3).fit(DATA).pixel_threshold >= by_images


def test_the_test_images_are_never_looked_at():
    def forbidden():
        raise AssertionError("a test image was read")

    tests = tuple(replace(r, image=forbidden) for r in DATA.select("test"))
    guarded = DataSet("guarded", (*DATA.select("train"), *tests))
    assert make().fit(guarded).threshold == make().fit(DATA).threshold


def test_all_photos_of_a_part_fall_on_one_side(detector):
    train = DATA.select("train")
    calibrated = set(detector._fitted.calibrated)
    for part in {r.group for r in train}:
        digests = {train.hashes[r.key] for r in train if r.group == part}
        assert digests <= calibrated or not digests & calibrated
    assert detector.calibration.group_count == 2
    assert detector.seen == set(train.hashes.values())


def test_another_seed_calibrates_on_other_parts(detector):
    others = [set(make(seed=s).fit(DATA)._fitted.calibrated) for s in (1, 2, 3)]
    assert any(other != set(detector._fitted.calibrated) for other in others)


def test_options_are_checked_before_anything_is_read():
    with pytest.raises(UnknownNameError, match=r"'patchcor'\. Did you mean 'patchcore'"):
        Detector("patchcor")
    with pytest.raises(UnknownNameError, match="Unknown preset 'huge'"):
        make(preset="huge")
    with pytest.raises(UnknownNameError, match=r"mock_method 'flor'\. Did you mean 'floor'"):
        make(flor=1)
    with pytest.raises(UnknownNameError, match="Did you mean 'image_size'"):
        make(imagesize=1)
    with pytest.raises(OptionError, match="option floor of method mock_method"):
        make(floor="x")
    with pytest.raises(OptionError, match="option tile of the detector"):
        make(tile=-1)
    with pytest.raises(OptionError, match="not between 0 and 1"):
        make(false_alarms=0)


def test_options_may_be_text_and_override_a_preset():
    assert make(preset="small").options == MockOptions(floor=0.01)
    assert make(preset="small", floor="0.5").options == MockOptions(floor=0.5)
    assert make(false_alarms="30%").false_alarms == pytest.approx(0.3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_good_images_are_refused(count):
    with pytest.raises(DataError, match="at least 2 parts"):
        make().fit(DataSet("few", good_records(count)))  # two photos of one part


def test_a_failed_fit_leaves_the_detector_as_it_was(detector):
    before = detector.predict(draw_good(1)).score

    def gone():
        raise ImageError("gone")

    broken = DataSet("broken", (*good_records(6), record("x", gone, group="x")))
    with pytest.raises(ImageError, match="gone"):
        detector.fit(broken)
    assert detector.predict(draw_good(1)).score == before


def test_messages_and_progress_reach_the_run():
    stages = []
    run = Run(seed=99, progress=lambda stage, done, total: stages.append((stage, done, total)))
    detector = make(seed=5).fit(DATA, run)
    assert run.seed == 5  # the settings decide
    assert ("calibration", 4, 4) in stages
    assert detector.history == {"loss": [1.0, 0.5]}


def test_the_card_says_what_the_detector_is(detector):
    card = detector.card()
    assert card["method"] == "mock_method"
    assert card["options"] == {"floor": 0.02}
    assert card["settings"]["false_alarms"] == 0.4
    assert card["geometry"]["size"] == (HEIGHT, WIDTH)
    assert card["data"] == {"name": "plates", "learned": 12, "calibration": 4}


def test_a_file_keeps_decision_and_region_of_interest(detector, tmp_path):
    roi = np.zeros((HEIGHT, WIDTH), bool)
    roi[:, :50] = True
    path = write_png(tmp_path / "roi.png", roi)
    fitted = make(roi=path).fit(DATA)
    fitted.set_false_alarms(0.5, 0.6)
    saved = fitted.save(tmp_path / "new folder" / "part.blemish")
    path.unlink()  # the file holds the region itself
    again = Detector.load(saved)
    assert (again.false_alarms, again.pixel_false_alarms) == (0.5, 0.6)
    np.testing.assert_array_equal(again.pipeline.geometry.roi, roi)
    one, other = fitted.predict(draw_defective(3)), again.predict(draw_defective(3))
    assert one.to_json() == other.to_json()
    np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)


def test_saving_again_gives_the_same_bytes(detector, tmp_path):
    one = detector.save(tmp_path / "a").read_bytes()
    again = Detector.load(tmp_path / "a").save(tmp_path / "b").read_bytes()
    assert one == again


def places(value, path=()):
    """Every place in nested JSON values, the outermost first."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else ()
    for name, inner in items:
        found += places(inner, (*path, name))
    return found


@pytest.mark.parametrize("method", ["mock_method", "patchcore"])
def test_a_file_with_a_wrong_header_is_refused_or_read_and_never_crashes(method, tmp_path):
    fitted = Detector(method, preset="tiny", false_alarms=0.4, calibration_share=0.25).fit(DATA)
    content = read_model_file(fitted.save(tmp_path / "a.blemish"))
    for place in places(dict(content.header)):
        for wrong in (None, [], "x", 1e300, {"x": 1}):
            header = copy.deepcopy(dict(content.header))
            inner = header
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = wrong
            with contextlib.suppress(BlemishError):
                load(ModelFile(header, content.arrays))


def load(content):
    """`Detector.load` without a file in between, which would be slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blemish.detector.read_detector_file", lambda path: content)
        return Detector.load("forged")


@pytest.mark.parametrize("name", ["calibration.scores", "method.mean", "calibration.groups"])
def test_a_file_that_lacks_an_array_is_refused(detector, tmp_path, name):
    content = read_model_file(detector.save(tmp_path / "a.blemish"))
    arrays = {k: v for k, v in content.arrays.items() if k != name}
    write_model_file(tmp_path / "a.blemish", ModelFile(content.header, arrays))
    with pytest.raises(ModelFileError, match="do not fit together"):
        Detector.load(tmp_path / "a.blemish")


def test_a_file_of_an_unknown_method_is_refused(detector, tmp_path):
    content = read_model_file(detector.save(tmp_path / "a.blemish"))
    header = {**content.header, "method": "other_package"}
    with pytest.raises(BlemishError, match="other_package"):
        load(ModelFile(header, content.arrays))


class Supervised(MockMethod):
    """Remembers what it was given to learn from."""

    supervision = "masks"

    def learn(self, samples, run):
        type(self).given = [(v.record.key, v.mask is not None and v.mask.any()) for v in samples]
        super().learn(samples, run)


def test_a_method_that_learns_from_defects_is_given_them(monkeypatch):
    register(monkeypatch, "supervised", Supervised)
    data = plates(marked=3)
    detector = Detector("supervised", false_alarms=0.4, calibration_share=0.25).fit(data)
    marked = [key for key, has_mask in Supervised.given if has_mask]
    assert marked == [r.key for r in data.select("train", defective=True)]
    assert detector.calibration.group_count == 2
    assert detector.seen == set(data.select("train").hashes.values())


class Broken(MockMethod):
    def predict_batch(self, x, valid, keys):
        return Output(np.full(x.shape[:3], np.nan, np.float32))


def test_training_that_went_wrong_is_an_error_and_not_a_detector(monkeypatch):
    register(monkeypatch, "broken", Broken)
    detector = Detector("broken", false_alarms=0.4)
    with pytest.raises(BlemishError, match="not a number"):
        detector.fit(DATA)
    assert detector._fitted is None


def test_a_method_must_fill_in_what_it_is_asked_for():
    method = Method(None)
    assert method.multiple == 1
    assert method.post.pool == "max"
    for call in (
        partial(method.learn, None, None),
        partial(method.update, None, (), None),
        partial(method.predict_batch, None, None, ()),
        method.state,
        partial(method.restore, {}, {}),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_images_beyond_the_limit_are_refused(detector):
    small = make(max_pixels=HEIGHT * WIDTH).fit(DATA)
    assert small.predict(draw_good(1)).score > 0
    with pytest.raises(ImageError, match="pixels"):
        small.predict(draw_good(1, HEIGHT + 1, WIDTH))


def test_updating_follows_a_data_set_that_changed():
    old = DataSet("day 1", good_records(16))
    new = DataSet("day 2", (*good_records(8), *good_records(10, 300)))
    detector = Detector("patchcore", preset="tiny", false_alarms=0.4).fit(old)
    detector.update(new)
    assert detector.seen == set(new.hashes.values())
    assert detector.card()["data"]["name"] == "day 2"
    defects = DataSet("bad", defective_records(2))
    good = images(DataSet("good", good_records(4, 900)))
    found = [[p.score for p in detector.predict(i)] for i in (good, images(defects))]
    assert max(found[0]) < min(found[1])


def test_an_update_that_fails_leaves_the_detector_as_it_was(monkeypatch):
    detector = Detector("patchcore", "tiny", false_alarms=0.5).fit(DATA)
    before = detector.predict(draw_defective(7)).score

    def fail(*_):
        raise DataError("a calibration image cannot be read")

    monkeypatch.setattr("blemish.detector.collect", fail)
    with pytest.raises(DataError, match="cannot be read"):
        detector.update(DataSet("more", (*DATA.records, *good_records(4, 7000))))
    assert detector.predict(draw_defective(7)).score == before
