import inspect

import pytest

from blemish import errors
from blemish.errors import (
    BlemishError,
    DataError,
    MissingExtraError,
    OptionError,
    OverlapError,
    UnknownNameError,
)

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
]
ERRORS = [c for c in CLASSES if issubclass(c, Exception) and not issubclass(c, Warning)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda c: c.__name__)
def test_every_error_is_a_blemish_error_and_drawn_in_the_tree(error):
    assert issubclass(error, BlemishError)
    assert error.__name__ in errors.__doc__
    assert error.__doc__


def test_special_errors_are_caught_with_their_parents():
    assert issubclass(OverlapError, DataError)
    assert issubclass(UnknownNameError, OptionError)


def test_an_unknown_name_offers_the_nearest_and_lists_all():
    text = str(UnknownNameError("method", "patchcor", ["vae", "patchcore"]))
    assert text == ("Unknown method 'patchcor'. Did you mean 'patchcore'? Known: patchcore, vae.")


def test_nothing_is_offered_when_nothing_is_near():
    text = str(UnknownNameError("preset", "zzz", ["tiny"]))
    assert "Did you mean" not in text
    assert str(UnknownNameError("preset", "zzz", [])).endswith("Known: none.")


def test_a_missing_extra_says_what_to_install():
    assert str(MissingExtraError("VAE", "train")) == (
        "VAE needs the extra [train]: pip install 'blemish[train]'."
    )
