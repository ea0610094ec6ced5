"""What the tables of a report say: figures, defect types, cards, durations."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from blemish.evaluation import ImageResult
from blemish.metrics.figure import Figure
from blemish.reporting.words import NONE, duration, number, share, visible

_ESTIMATORS = {
    "exact": "exact",
    "paper": "estimator of the paper",
    "stream": "streamed",
}
_LONGEST = 300  # characters of one value on a card


# Size bins, their summary, the estimator with 99 thresholds, and figures per image.
_FURTHER = re.compile(r"_[qd]\d|_min\d+|^rho|_paper$|^x_|^mass|^contrast|^components|^p_value")


@dataclass(frozen=True)
class FigureRow:
    """One line of the table of figures.

    Attributes:
        label: What the figure is called.
        value: The figure at the stored threshold, or one that needs none; ``–`` where there is
            none.
        interval: Its 95 % interval, or ``""``.
        oracle: The figure that the best threshold of this test set would give, or ``""``.
        oracle_label: What the oracle figure is called, or ``""``.
        note: Estimator, largest error, or why there is no value.
    """

    label: str
    value: str
    interval: str = ""
    oracle: str = ""
    oracle_label: str = ""
    note: str = ""


@dataclass(frozen=True)
class TypeRow:
    """How many images of one kind of defect were found.

    Attributes:
        defect_type: The kind, as the data set calls it.
        found: Images that were flagged.
        total: Images of this kind.
        rate: `found` of `total` as a percentage.
    """

    defect_type: str
    found: int
    total: int
    rate: str


def split_figures(
    figures: Mapping[str, Figure],
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Part the figures of the main table from those by defect size and by the paper's estimator."""
    further = {name: f for name, f in figures.items() if _FURTHER.search(name)}
    return {name: f for name, f in figures.items() if name not in further}, further


def figure_rows(figures: Mapping[str, Figure]) -> list[FigureRow]:
    """Order figures into lines, each oracle figure beside the one at the stored threshold.

    ``pixel_f1_max`` or ``oracle_pixel_f1`` belongs to ``pixel_f1`` or to the first figure whose
    name starts with ``pixel_f1_``. An oracle figure that belongs to none has a line of its own,
    in which the column of the usable value stays empty.
    """
    # Oracle name to honest name or None; of two oracles with one partner the later is beside it.
    partners = {name: _partner(name, figures) for name, f in figures.items() if f.oracle}
    oracle_of = {honest: name for name, honest in partners.items() if honest}
    rows = []
    for name, figure in figures.items():
        if not figure.oracle:
            oracle = oracle_of.get(name)
            rows.append(_row(name, figure, figures[oracle] if oracle else None))
        elif oracle_of.get(partners[name] or "") != name:
            rows.append(_oracle_row(name, figure))
    return rows


def written(name: str, value: float | None) -> str:
    """Write a figure: rates as percentages, everything else as a number."""
    return share(value) if name.endswith("_rate") else number(value)


def interval(name: str, figure: Figure) -> str:
    """Write the 95 % interval of a figure, ``""`` where it has none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{written(name, figure.low)} – {written(name, figure.high)}"


def type_rows(images: Iterable[ImageResult]) -> list[TypeRow]:
    """Count the found images of each kind of defect, the hardest kind first."""
    flags = defaultdict(list)
    for result in images:
        if result.defective:
            flags[result.defect_type].append(result.flagged)
    rows = [
        TypeRow(visible(kind), sum(found), len(found), share(sum(found) / len(found)))
        for kind, found in flags.items()
    ]
    return sorted(rows, key=lambda r: (r.found / r.total, r.defect_type))


def card_groups(card: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Flatten a card of plain JSON into groups of (name, value) lines.

    The plain values at the top come first under the title ``""``; every mapping is a group, and the
    mappings inside it are lines with dotted names.
    """
    plain = [(visible(k), _plain(v)) for k, v in card.items() if not isinstance(v, Mapping)]
    groups = [("", plain)] if plain else []
    for key, value in card.items():
        if isinstance(value, Mapping) and value:
            groups.append((visible(key), list(_flat(value))))
    return groups


def duration_rows(seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """Write the wall time of each stage."""
    return [(visible(stage), duration(float(value))) for stage, value in seconds.items()]


def _row(name: str, figure: Figure, oracle: Figure | None) -> FigureRow:
    return FigureRow(
        label=visible(figure.label),
        value=written(name, figure.value),
        interval=interval(name, figure),
        oracle=written(name, oracle.value) if oracle else "",
        oracle_label=visible(oracle.label) if oracle else "",
        note=_note(figure),
    )


def _oracle_row(name: str, figure: Figure) -> FigureRow:
    value, label = written(name, figure.value), visible(figure.label)
    return FigureRow(label, NONE, oracle=value, oracle_label=label, note=_note(figure))


def _note(figure: Figure) -> str:
    parts = []
    if figure.value is None:
        parts.append(figure.reason or "not computed")
    if figure.estimator:
        parts.append(_ESTIMATORS.get(figure.estimator, figure.estimator))
    if figure.bound:
        parts.append(f"error at most {figure.bound:.2g}")
    return visible("; ".join(parts))


def _partner(name: str, figures: Mapping[str, Figure]) -> str | None:
    """The figure at the stored threshold that an oracle figure stands beside."""
    base = name
    for affix in ("_max", "_oracle", "_best"):
        base = base.removesuffix(affix)
    base = base.removeprefix("oracle_").removeprefix("max_")
    honest = [n for n, f in figures.items() if not f.oracle]
    near = [n for n in honest if n == base] or [n for n in honest if n.startswith(base + "_")]
    return near[0] if near else None


def _flat(card: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in card.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield visible(f"{prefix}{key}"), _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None or value == [] or value == {} or value == "":
        return NONE
    if isinstance(value, list | tuple):
        simple = all(isinstance(v, str | int | float) for v in value)
        text = ", ".join(_plain(v) for v in value) if simple else json.dumps(value, default=str)
        return _cut(visible(text))
    return _cut(visible(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
