import numpy as np

from blemish.features.feature_bank import FeatureBank


class Counting:
    """Mean colour of 2×2 cells, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        assert x.shape[0] == 1
        self.calls += 1
        return x.reshape(1, 2, 2, 2, 2, 3).mean(axis=(2, 4)) * 1e5 / 3


def views(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, 4, 4, 3)).astype(np.float32)


def places(count: int = 3) -> list[tuple[str, int]]:
    return [(f"image {i}", 0) for i in range(count)]


def test_a_view_is_computed_once():
    encode = Counting()
    bank = FeatureBank(encode, 1)
    first = bank.take(places(), views().__getitem__)
    again = bank.take(places()[::-1], views()[::-1].__getitem__)
    assert encode.calls == len(bank) == 3
    np.testing.assert_array_equal(first, again[::-1])
    assert first.dtype == np.float16


def test_answers_do_not_depend_on_what_is_remembered():
    remembered = FeatureBank(Counting(), 1).take(places(), views().__getitem__)
    nothing = FeatureBank(Counting(), 0)
    np.testing.assert_array_equal(nothing.take(places(), views().__getitem__), remembered)
    np.testing.assert_array_equal(
        nothing.take(places()[1:], views()[1:].__getitem__), remembered[1:]
    )
    assert len(nothing) == 0


def test_no_more_is_kept_than_allowed():
    each = 2 * 2 * 3 * 2 / 1e6
    bank = FeatureBank(Counting(), 2.5 * each)
    bank.take(places(), views().__getitem__)
    assert len(bank) == 2


def test_a_view_that_never_comes_again_is_not_kept():
    encode = Counting()
    bank = FeatureBank(encode, 1)
    found = bank.take([("pasted", -1), ("pasted", -1)], views(2).__getitem__)
    assert (found[0] != found[1]).any()
    assert len(bank) == 0


def test_values_beyond_half_precision_stay_finite():
    bank = FeatureBank(lambda x: np.full((1, 1, 1, 1), 1e9, np.float32), 1)
    assert np.isfinite(bank.take(places(1), views(1).__getitem__)).all()
