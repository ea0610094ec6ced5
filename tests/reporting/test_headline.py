from dataclasses import replace

import pytest

from blemish.evaluation import ImageResult
from blemish.metrics.figure import Figure
from blemish.reporting.headline import summary, tiles


def images(bad, found, good, flagged, *, per_part=1):
    rows = [(True, i < found) for i in range(bad)] + [(False, i < flagged) for i in range(good)]
    return tuple(
        ImageResult(f"{i}", d, "kind", f"{i // per_part}", 1.0, 0.5, f)
        for i, (d, f) in enumerate(rows)
    )


def told(evaluation, *counts, low=None, high=None, **more):
    rate = Figure(0.1, "False-alarm rate", low, high)
    changed = replace(
        evaluation, images=images(*counts, **more), figures={"false_alarm_rate": rate}
    )
    return " ".join(summary(changed)).replace("\u00a0", " ")


def test_the_summary_says_what_was_found_flagged_and_asked(evaluation):
    assert told(evaluation, 53, 51, 60, 2) == (
        "51 of 53 defective parts were found. "
        "2 of 60 good parts were flagged (3.3 %; asked: at most 5 %)."
    )


@pytest.mark.parametrize(
    ("counts", "start"),
    [
        ((4, 4, 5, 0), "All 4 defective parts were found. None of 5 good parts was flagged (0 %"),
        ((4, 1, 5, 1), "1 of 4 defective parts was found. 1 of 5 good parts was flagged (20 %"),
        ((1, 1, 1, 0), "The only defective part was found. The only good part was not flagged"),
        ((0, 0, 2, 0), "No defective part was tested, so nothing is known of misses. None of 2"),
    ],
)
def test_the_summary_reads_well_for_none_one_and_all(evaluation, counts, start):
    assert told(evaluation, *counts).startswith(start)


def test_without_good_images_nothing_is_claimed_of_false_alarms(evaluation):
    assert told(evaluation, 2, 1, 0, 0, low=0.0, high=1.0) == (
        "1 of 2 defective parts was found. "
        "No good part was tested, so nothing is known of false alarms."
    )


@pytest.mark.parametrize(
    ("low", "high", "judgement"),
    [
        (0.06, 0.2, "which is more than was asked for: the promise was not kept."),
        (0.004, 0.115, "which agrees with the 5 % that were asked for."),
        (0.001, 0.02, "which is less than was asked for."),
    ],
)
def test_the_promise_is_judged_by_the_interval(evaluation, low, high, judgement):
    assert told(evaluation, 2, 1, 9, 1, low=low, high=high).endswith(judgement)


def test_several_photos_of_one_part_are_called_images(evaluation):
    assert "defective images were found" in told(evaluation, 4, 2, 4, 0, per_part=2)


def test_tiles_are_at_most_four_and_need_a_value(evaluation):
    assert [t.name for t in tiles(evaluation)] == [
        "Defects found",
        "False alarms",
        "Image AUROC",
        "AUPRO to FPR 0.3",
    ]
    bare = replace(
        evaluation, images=images(0, 0, 0, 0), figures={"image_auroc": Figure(None, "Image AUROC")}
    )
    assert tiles(bare) == []
