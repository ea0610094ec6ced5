import numpy as np
import pytest

from blemish.errors import MetricError
from blemish.metrics.decisions import Confusion
from blemish.metrics.image_log import SAMPLE, ImageLog
from blemish.metrics.regions import ImageRegions


def regions_of(values, lost=0):
    values = np.asarray(values, np.float32)
    areas = np.array([values.size] if values.size else [], np.int64)
    return ImageRegions(values, np.zeros(values.size, np.int32), areas, lost)


def log_of(*images):
    log = ImageLog()
    for key, good, anomalous, flagged in images:
        log.add(key, "", np.asarray(good, np.float32), regions_of(anomalous), 0.5, flagged)
    return log


def test_counts_are_those_above_the_threshold_and_of_the_masks_handed_out():
    log = log_of(("a", [0.1, 0.5, 0.9], [0.6, 0.2], True), ("b", [0.7, 0.1], [0.8], False))
    decided, delivered = log.decisions()
    assert decided == Confusion(hits=2, false_alarms=2, misses=1, passes=3)
    assert delivered == Confusion(hits=1, false_alarms=1, misses=2, passes=4)
    assert (log.count, log.good, log.anomalous) == (2, 5, 3)


def test_a_sample_spreads_over_the_image_and_stands_for_all_of_it():
    good = np.arange(100_000, dtype=np.float32)
    samples, sizes = log_of(("a", good, [], True), ("b", [3, 3], [], True)).samples()
    assert samples.shape == (2, SAMPLE)
    assert sizes.tolist() == [100_000, 2]
    largest_gap = np.max(np.diff(np.sort(samples[0])))
    assert largest_gap < 3 * 100_000 / SAMPLE
    assert set(samples[1]) == {3}


def test_a_row_of_the_image_is_never_sampled_alone():
    columns = np.tile(np.arange(512, dtype=np.float32), 512)
    samples, _ = log_of(("a", columns, [], True)).samples()
    assert np.unique(samples[0]).size > 256


def test_images_are_found_by_key_or_by_position():
    good = np.arange(5, dtype=np.float32)
    log = log_of(("a", good, [], True), ("", good + 1, [], True))
    assert log.find("a", 7, good) == 0
    assert log.find("", 1, good + 1) == 1
    with pytest.raises(MetricError, match="differ between the passes"):
        log.find("a", 0, good[:4])
    with pytest.raises(MetricError, match="not in the first pass"):
        log.find("", 2, good)


def test_reasons_and_notes_say_what_is_missing():
    log = ImageLog()
    assert log.reason() == "no image was added"
    log.skip("unmarked")
    assert log.reason() == "no image was added (1 without a mask were left out)"
    assert log_of(("a", [1], [], True)).reason() == "the test set has no anomalous pixel"
    assert log_of(("a", [], [1], True)).reason() == "the test set has no good pixel"
    assert log_of(("a", [1], [1], True)).reason() == ""
    with pytest.raises(MetricError, match="'unmarked' was added before"):
        log.skip("unmarked")


def test_merging_and_arrays_keep_everything():
    log = log_of(("a", [0.1, 0.9], [0.6], True))
    log.skip("unmarked")
    other = ImageLog()
    other.add("b", "part", np.zeros(3, np.float32), regions_of([1.0], lost=2), 0.5, True)
    log.merge(other)
    again = ImageLog.from_arrays(log.to_arrays())
    for found in (log, again):
        assert found.keys == ("a", "b")
        assert found.groups() == ["\x000", "part"]
        assert len(found.notes()) == 2
        assert found.decisions() == log.decisions()
    with pytest.raises(MetricError, match="added before"):
        again.merge(log)
