from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish import options
from blemish.errors import OptionError, UnknownNameError
from blemish.options import option


@dataclass(frozen=True)
class Kettle:
    size: int = option(3, "Litres.", low=1, high=9)
    share: float = option(0.5, "A share.", low=0, high=1)
    on: bool = option(False, "Whether it is on.")
    name: str = option("red", "A colour.", choices=("red", "blue"))
    place: Path = option(Path(), "A folder.")  # noqa: RUF009
    steps: tuple[int, ...] = option((1, 2), "Steps.", low=0)
    limit: float | None = option(None, "A limit, or none.", low=0)
    either: int | str = option(1, "A number or a word.")


def build(**values):
    return options.build(Kettle, values, "method kettle")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "4", 4),
        ("size", "4.0", 4),
        ("size", "4e0", 4),
        ("share", "25%", 0.25),
        ("share", " 0.25 ", 0.25),
        ("share", 1, 1.0),
        ("on", "Yes", True),
        ("on", "off", False),
        ("on", True, True),
        ("name", "blue", "blue"),
        ("place", "a/b", Path("a/b")),
        ("steps", "8,16", (8, 16)),
        ("steps", "8, 16,", (8, 16)),
        ("steps", "", ()),
        ("steps", [4], (4,)),
        ("steps", 4, (4,)),
        ("limit", "none", None),
        ("limit", "", None),
        ("limit", None, None),
        ("limit", "2.5", 2.5),
        ("either", "7", 7),
        ("either", "auto", "auto"),
    ],
)
def test_text_becomes_a_value_of_the_right_type(name, text, value):
    found = getattr(build(**{name: text}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("size", "x", "option size of method kettle: 'x' is not of type int"),
        ("size", "2.5", "not of type int"),
        ("size", "inf", "not of type int"),
        ("size", "nan", "not of type int"),
        ("size", "0", "0 is below the smallest value 1"),
        ("size", "10", "10 is above the largest value 9"),
        ("size", "none", "not of type int"),
        ("share", "nan", "below the smallest"),
        ("share", "half", "not of type float"),
        ("on", "maybe", "not of type bool"),
        ("name", "green", "'green' is not one of red, blue"),
        ("steps", "1,-2", "-2 is below"),
        ("steps", "1,x", "'x' is not of type int"),
        ("limit", "-1", "below the smallest value 0"),
        ("either", None, "a value is needed"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, text, message):
    with pytest.raises(OptionError, match=message):
        build(**{name: text})


def test_an_unknown_option_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'sizes'[.] Did you mean 'size'"):
        build(sizes=3)


def test_a_type_that_options_cannot_have_is_a_programming_error():
    @dataclass(frozen=True)
    class Wrong:
        value: complex = option(0j, "Not possible.")

    with pytest.raises(TypeError, match="options cannot have the type"):
        options.build(Wrong, {"value": "1"}, "nothing")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.integers(1, 9),
            "share": st.floats(0, 1),
            "on": st.booleans(),
            "name": st.sampled_from(["red", "blue"]),
            "steps": st.lists(st.integers(0, 99)).map(tuple),
            "limit": st.none() | st.floats(0, 1e9),
        },
    )
)
def test_json_values_build_the_same_options_again(values):
    kettle = build(**values)
    assert options.build(Kettle, options.to_json(kettle), "it") == kettle


def test_describe_tells_what_is_written_in_the_dataclass():
    size, *_, limit, either = options.describe(Kettle)
    assert (size.name, size.type, size.default, size.help) == ("size", "int", 3, "Litres.")
    assert (limit.type, either.type) == ("float | None", "int | str")
    assert options.describe(Kettle)[3].choices == ("red", "blue")
    assert options.describe(Kettle)[5].type == "tuple[int, ...]"
    assert options.names(Kettle)[:2] == ["size", "share"]


def test_assignments_are_split_at_the_first_sign():
    assert options.parse_assignments(["a=1", "bank-mb = 2=3 "]) == {"a": "1", "bank_mb": "2=3"}


@pytest.mark.parametrize("wrong", [["a"], ["=1"], ["a=1", "a=2"]])
def test_assignments_that_say_nothing_or_twice_are_refused(wrong):
    with pytest.raises(OptionError):
        options.parse_assignments(wrong)


def test_digest_text_does_not_depend_on_the_order():
    assert options.digest_text({"b": 1, "a": Path("x")}) == '{"a":"x","b":1}'
