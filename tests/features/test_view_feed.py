import numpy as np
import pytest

from blemish.datasets.base import DataSet
from blemish.defect_pool import marked_views
from blemish.features.feature_bank import FeatureBank
from blemish.features.view_feed import ViewFeed, defective_views, good_views
from blemish.preprocess import Geometry
from blemish.samples import Samples
from drawn import defective_records, good_records

GRID = (6, 6)
SIZE = Geometry((48, 48))
GOOD = Samples(DataSet("good", good_records(5)), SIZE)
MARKED = Samples(DataSet("marked", defective_records(3, 3000, split="train")), SIZE)


def mean_colours(x):
    """(1, H, W, 3) to the mean colour of every cell."""
    return x.reshape(1, 6, 8, 6, 8, 3).mean(axis=(2, 4))


@pytest.fixture
def bank():
    return FeatureBank(mean_colours, 10)


def feed_of(bank, share=0.5):
    defects = defective_views(marked_views(MARKED), GRID)
    return ViewFeed(good_views(GOOD, GRID), bank, defects, share)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_an_epoch_has_every_good_view_once_with_its_features(bank):
    feed = ViewFeed(good_views(GOOD, GRID), bank)
    found = np.concatenate([features for features, *_ in feed.epoch(2, rng())])
    expected = np.stack([mean_colours(GOOD.take([p]).x)[0] for p in GOOD.places])
    assert len(feed) == len(found) == 5
    order = [int(np.abs(expected - f.astype(float)).sum(axis=(1, 2, 3)).argmin()) for f in found]
    assert sorted(order) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found, expected[order], atol=1e-3)


def test_defective_views_are_drawn_beside_good_ones_with_their_cells(bank):
    for features, valid, anomalous, defective in feed_of(bank).epoch(2, rng()):
        own = len(features) // 2
        np.testing.assert_array_equal(defective, np.arange(len(features)) >= own)
        np.testing.assert_array_equal(anomalous.any(axis=(1, 2)), defective)
        # The plates are wider than high: above and below is padding.
        assert valid[:, 1:5].all()
        assert not valid[:, [0, 5]].any()


def test_a_cell_is_anomalous_when_any_pixel_of_it_is_marked():
    (item, *_), (view, *_) = marked_views(MARKED), defective_views(marked_views(MARKED), GRID)
    cells = item.mask.reshape(6, 8, 6, 8).any(axis=(1, 3))
    np.testing.assert_array_equal(view.anomalous, cells)


def test_the_share_of_defective_views_is_that_asked_and_at_least_one(bank):
    for share, expected in ((0.5, [4, 4, 2]), (0.1, [3, 3, 2])):
        sizes = [len(features) for features, *_ in feed_of(bank, share).epoch(2, rng())]
        assert sizes == expected


def test_order_and_draws_derive_from_the_generator_alone(bank):
    one, two, other = (list(feed_of(bank).epoch(2, rng(seed))) for seed in (0, 0, 1))
    for a, b in zip(one, two, strict=True):
        for first, second in zip(a, b, strict=True):
            np.testing.assert_array_equal(first, second)
    assert any((a[0] != b[0]).any() for a, b in zip(one, other, strict=True))


def test_no_image_is_read_for_features_that_are_kept(bank, monkeypatch):
    feed = ViewFeed(good_views(GOOD, GRID), bank)
    list(feed.epoch(2, rng()))
    monkeypatch.setattr(Samples, "take", lambda *_: pytest.fail("an image was read again"))
    assert len(list(feed.epoch(2, rng(1)))) == 3
