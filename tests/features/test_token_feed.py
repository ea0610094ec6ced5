import numpy as np
import pytest

from blemish.features.token_feed import TokenFeed

COUNTS = [5, 3, 8, 1, 6]
TOTAL = sum(COUNTS)


def read(view):
    """Two arrays whose rows name the view and the place in it."""
    rows = np.arange(COUNTS[view])
    early = np.stack([np.full(len(rows), view), rows], axis=1).astype(np.float16)
    return early, early[:, :1] * 10


def feed(whole=False, room=1e9, counts=COUNTS):
    return TokenFeed(read, counts, 3, whole, room)


def epoch(source, batch, seed=0):
    return list(source.epoch(batch, np.random.default_rng(seed)))


@pytest.mark.parametrize("room", [1e9, 60, 1], ids=["memory", "groups", "single views"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_epoch_has_every_vector_once_and_its_rows_stay_together(room, whole):
    batches = epoch(feed(whole, room), 2 if whole else 4)
    early = np.concatenate([b[0] for b in batches])
    late = np.concatenate([b[1] for b in batches])
    assert early.dtype == np.float16
    assert {tuple(row) for row in early} == {(v, i) for v, n in enumerate(COUNTS) for i in range(n)}
    assert len(early) == TOTAL
    np.testing.assert_array_equal(late[:, 0], early[:, 0] * 10)


@pytest.mark.parametrize("room", [1e9, 60, 1])
def test_the_number_of_steps_is_that_of_the_length(room):
    source = feed(room=room)
    assert len(source) == TOTAL
    assert [len(b[0]) for b in epoch(source, 4)] == [4] * 5 + [3]
    whole = feed(True, room)
    assert len(whole) == 5
    assert len(epoch(whole, 2)) == 3


def test_vectors_of_many_views_are_mixed():
    batches = epoch(feed(), 8)
    assert len(set(batches[0][0][:, 0])) > 2


def test_a_batch_of_views_holds_them_whole():
    for early, _ in epoch(feed(whole=True), 2):
        for view in set(early[:, 0]):
            assert (early[:, 0] == view).sum() == COUNTS[int(view)]


@pytest.mark.parametrize("room", [1e9, 60])
def test_the_order_derives_from_the_generator_alone(room):
    one, other = epoch(feed(room=room), 4), epoch(feed(room=room), 4)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(one, other, strict=True))
    another = epoch(feed(room=room), 4, seed=1)
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(one, another, strict=True))


def test_views_are_read_once_when_they_fit_and_each_epoch_when_they_do_not():
    for room, expected in ((1e9, 1), (60, 3)):
        seen = []

        def counting(view, seen=seen):
            seen.append(view)
            return read(view)

        source = TokenFeed(counting, COUNTS, 3, False, room)
        for _ in range(3):
            epoch(source, 4)
        assert len(seen) == expected * len(COUNTS)


def test_groups_are_no_larger_than_the_room(monkeypatch):
    sizes = []
    load = TokenFeed._load

    def watched(self, views):
        arrays = load(self, views)
        sizes.append(sum(a.nbytes for a in arrays))
        return arrays

    monkeypatch.setattr(TokenFeed, "_load", watched)
    epoch(feed(room=100), 4)
    assert max(sizes) <= 100
    assert len(sizes) > 1
