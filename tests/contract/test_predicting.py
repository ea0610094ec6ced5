"""What a prediction must be, whatever the method."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from blemish.images import write_png
from drawn import HEIGHT, WIDTH, blob_mask, draw_good, with_image

SHAPES = [(1, 1), (1, 40), (37, 1), (31, 77), (77, 31), (HEIGHT, WIDTH), (150, 20)]


def test_a_batch_is_scored_like_its_images_one_by_one(case):
    images = case.test_images()
    together = case.detector.predict(images)
    for image, found in zip(images, together, strict=True):
        alone = case.detector.predict(image)
        assert alone.score == pytest.approx(found.score, rel=1e-5)
        np.testing.assert_allclose(alone.anomaly_map, found.anomaly_map, rtol=1e-4, atol=1e-5)


def test_the_order_of_images_does_not_matter(case):
    backwards = case.detector.predict(case.test_images()[::-1])
    np.testing.assert_allclose([p.score for p in backwards][::-1], case.scores, rtol=1e-5)


def test_inputs_may_be_read_only_and_stay_as_they_are(case):
    image = draw_good(77).copy()
    before = image.copy()
    image.setflags(write=False)
    case.detector.predict([image, image])
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_works_and_the_map_is_in_the_frame_of_the_image(case, shape):
    found = case.detector.predict(draw_good(5, *shape))
    assert found.anomaly_map.shape == found.mask.shape == shape
    assert found.anomaly_map.dtype == np.float32
    assert found.mask.dtype == bool
    assert np.isfinite(found.anomaly_map).all()
    assert np.isfinite(found.score)
    assert 0 < found.p_value <= 1


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_constant_image_has_a_finite_score(case, value):
    found = case.detector.predict(np.full((HEIGHT, WIDTH, 3), value, np.uint8))
    assert np.isfinite(found.score)
    assert np.isfinite(found.anomaly_map).all()


def test_pictures_are_of_the_size_that_the_method_works_at(case):
    for picture in case.detector.predict(draw_good(5)).pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


def test_every_painted_defect_outranks_every_good_plate(case):
    good = case.detector.predict(case.test_images(defective=False))
    defective = case.detector.predict(case.test_images(defective=True))
    assert min(p.score for p in defective) > max(p.score for p in good)


def test_a_painted_defect_holds_the_peak_of_the_map(case):
    if not case.method.localises:
        pytest.skip(f"{case.name} does not say where")
    for record in case.data.select("test", defective=True):
        found = case.detector.predict(case.data.image(record))
        mask = blob_mask(int(record.key.rsplit("/", 1)[1]))
        assert mask[np.unravel_index(found.anomaly_map.argmax(), mask.shape)], record.key


def test_nothing_outside_the_region_of_interest_changes_anything(case, tmp_path):
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[:, :60] = True
    path = write_png(tmp_path / "roi.png", inside)
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    def scribble(image):
        return np.where(inside[:, :, None], image, noise)

    records = tuple(with_image(r, scribble) for r in case.data)
    scribbled = replace(case.data, records=records)
    clean = case.make(roi=path).fit(case.data)
    dirty = case.make(roi=path).fit(scribbled)
    assert dirty.threshold == pytest.approx(clean.threshold, rel=1e-6)
    for image in case.test_images():
        expected, found = clean.predict(image), dirty.predict(scribble(image))
        assert found.score == pytest.approx(expected.score, rel=1e-6)
        np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, rtol=1e-6)
        assert not found.anomaly_map[~inside].any()


def test_threads_may_predict_at_the_same_time(case):
    images = case.test_images()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(case.detector.predict, images * 3))
    np.testing.assert_allclose([p.score for p in found], case.scores * 3, rtol=1e-5)
