import numpy as np

from blemish.metrics.anomalous_pixels import AnomalousPixels
from blemish.metrics.regions import find_regions


def pixels_of(images, first=0):
    pixels = AnomalousPixels()
    for number, (values, truth) in enumerate(images):
        pixels.add(find_regions(values, truth, None), first + number)
    return pixels


def images_of(count):
    random = np.random.default_rng(0)
    return [
        (random.standard_normal((7, 7)).astype(np.float32), random.random((7, 7)) > 0.8)
        for _ in range(count)
    ]


def test_pixels_are_sorted_together_with_their_regions():
    pixels = pixels_of(images_of(3))
    values, regions = pixels.sorted()
    assert np.all(np.diff(values) >= 0)
    assert np.array_equal(np.bincount(regions), pixels.areas)
    assert pixels.areas.size == pixels.images.size


def test_good_images_add_nothing():
    values = np.zeros((3, 3), np.float32)
    pixels = pixels_of([(values, np.zeros((3, 3), bool))])
    assert pixels.areas.size == pixels.images.size == pixels.sorted()[0].size == 0


def test_merging_and_arrays_number_regions_and_images_on():
    images = images_of(4)
    whole, merged = pixels_of(images), pixels_of(images[:2])
    merged.merge(pixels_of(images[2:]), 2)
    for found in (merged, AnomalousPixels.from_arrays(merged.to_arrays())):
        assert np.array_equal(found.images, whole.images)
        assert np.array_equal(found.areas, whole.areas)
        for one, two in zip(found.sorted(), whole.sorted(), strict=True):
            assert np.array_equal(one, two)
