from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from blemish import Detector
from blemish.datasets.base import DataSet
from blemish.errors import DataError, NotFittedError, OverlapError
from blemish.evaluation import evaluate
from blemish.images import write_png
from drawn import (
    HEIGHT,
    WIDTH,
    defective_records,
    draw_defective,
    draw_good,
    good_records,
    plates,
    record,
)

DATA = plates(train=16, good=6, defective=5)


@pytest.fixture(scope="module")
def detector():
    return Detector("patchcore", preset="tiny", false_alarms=0.4, calibration_share=0.25).fit(DATA)


@pytest.fixture(scope="module")
def evaluation(detector):
    return evaluate(detector, DATA)


def test_there_is_one_line_per_test_image_in_order(evaluation):
    test = DATA.select("test")
    assert [r.key for r in evaluation.images] == [r.key for r in test]
    assert [r.defective for r in evaluation.images] == [r.defective for r in test]
    assert {r.defect_type for r in evaluation.images} == {"good", "blob"}


def test_lines_say_what_predict_says(detector, evaluation):
    for line, rec in zip(evaluation.images, DATA.select("test"), strict=True):
        found = detector.predict(DATA.image(rec))
        assert line.score == pytest.approx(found.score, rel=1e-5)
        assert line.p_value == pytest.approx(found.p_value)
        assert line.flagged == found.defective


def test_image_figures_are_those_of_an_independent_implementation(evaluation):
    truth = [r.defective for r in evaluation.images]
    scores = [r.score for r in evaluation.images]
    figures = evaluation.figures
    assert figures["image_auroc"].value == pytest.approx(roc_auc_score(truth, scores))
    assert figures["image_ap"].value == pytest.approx(average_precision_score(truth, scores))
    good = [r for r in evaluation.images if not r.defective]
    alarms = sum(r.flagged for r in good)
    assert figures["false_alarm_rate"].value == pytest.approx(alarms / len(good))


def test_pixel_auroc_is_that_of_all_pixels(detector, evaluation):
    test = DATA.select("test")
    maps = [detector.predict(DATA.image(r)).anomaly_map for r in test]
    truth = [DATA.mask(r, (HEIGHT, WIDTH)) for r in test]
    expected = roc_auc_score(np.stack(truth).ravel(), np.stack(maps).ravel())
    assert evaluation.figures["pixel_auroc"].value == pytest.approx(expected, abs=2e-3)


def test_examples_are_sorted_by_how_wrong_they_are(detector):
    detector.set_false_alarms(0.9)  # many false alarms
    try:
        found = evaluate(detector, DATA, examples=2)
    finally:
        detector.set_false_alarms(0.4)
    alarms = [e.result.score for e in found.false_alarms]
    every = sorted((r.score for r in found.images if r.flagged and not r.defective), reverse=True)
    assert alarms == every[:2]
    assert len(found.hits) == 2
    assert found.misses == ()
    example = found.hits[0]
    assert example.image.shape == (HEIGHT, WIDTH, 3)
    assert example.truth.any()
    assert example.valid.all()


def test_misses_are_shown_lowest_score_first(detector):
    # Good plates that are called defective are defects that nothing can find.
    hidden = tuple(
        replace(r, defective=True, defect_type="hidden", mask=None)
        for r in good_records(3, 800, "test")
    )
    data = DataSet("hidden", (*DATA.records, *hidden))
    found = evaluate(detector, data)
    missed = [r.score for r in found.images if r.defect_type == "hidden" and not r.flagged]
    assert [e.result.score for e in found.misses] == sorted(missed)
    assert all(e.truth is None for e in found.misses)


def test_hits_are_spread_over_the_kinds_of_defect(detector):
    many = tuple(replace(r, defect_type="a") for r in defective_records(5, 1100))
    few = tuple(replace(r, defect_type="b") for r in defective_records(1, 1200))
    data = DataSet("kinds", (*good_records(4, 500, "test"), *many, *few))
    found = evaluate(detector, data, examples=2)
    assert {e.result.defect_type for e in found.hits} == {"a", "b"}


def test_the_cards_say_what_was_evaluated_on_what(detector, evaluation):
    assert evaluation.detector == detector.card()
    assert evaluation.data["test_images"] == 11
    assert evaluation.data["by_type"] == {"blob": 5, "good": 6}
    assert evaluation.data["groups"] == 3 + 5
    assert len(evaluation.data["test_fingerprint"]) == 32
    assert evaluation.threshold == detector.threshold
    assert evaluation.false_alarms_asked == 0.4
    assert evaluation.calibration_scores == tuple(detector.calibration.scores)
    assert set(evaluation.curves) >= {"roc", "pr", "pixel_pr", "pro"}


def test_the_fingerprint_depends_on_pixels_and_labels_not_on_order(detector, evaluation):
    same = replace(DATA, records=DATA.records[::-1])
    assert evaluate(detector, same).data["test_fingerprint"] == evaluation.data["test_fingerprint"]
    *others, last = DATA.records
    changed = replace(last, image=lambda: DATA.image(last)[::-1])
    other = evaluate(detector, replace(DATA, records=(*others, changed)))
    assert other.data["test_fingerprint"] != evaluation.data["test_fingerprint"]


def test_progress_and_predictions_are_handed_out(detector):
    seen, steps = [], []
    evaluate(
        detector,
        DATA,
        on_prediction=lambda record, prediction: seen.append((record.key, prediction.key)),
        progress=lambda stage, done, total: steps.append((stage, done, total)),
    )
    assert seen == [(r.key, r.key) for r in DATA.select("test")]
    assert steps == [("test", i, 11) for i in range(1, 12)]


def test_warnings_of_the_data_set_are_notes(detector):
    data = replace(DATA, warnings=("Two masks have no image.",))
    assert "Two masks have no image." in evaluate(detector, data).notes


def test_only_good_test_images_still_give_a_false_alarm_rate(detector):
    found = evaluate(detector, DataSet("good only", good_records(4, 500, "test")))
    assert found.figures["false_alarm_rate"].value is not None
    auroc = found.figures.get("image_auroc")
    assert auroc is None or auroc.value is None or np.isnan(auroc.value)


def test_a_data_set_without_test_images_is_refused(detector):
    with pytest.raises(DataError, match="has no test images"):
        evaluate(detector, DATA.select("train"))


def test_evaluating_before_fit_is_refused():
    with pytest.raises(NotFittedError):
        evaluate(Detector("patchcore"), DATA)


def test_a_part_in_train_and_test_is_refused(detector):
    shared = record("again", partial(draw_good, 1234), group="part 0", split="test")
    with pytest.raises(OverlapError, match="'part 0' has photos in both"):
        evaluate(detector, replace(DATA, records=(*DATA.records, shared)))


@pytest.mark.parametrize("number", range(16))
def test_an_image_that_was_learned_or_calibrated_on_is_refused_under_any_name(detector, number):
    copied = record("renamed", partial(draw_good, number), group="new", split="test")
    with pytest.raises(OverlapError, match="renamed of copies was used to train or calibrate"):
        evaluate(detector, DataSet("copies", (copied,)))


def test_an_image_outside_the_region_of_interest_counts_nowhere(tmp_path):
    roi = np.zeros((HEIGHT, WIDTH), bool)
    roi[:, : WIDTH // 2] = True
    detector = Detector(
        "patchcore", preset="tiny", false_alarms=0.4, roi=write_png(tmp_path / "roi.png", roi)
    ).fit(DATA)
    example = evaluate(detector, DATA).hits[0]
    np.testing.assert_array_equal(example.valid, roi)
    assert draw_defective(1000).shape[:2] == example.valid.shape
