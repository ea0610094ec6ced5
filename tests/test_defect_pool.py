from dataclasses import replace

import numpy as np
import pytest

from blemish.augmentation.cut_paste import Pasting
from blemish.defect_pool import ONCE, DefectPool, add_noise, make_pool, marked_views
from blemish.errors import DataError
from blemish.preprocess import Geometry
from blemish.samples import Batch, Samples
from drawn import plates

HOW = Pasting(placement="uniform")


def samples(marked: int = 3, **geometry: object) -> Samples:
    data = plates(train=6, marked=marked).select("train")
    return Samples(data, Geometry(**{"size": (64, 96), **geometry}))


def batch_of(found: Samples, size: int = 4) -> Batch:
    return next(iter(found.normals.batches(size)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_marked_view_gets_as_many_pasted_ones_as_asked():
    pool = make_pool(samples(), 5, 10, HOW, seed=0)
    assert len(pool.originals) == 3
    assert len(pool.pasted) == 30
    assert all(item.mask.any() for item in (*pool.originals, *pool.pasted))
    assert len({(item.key, item.number) for item in pool.pasted}) == 30
    assert len(make_pool(samples(), 5, 10, HOW, seed=0, larger=2).pasted) == 60


def test_the_same_seed_makes_the_same_pool():
    one, two, other = (make_pool(samples(), 5, 2, HOW, seed=s) for s in (1, 1, 2))
    for a, b in zip(one.pasted, two.pasted, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    assert any((a.pixels != b.pixels).any() for a, b in zip(one.pasted, other.pasted, strict=True))


def test_copies_and_pasted_ones_are_drawn_in_the_ratio_that_was_asked():
    found = samples()
    pool = make_pool(found, 5, 10, HOW, seed=0)
    mixed = pool.mix(batch_of(found), 600, rng())
    pasted = np.mean([key.startswith("pasted") for key in mixed.keys[4:]])
    assert pasted == pytest.approx(2 / 3, abs=0.06)
    assert pool.copies_share == pytest.approx(1 / 3)


def test_a_mixed_batch_has_good_views_first_and_true_masks():
    found = samples()
    mixed = make_pool(found, 5, 3, HOW, seed=0).mix(batch_of(found), 2, rng())
    assert mixed.x.shape == (6, 64, 96, 3)
    assert mixed.x.dtype == np.float32
    assert mixed.x.max() <= 1
    assert mixed.defective.tolist() == [False] * 4 + [True] * 2
    assert not mixed.mask[:4].any()
    assert mixed.mask[4:].any(axis=(1, 2)).all()
    assert len(mixed.keys) == len(mixed.numbers) == len(mixed.digests) == 6


def test_nothing_pasted_means_copies_only():
    found = samples()
    pool = make_pool(found, 5, 0, HOW, seed=0)
    assert not pool.pasted
    keys = pool.mix(batch_of(found), 20, rng()).keys[4:]
    assert set(keys) <= {item.key for item in pool.originals}


def test_fresh_pastes_go_into_the_good_views_of_the_batch_and_never_come_again():
    found = samples()
    pool = make_pool(found, 0, 10, HOW, seed=0, fresh=True)
    assert not pool.pasted
    batch = batch_of(found)
    mixed = pool.mix(batch, 8, rng())
    assert set(mixed.numbers[4:]) == {ONCE}
    for row in range(4, 12):
        same = [(mixed.x[row] == good).all(axis=2) | mixed.mask[row] for good in batch.x]
        assert any(s.all() for s in same)


def test_without_a_valid_place_a_fresh_paste_is_a_copy():
    found = samples()
    pool = make_pool(found, 0, 10, HOW, seed=0, fresh=True)
    batch = batch_of(found)
    nowhere = replace(batch, valid=np.zeros_like(batch.valid))
    assert set(pool.mix(nowhere, 3, rng()).keys[4:]) <= {i.key for i in pool.originals}


def test_whole_images_are_turned_where_good_ones_may_not_be_used():
    found = samples()
    pool = make_pool(found, 5, 10, HOW, seed=0, whole=True)
    assert 20 <= len(pool.pasted) <= 30
    batch = pool.replace(batch_of(found), rng())
    assert batch.defective.all()
    assert batch.x.shape[0] == 4


def test_a_mask_that_vanishes_at_the_working_resolution_is_left_out_and_named():
    with pytest.raises(DataError, match=r"None of the 3 defective .* at 3×2 pixels"):
        make_pool(samples(size=(2, 3), fit="stretch"), 5, 10, HOW, seed=0)
    with pytest.raises(DataError, match="None of the 0 defective"):
        make_pool(samples(marked=0), 5, 10, HOW, seed=0)


def test_marked_pixels_outside_the_region_of_interest_do_not_count():
    roi = np.zeros((64, 96), bool)
    roi[:, :8] = True  # no blob reaches there
    assert marked_views(samples(roi=roi)) == []


def test_noise_is_on_all_views_alike_and_stays_in_range():
    found = samples()
    batch = make_pool(found, 5, 2, HOW, seed=0).mix(batch_of(found), 4, rng())
    noisy = add_noise(batch, 0.1, rng())
    deviation = (noisy.x - batch.x).std(axis=(1, 2, 3))
    assert deviation[:4].mean() == pytest.approx(deviation[4:].mean(), rel=0.15)
    assert noisy.x.min() >= 0
    assert noisy.x.max() <= 1
    assert set(noisy.numbers) == {ONCE}
    assert add_noise(batch, 0.0, rng()) is batch


def test_an_empty_draw_changes_nothing():
    found = samples()
    batch = batch_of(found)
    assert DefectPool((), (), 0.5).mix(batch, 0, rng()) is batch
