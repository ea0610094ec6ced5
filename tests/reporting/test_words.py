import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.reporting.words import counted, duration, number, share, visible


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (0.0, "0"),
        (1.0, "1.000"),
        (0.97314, "0.973"),
        (-0.5, "−0.500"),
        (0.012345, "0.01235"),
        (1234.5, "1234"),
        (1.5e-9, "1.5e-09"),
    ],
)
def test_a_number_is_written_with_what_a_reader_needs(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0 %"),
        (0.05, "5 %"),
        (0.0333, "3.3 %"),
        (0.0041, "0.41 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_a_percentage_that_never_breaks_before_its_sign(value, written):
    assert share(value) == written.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0 ms"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.0 s"),
        (21.37, "21.4 s"),
        (59.96, "1 min 00 s"),
        (75.2, "1 min 15 s"),
        (3725.0, "1 h 02 min"),
        (math.inf, "–"),
    ],
)
def test_a_duration_has_the_unit_that_a_person_would_use(seconds, written):
    assert duration(seconds) == written


def test_a_count_agrees_with_its_noun():
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(2, "box", "boxes") == "2 boxes"
    assert counted(12345, "image") == "12\u202f345 images"


def test_nothing_in_a_name_hides_or_turns_the_text_around_it():
    assert visible("a\nb\tc\x00d\x85") == "a\\nb\\tc\\x00d\\x85"
    assert visible("photo\u202egnp.exe") == "photo\\u202egnp.exe"
    assert visible("\u2066x\u2069\u200f") == "\\u2066x\\u2069\\u200f"
    assert visible("\udcff") == "\\udcff"


def test_other_scripts_stay_as_they_are():
    assert visible("שלום – schön 部品 👩\u200d🔧.png") == "שלום – schön 部品 👩\u200d🔧.png"


@given(st.text())
def test_visible_text_can_always_be_written_and_is_one_line(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
