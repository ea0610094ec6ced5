"""Options: flat frozen dataclasses, written once.

The command line, the documentation and the header of a model file all derive from the dataclass of
a method, data set or backbone. A field is declared with :func:`option`, which carries the help
text and the rule that a value must follow.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from blemish.errors import OptionError, UnknownNameError

T = TypeVar("T")

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a field of an options dataclass.

    Args:
        default: The default value (the paper's, where there is one).
        help: One line: what it does, with its unit.
        choices: The only values allowed.
        low: Smallest value allowed, inclusive.
        high: Largest value allowed, inclusive.
    """
    rule = {"help": help, "choices": choices, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=rule)


@dataclasses.dataclass(frozen=True)
class OptionInfo:
    """One option as shown by ``blemish list`` and in the docs."""

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[Any, ...] | None


def describe(cls: type) -> list[OptionInfo]:
    """List the options of a dataclass, in the order in which they were written."""
    hints = typing.get_type_hints(cls)
    return [
        OptionInfo(
            f.name,
            _type_name(hints[f.name]),
            f.default,
            str(f.metadata.get("help", "")),
            tuple(f.metadata["choices"]) if f.metadata.get("choices") else None,
        )
        for f in dataclasses.fields(cls)
    ]


def names(cls: type) -> list[str]:
    """Names of the options of a dataclass."""
    return [f.name for f in dataclasses.fields(cls)]


def build(cls: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Make an options object from values that may be text.

    Args:
        cls: A frozen dataclass whose fields were declared with :func:`option`.
        values: Option name to value; text is converted to the field's type.
        owner: Whose options these are, for messages: ``"method patchcore"``.

    Raises:
        UnknownNameError: A name is not an option of `cls`; the nearest one is offered.
        OptionError: A value does not fit the type, the choices or the limits.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    converted = {}
    for name, value in values.items():
        if name not in fields:
            raise UnknownNameError(f"option of {owner}", name, fields)
        where = f"option {name} of {owner}"
        converted[name] = _convert(value, hints[name], where)
        _check(converted[name], fields[name].metadata, where)
    return cls(**converted)


def to_json(instance: Any) -> dict[str, Any]:
    """Turn an options object into plain JSON values; :func:`build` reads them back."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(instance).items()
    }


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Read ``key=value`` texts as the command line gives them.

    Raises:
        OptionError: A text has no ``=``, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise OptionError(f"{text!r} is not of the form key=value.")
        if name in found:
            raise OptionError(f"Option {name!r} is given twice: {found[name]!r} and {value!r}.")
        found[name] = value.strip()
    return found


def _type_name(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("pathlib.", "")


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Convert one value, text included, to a type hint."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in {"none", ""}):
            if type(None) in arguments:
                return None
            raise OptionError(f"{where}: a value is needed, got {value!r}.")
        return _convert_any(value, [a for a in arguments if a is not type(None)], where)
    if typing.get_origin(hint) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, int | float):
            items = [items]
        return tuple(_convert(item, arguments[0], where) for item in items if item != "")
    return _convert_scalar(value, hint, where)


def _convert_any(value: Any, hints: list[Any], where: str) -> Any:
    for hint in hints[:-1]:
        try:
            return _convert(value, hint, where)
        except OptionError:
            continue
    return _convert(value, hints[-1], where)


def _convert_scalar(value: Any, hint: Any, where: str) -> Any:
    text = str(value).strip()
    try:
        if hint is bool:
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            raise ValueError
        if hint is int:
            number = float(text)
            if number != int(number):
                raise ValueError
            return int(number)
        if hint is float:
            return float(text[:-1]) / 100 if text.endswith("%") else float(text)
        if hint in (str, Path):
            return hint(text)
    except (ValueError, OverflowError):
        raise OptionError(f"{where}: {value!r} is not of type {_type_name(hint)}.") from None
    raise TypeError(f"{where}: options cannot have the type {hint!r}")


def _check(value: Any, rule: Mapping[str, Any], where: str) -> None:
    """Check choices and limits; a tuple is checked item by item."""
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        choices, low, high = rule.get("choices"), rule.get("low"), rule.get("high")
        if choices and item not in choices:
            raise OptionError(f"{where}: {item!r} is not one of {', '.join(map(str, choices))}.")
        if isinstance(item, int | float) and not isinstance(item, bool):
            if low is not None and not item >= low:
                raise OptionError(f"{where}: {item!r} is below the smallest value {low}.")
            if high is not None and not item <= high:
                raise OptionError(f"{where}: {item!r} is above the largest value {high}.")


def digest_text(values: Mapping[str, Any]) -> str:
    """Canonical JSON of plain values, for hashing and for headers."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
