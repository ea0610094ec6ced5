from dataclasses import replace

import numpy as np
import pytest

from blemish.augmentation.classic import PRESETS
from blemish.datasets.base import DataSet, image_digest
from blemish.preprocess import Geometry
from blemish.samples import Samples, to_float
from drawn import draw_defective, draw_good, good_records, plates

WHOLE = Geometry((64, 96))
TILED = Geometry((64, 96), tile=48)


@pytest.fixture
def samples():
    return Samples(plates(train=5, good=0, defective=2), WHOLE)


def counting(data):
    """The same data set, and how often each of its images was read."""
    reads = []

    def wrap(record):
        return replace(record, image=lambda: (reads.append(record.key), record.image())[1])

    return replace(data, records=tuple(map(wrap, data))), reads


def test_samples_are_the_images_in_order(samples):
    assert len(samples) == 7
    assert [views.record.key for views in samples] == [r.key for r in samples.data]
    np.testing.assert_array_equal(samples[1].pixels[0], draw_good(1))
    assert samples[1].valid.all()
    assert not samples[1].mask.any()
    assert samples.digests[1] == samples[1].digest == image_digest(draw_good(1))


def test_normals_and_defects_share_what_was_read(samples):
    assert len(samples.normals) == 5
    assert len(samples.defects) == 2
    np.testing.assert_array_equal(samples.defects[0].pixels[0], draw_defective(1000))
    assert samples.defects[0].mask.sum() == 16 * 16
    assert samples.defects._kept is samples._kept


def test_a_defect_that_was_not_marked_has_no_mask(samples):
    unmarked = tuple(replace(r, mask=None) for r in samples.data)
    views = Samples(replace(samples.data, records=unmarked), WHOLE)
    assert views.defects[0].mask is None
    (batch,) = views.batches(10)
    assert not batch.mask.any()
    assert batch.defective.tolist() == [False] * 5 + [True] * 2


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_batches_go_through_everything_once_in_order(samples, size):
    batches = list(samples.batches(size))
    assert [len(b.keys) for b in batches[:-1]] == [size] * (len(batches) - 1)
    assert [k for b in batches for k in b.keys] == [r.key for r in samples.data]
    x = np.concatenate([b.x for b in batches])
    assert x.dtype == np.float32
    assert x.shape == (7, 64, 96, 3)
    assert 0 <= x.min() < x.max() <= 1
    np.testing.assert_array_equal((x[2] * 255).round(), draw_good(2))


def test_tiles_of_one_image_may_lie_in_two_batches():
    samples = Samples(DataSet("d", good_records(2)), TILED)
    count = len(samples[0].pixels)
    batches = list(samples.batches(count - 1))
    assert sum(len(b.x) for b in batches) == 2 * count
    assert batches[0].digests == (samples[0].digest,) * (count - 1)
    assert batches[1].keys[0] == samples.data.records[0].key


def test_images_are_read_once_while_they_fit_in_memory():
    data, reads = counting(DataSet("d", good_records(4)))
    samples = Samples(data, WHOLE)
    for _ in range(3):
        assert len(samples.digests) == 4
    assert sorted(reads) == sorted(r.key for r in data)


def test_images_are_read_again_where_memory_is_short():
    data, reads = counting(DataSet("d", good_records(4)))
    views = Samples(data, WHOLE)[0]
    reads.clear()
    room_for_two = 2 * (views.pixels.nbytes + 2 * views.valid.nbytes)
    samples = Samples(data, WHOLE, keep_bytes=room_for_two)
    first, second = ([views.digest for views in samples] for _ in range(2))
    assert first == second == samples.digests
    assert len(reads) == 4 + 2
    assert len(samples._kept) == 2


def test_parts_are_held_out_whole_and_few_parts_are_on_both_sides():
    samples = Samples(DataSet("d", good_records(40, photos=2)), WHOLE)
    most, held = samples.hold_out(0.15, "salt")
    assert (len(most), len(held)) == (34, 6)
    assert not {r.group for r in most.data} & {r.group for r in held.data}
    assert {r.key for r in samples.hold_out(0.15, "other")[1].data} != {r.key for r in held.data}
    few = Samples(DataSet("d", good_records(6, photos=2)), WHOLE)
    assert few.hold_out(0.15, "salt") == (few, few)


def test_views_may_come_from_elsewhere_and_parts_of_the_samples_know_it(samples):
    half = Samples(samples.data, WHOLE, source=lambda record: upper_half(samples.read(record)))
    for views in (half[0], half.normals[0], half.part([samples.data.records[0].key])[0]):
        assert views.pixels.shape == (1, 32, 96, 3)
        assert views.digest == samples[0].digest
    assert half.places == samples.places


def upper_half(views):
    return replace(views, pixels=views.pixels[:, :32], valid=views.valid[:, :32], mask=None)


def test_no_images_no_batches():
    assert list(Samples(DataSet("d", ()), WHOLE).batches(4)) == []


def test_floats_are_exact_at_the_ends():
    found = to_float(np.array([0, 255, 128], np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 1, 128 / 255], rtol=1e-6)
    assert found[1] == 1.0


def test_good_views_are_changed_where_learning_asks_and_defective_ones_never():
    pytest.importorskip("torchvision")
    data = plates(train=5, good=0, defective=2)
    plain, changed = Samples(data, WHOLE), Samples(data, WHOLE, PRESETS["aligned"], copies=2)
    places = plain.places
    as_is, random = plain.take(places), np.random.default_rng(0)
    np.testing.assert_array_equal(changed.take(places).x, as_is.x)
    np.testing.assert_array_equal(plain.take(places, random).x, as_is.x)
    moved = changed.take(places, np.random.default_rng(0))
    for before, after, defective in zip(as_is.x, moved.x, as_is.defective, strict=True):
        assert np.array_equal(before, after) == defective
    assert plain.identity["data"] == changed.identity["data"]
    assert "changes" not in plain.identity
    assert changed.identity["changes"]["rotate"] == 1.5


def test_methods_that_look_once_get_copies_after_each_batch():
    pytest.importorskip("torchvision")
    data = plates(train=5, good=0, defective=0)
    samples = Samples(data, WHOLE, PRESETS["pixel_only"], copies=2)
    batches = list(samples.changed_batches(4, np.random.default_rng(0)))
    assert [len(b.keys) for b in batches] == [4, 4, 4, 1, 1, 1]
    assert batches[0].digests == batches[1].digests
    assert not np.array_equal(batches[1].x, batches[2].x)
    plain = Samples(data, WHOLE, copies=2)
    assert len(list(plain.changed_batches(4, np.random.default_rng(0)))) == 2
    assert (samples.passes, plain.passes) == (3, 1)


def test_views_per_image_are_counted_before_any_is_cut():
    tiled = Samples(DataSet("d", good_records(2)), TILED)
    assert tiled.views_per_image == len(tiled[0].pixels) > 1
    assert Samples(DataSet("d", good_records(2)), WHOLE).views_per_image == 1
    assert Samples(DataSet("d", ()), TILED).views_per_image == 0
