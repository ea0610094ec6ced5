"""How a report writes numbers, names and durations."""

from __future__ import annotations

import math
import unicodedata

NONE = "–"
# Marks that turn the direction of the text around them: a name could hide its own ending.
_TURNING = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators


def visible(text: object) -> str:
    r"""Write a foreign name so that nothing in it is invisible or turns the text around it.

    Control characters, line breaks, direction marks and lone surrogates become ``\n`` or
    ``\u202e``. HTML is not escaped here: the template and the chart builder do that.
    """
    return "".join(_spelled(c) if _hides(c) else c for c in str(text))


def number(value: float | None) -> str:
    """Three decimals from 0.1 to 1, otherwise four significant digits; ``–`` for None."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.3f}" if 0.1 <= abs(value) <= 1 else f"{value:.4g}"
    return text.replace("-", "−") if "e" not in text else text


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal where it needs one; ``–`` for None."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = 100 * value
    digits = 2 if 0 < percent < 0.95 else 1
    return f"{percent:.{digits}f}".removesuffix(".0") + "\u00a0%"


def duration(seconds: float) -> str:
    """A duration in the unit that a person would use."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``1 image``, ``2 images``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}".replace(",", "\u202f")


def _hides(character: str) -> bool:
    return ord(character) in _TURNING or unicodedata.category(character) in _UNSEEN


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
