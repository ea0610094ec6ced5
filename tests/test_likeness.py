"""The good place that is most like a defect."""

import numpy as np
import pytest

from blemish import Detector, find_likeness, image_digest
from drawn import blob_mask, draw_defective, plates


@pytest.fixture(scope="module")
def data():
    return plates(train=12, good=1, defective=1)


@pytest.fixture(scope="module")
def detector(data):
    return Detector("patchcore", "tiny", false_alarms=0.4).fit(data)


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def among(data):
    return {image_digest(data.image(r)): data.image(r) for r in data.select("train")}.get


def test_the_likeness_is_cut_from_a_good_training_image_beside_the_defect(detector, data):
    image, good = draw_defective(0), among(data)
    found = find_likeness(detector, image, box_of(blob_mask(0)), good)
    assert found.distance > 0
    assert found.own.shape == found.good.shape == (64, 64, 3)
    source = good(found.digest)
    places = [c for c in range(96 - 64 + 1) if (source[:, c : c + 64] == found.good).all()]
    assert len(places) == 1


def test_a_patch_of_a_good_image_is_found_where_it_was_learned(data):
    detector = Detector("patchcore", "tiny", false_alarms=0.4, coreset=1, bank_mb=64, tile=48)
    detector.fit(data)
    good = among(data)
    digest = detector.learned[0]
    found = find_likeness(detector, good(digest), (40, 20, 44, 24), good)
    assert found.digest == digest
    assert found.distance < 0.3  # the bank is in half precision; others are farther than 3
    assert (found.own == found.good).all()


def test_there_is_none_where_the_good_image_is_gone_or_nothing_is_inspected(detector, data):
    image, box = draw_defective(0), box_of(blob_mask(0))
    assert find_likeness(detector, image, box, lambda digest: None) is None
    cropped = Detector("patchcore", "tiny", false_alarms=0.4, crop="0,0,0.5,1").fit(data)
    assert find_likeness(cropped, image, (80, 10, 90, 20), among(data)) is None


def test_files_of_the_first_release_tell_no_place(detector, data, tmp_path):
    method = detector.pipeline.method
    header, arrays = method.state()
    del arrays["places"]
    method.restore(header, arrays)
    assert find_likeness(detector, draw_defective(0), box_of(blob_mask(0)), among(data)) is None
