"""What fitting must do, and what it must leave alone, whatever the method."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from blemish import options
from blemish.backbones.opening import open_backbone
from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import CapabilityError, DataError, NotFittedError, OptionError
from blemish.evaluation import evaluate
from blemish.exporting.export import export_onnx
from blemish.methods.base import Method
from blemish.settings import Settings
from drawn import defective_records, good_records


def test_every_option_has_a_default_and_a_help_text(case):
    Detector(case.name)
    assert isinstance(case.method.Options(), case.method.Options)
    for info in options.describe(case.method.Options):
        assert info.help or case.name == "mock_method", f"{info.name} has no help text"


def test_options_never_take_a_name_of_the_detector(case):
    assert not set(options.names(case.method.Options)) & set(options.names(Settings))


def test_there_are_a_tiny_and_a_small_preset(case):
    for preset in ("tiny", "small"):
        assert Detector(case.name, preset=preset).method_name == case.name


def test_declarations_have_one_of_the_values_they_may_have(case):
    assert case.method.supervision in {"normal", "masks", "labels"}
    assert isinstance(case.method.localises, bool)
    assert isinstance(case.method.exportable, bool)


def test_making_a_method_learns_nothing(case):
    attributes = vars(case.method(case.method.Options()))
    assert [name for name in attributes if name.endswith("_")] == []


def test_nothing_works_before_fit(case, tmp_path):
    detector = case.make()
    with pytest.raises(NotFittedError, match="call fit"):
        detector.predict(case.test_images()[0])
    with pytest.raises(NotFittedError):
        detector.save(tmp_path / "a.blemish")
    with pytest.raises(NotFittedError):
        evaluate(detector, case.data)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_scores_and_fitting_twice_is_fitting_once(case):
    np.random.seed(99)
    random.seed(99)
    again = case.make().fit(case.data)
    np.testing.assert_allclose(case.scores_of(again), case.scores, rtol=1e-6)
    assert again.fit(case.data) is again
    np.testing.assert_allclose(case.scores_of(again), case.scores, rtol=1e-6)
    assert again.threshold == pytest.approx(case.detector.threshold, rel=1e-6)


def test_fitting_and_predicting_leave_the_process_as_it_was(case):
    assert case.after == case.before


def test_fitting_sees_neither_test_nor_calibration_images(case):
    learned, calibrated = case.detector._fitted.learned, case.detector._fitted.calibrated
    test = set(case.data.select("test").hashes.values())
    assert learned
    assert calibrated
    assert not set(learned) & set(calibrated)
    assert not test & case.detector.seen


def test_a_method_for_normals_refuses_defective_training_images(case):
    if case.method.supervision != "normal":
        pytest.skip(f"{case.name} learns from defects too")
    mixed = DataSet("mixed", (*good_records(8), *defective_records(1, split="train")))
    with pytest.raises(DataError, match="from good images only, but 1 training"):
        case.make().fit(mixed)


def test_a_method_that_needs_masks_says_in_one_sentence_what_does_not(case):
    if case.method.supervision != "masks" or case.method.makes_defects:
        pytest.skip(f"{case.name} needs no masks")
    unmarked = tuple(replace(r, mask=None) for r in defective_records(2, split="train"))
    for records in (good_records(8), (*good_records(8), *unmarked)):
        with pytest.raises(DataError, match="few_defects=3, or use patchcore") as caught:
            case.make().fit(DataSet("unmarked", records))
        assert str(caught.value).count(". ") == 0


def test_masks_are_learned_from_where_they_are_asked_for(case):
    if case.method.supervision != "masks":
        pytest.skip(f"{case.name} needs no masks")
    marked = case.data.select("train", defective=True)
    assert len(marked)
    assert set(marked.hashes.values()) <= set(case.detector._fitted.learned)
    assert not set(marked.hashes.values()) & set(case.detector._fitted.calibrated)


def test_a_backbone_is_the_same_after_fitting_and_predicting(case):
    chosen = case.detector.options
    if not hasattr(chosen, "backbone"):
        pytest.skip(f"{case.name} has no backbone")
    own = case.detector.pipeline.method.backbone_.state()[1]
    fresh = open_backbone(chosen.backbone, chosen.weights, chosen.strides).state()[1]
    assert set(own) == set(fresh)
    assert all(np.array_equal(own[name], fresh[name]) for name in own)


def test_predicting_changes_nothing_that_was_learned(case):
    method = case.detector.pipeline.method
    before = {name: array.copy() for name, array in method.state()[1].items()}
    case.scores_of(case.detector)
    after = method.state()[1]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_an_update_follows_the_data_or_is_refused(case, tmp_path):
    detector = Detector.load(case.detector.save(tmp_path / "a.blemish"))
    if case.method.update is Method.update:
        with pytest.raises(CapabilityError, match="cannot be updated; fit it again"):
            detector.update(case.data)
        return
    detector.update(case.data)
    np.testing.assert_allclose(case.scores_of(detector), case.scores, rtol=1e-5)
    kept = good_records(12)
    detector.update(DataSet("changed", (*kept, *good_records(4, 700))))
    train = DataSet("all", (*kept, *good_records(4, 700)))
    assert detector.seen == set(train.hashes.values())


def test_a_foreign_detector_is_nothing_to_go_on_from(case):
    foreign = SimpleNamespace(
        pipeline=SimpleNamespace(method=Method(None)), settings=Settings(), learned=()
    )
    with pytest.raises((CapabilityError, OptionError), match=r"[Ll]eave init out"):
        case.make().fit(case.data, init=foreign)


def test_exporting_works_where_it_is_declared_and_is_refused_elsewhere(case, tmp_path):
    path = tmp_path / "part.onnx"
    if not case.method.exportable:
        with pytest.raises(CapabilityError, match=r"cannot be exported|is an exported file"):
            export_onnx(case.detector, path)
        assert list(tmp_path.iterdir()) == []
        return
    done = export_onnx(case.detector, path, data=case.data.select("test"))
    assert done.parity.map < 1e-4
    assert done.parity.flipped == 0
    again = Detector.load(path)
    np.testing.assert_allclose(case.scores_of(again), case.scores, rtol=1e-4)
    assert again.threshold == case.detector.threshold
    assert again.seen == case.detector.seen


def test_changed_images_are_learned_from_where_it_is_declared_and_refused_elsewhere(case):
    if not case.method.augments:
        with pytest.raises(CapabilityError, match="does not learn from changed images"):
            case.make(augmentation="aligned")
        return
    pytest.importorskip("torchvision")
    changed = case.make(augmentation="aligned", augmentation_copies=1).fit(case.data)
    assert case.scores_of(changed) != case.scores
    # Neither what calibrates nor what is judged is ever changed.
    assert changed._fitted.learned == case.detector._fitted.learned
    assert changed._fitted.calibrated == case.detector._fitted.calibrated
