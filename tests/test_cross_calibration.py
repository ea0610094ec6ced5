"""calibration=cross: every good part is scored once by a fit that did not see it."""

from dataclasses import replace

import numpy as np
import pytest

from blemish import folds, registry
from blemish.datasets.base import DataSet
from blemish.datasets.splits import cross_folds
from blemish.detector import Detector
from blemish.errors import DataError, OptionError, OverlapError
from blemish.evaluation import evaluate
from blemish.method_options import geometry_for
from blemish.run import Run
from drawn import defective_records, good_records, images, plates
from mock_method import MockMethod

DATA = plates()


@pytest.fixture(autouse=True)
def mock_is_registered(monkeypatch):
    found = registry.get
    monkeypatch.setattr(
        registry,
        "get",
        lambda kind, name: MockMethod if name == "mock_method" else found(kind, name),
    )


def make(**values) -> Detector:
    settings = {"false_alarms": 0.4, "calibration": "cross", "folds": 4}
    return Detector("mock_method", **{**settings, **values})


def test_every_part_is_held_out_once_with_all_its_photos():
    folds = cross_folds(DATA, 3, seed=0)
    assert len(folds) == 3
    held = [r.key for _, held_out in folds for r in held_out]
    assert sorted(held) == sorted(r.key for r in DATA.select("train"))
    for learn, held_out in folds:
        assert not {r.group for r in learn} & {r.group for r in held_out}
        assert len(learn) + len(held_out) == 16
    assert [f[1].records for f in folds] == [f[1].records for f in cross_folds(DATA, 3, seed=0)]
    assert [f[1].records for f in folds] != [f[1].records for f in cross_folds(DATA, 3, seed=1)]


def test_more_folds_than_parts_leave_one_out():
    folds = cross_folds(DATA, 100, seed=0)
    assert len(folds) == 8
    assert {len({r.group for r in held_out}) for _, held_out in folds} == {1}


def test_parts_with_a_defect_in_training_are_never_held_out():
    marked = DataSet("mixed", (*good_records(8), *defective_records(1, split="train")))
    group = marked.records[-1].group
    assert all(group not in {r.group for r in held} for _, held in cross_folds(marked, 2, 0))
    with pytest.raises(DataError, match="at least 2 parts"):
        cross_folds(DataSet("one", good_records(2)), 2, 0)


def test_all_parts_are_learned_from_and_all_calibrate():
    detector = make().fit(DATA)
    assert detector.calibration.group_count == 8
    assert len(detector.calibration.scores) == 16
    train = set(DATA.select("train").hashes.values())
    fitted = detector._fitted
    assert set(fitted.learned) == set(fitted.calibrated) == train
    # The plain split would have promised one in three only.
    assert detector.calibration.smallest_rate() == pytest.approx(1 / 9)


def test_each_score_is_that_of_a_fit_without_the_part():
    detector, expected = make(), []
    for learn, held_out in cross_folds(DATA, 4, 0):
        part = DataSet("part", (*learn.records, *held_out.records))
        own = Detector("mock_method", false_alarms=0.4)
        pipeline, _ = own._learn(
            learn, geometry_for(own.settings, learn, own._method_class(own.options)), Run()
        )
        found = pipeline.analyse(images(held_out), lambda image: ("", image))
        expected += [analysis.score for analysis in found]
        assert len(part) == 16
    np.testing.assert_allclose(detector.fit(DATA).calibration.scores, expected, rtol=1e-6)


def test_it_survives_the_file_and_refuses_what_it_has_seen(tmp_path):
    detector = make().fit(DATA)
    again = Detector.load(detector.save(tmp_path / "a.blemish"))
    assert again.threshold == detector.threshold
    assert again.card()["settings"]["calibration"] == "cross"
    leaked = DataSet("leaked", good_records(2, split="test"))
    with pytest.raises(OverlapError):
        evaluate(detector, leaked)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(OptionError, match="use one process"):
        make().fit(DATA, Run(devices=2))
    with pytest.raises(OptionError, match="folds"):
        make(folds=1)


def test_an_update_of_a_cross_calibrated_detector_fits_again():
    some = replace(DATA, records=tuple(r for r in DATA if r.group != DATA.records[0].group))
    followed = Detector("patchcore", "tiny", false_alarms=0.4).fit(some).update(DATA)
    fresh = Detector("patchcore", "tiny", false_alarms=0.4).fit(DATA)
    np.testing.assert_array_equal(followed.calibration.scores, fresh.calibration.scores)


def test_auto_calibrates_across_few_parts_where_fits_are_cheap(monkeypatch):
    said = []
    few = Detector("patchcore", "tiny", false_alarms=0.4).fit(DATA, Run(say=said.append))
    assert few.calibration.group_count == 8
    assert any("Fits 6 times" in sentence for sentence in said)
    monkeypatch.setattr(folds, "FEW_PARTS", 8)
    assert Detector("patchcore", "tiny", false_alarms=0.4).fit(DATA).calibration.group_count == 2
    assert not MockMethod.cheap_fits
    costly = Detector("mock_method", calibration="auto", false_alarms=0.4).fit(DATA)
    assert costly.calibration.group_count == 2
