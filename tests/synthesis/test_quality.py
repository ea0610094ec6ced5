import numpy as np
import pytest

from blemish.backbones.opening import open_backbone
from blemish.synthesis.quality import FeatureSpace, kernel_distance, nearest_distance
from drawn import draw_good


@pytest.fixture(scope="module")
def space():
    photos = [draw_good(i, 50, 30) for i in range(24)]
    return FeatureSpace(open_backbone("filter_bank", None, ()), photos)


def test_the_distance_is_the_one_of_the_definition():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(5, 3)), random.normal(1, 1, size=(6, 3))

    def k(x, y):
        return (x @ y / 3 + 1) ** 3

    within = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    other = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    between = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b)[0] == pytest.approx(within + other - 2 * between)


def test_equal_distributions_have_no_distance_on_average():
    random = np.random.default_rng(0)
    same = [kernel_distance(*random.normal(size=(2, 40, 8)))[0] for _ in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert min(same) < 0 < max(same)
    moved = kernel_distance(random.normal(size=(40, 8)), random.normal(1, 1, size=(40, 8)))
    assert moved[0] > 10 * np.std(same)


def test_other_photos_are_nearer_than_other_things(space, noise):
    others = space([draw_good(i, 50, 30) for i in range(100, 120)])
    near, deviation = kernel_distance(others, space.real)
    far, _ = kernel_distance(space(noise), space.real)
    assert far > 100 * abs(near)
    assert deviation > 0


def test_a_copy_is_at_no_distance(space):
    copies = space([draw_good(3, 50, 30), draw_good(99, 50, 30)])
    same, new = nearest_distance(copies, space.real)
    assert same == pytest.approx(0, abs=1e-6)
    assert new > 1
