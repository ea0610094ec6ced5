"""The results of an evaluation as files that programs read: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish.evaluation import Evaluation
from blemish.files import write_atomically
from blemish.metrics.figure import Figure
from blemish.result_files import safe_text

EVALUATION_SCHEMA = "blemish.evaluation/1"
_FIGURE_COLUMNS = (
    "name",
    "label",
    "value",
    "low",
    "high",
    "oracle",
    "estimator",
    "bound",
    "reason",
)
_IMAGE_COLUMNS = ("key", "defective", "defect_type", "group", "score", "p_value", "flagged")


def write_results(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write ``metrics.json``, ``metrics.csv`` and ``images.csv``, each whole or not at all.

    Args:
        evaluation: What was found.
        folder: Where; made where it is missing, files of these names are replaced.

    Returns:
        The three paths.
    """
    text = json.dumps(to_json(evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    return [
        write_atomically(folder / "metrics.json", text + "\n"),
        write_atomically(folder / "metrics.csv", figures_csv(evaluation)),
        write_atomically(folder / "images.csv", images_csv(evaluation)),
    ]


def write_categories(found: Mapping[str, Mapping[str, Figure]], folder: Path) -> Path:
    """Write ``categories.csv``: a row of figures per category, and their mean.

    Args:
        found: Category to its figures. A figure that a category lacks has no mean.
        folder: Where; made where it is missing.
    """
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    rows: list[dict[str, object]] = [
        {"category": category, **{n: figures[n].value for n in names if n in figures}}
        for category, figures in found.items()
    ]
    columns = {name: [row.get(name) for row in rows] for name in names}
    means = {n: _mean(values) for n, values in columns.items()}
    table = _table(["category", *names], [*rows, {"category": "mean", **means}])
    return write_atomically(folder / "categories.csv", table)


def _mean(values: Sequence[object]) -> float | None:
    known = [value for value in values if isinstance(value, float | int)]
    return sum(known) / len(known) if len(known) == len(values) else None


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but curves, pictures and lines per image, as strict JSON values.

    Numbers that are not finite become None: JSON has no word for them.
    """
    images = evaluation.images
    # Curves are left out: the ROC and PR curves follow from images.csv.
    strict: dict[str, Any] = _strict(
        {
            "schema": EVALUATION_SCHEMA,
            "figures": {name: figure.to_json() for name, figure in evaluation.figures.items()},
            "images": {
                "good": sum(not r.defective for r in images),
                "good_flagged": sum(r.flagged and not r.defective for r in images),
                "defective": sum(r.defective for r in images),
                "defective_flagged": sum(r.flagged and r.defective for r in images),
            },
            "threshold": evaluation.threshold,
            "false_alarms_asked": evaluation.false_alarms_asked,
            "calibration_scores": list(evaluation.calibration_scores),
            "detector": evaluation.detector,
            "data": evaluation.data,
            "seconds": evaluation.seconds,
            "notes": list(evaluation.notes),
        }
    )
    return strict


def figures_csv(evaluation: Evaluation) -> str:
    """One line per figure; empty cells where there is nothing to say."""
    rows = (
        {
            "name": name,
            "label": figure.label,
            "value": figure.value,
            "low": figure.low,
            "high": figure.high,
            "oracle": figure.oracle,
            "estimator": figure.estimator,
            "bound": figure.bound,
            "reason": figure.reason,
        }
        for name, figure in evaluation.figures.items()
    )
    return _table(_FIGURE_COLUMNS, rows)


def images_csv(evaluation: Evaluation) -> str:
    """One line per test image: name, truth, score, p-value and decision."""
    rows = ({c: getattr(result, c) for c in _IMAGE_COLUMNS} for result in evaluation.images)
    return _table(_IMAGE_COLUMNS, rows)


def safe_cell(value: object) -> str:
    """Write one value so that a spreadsheet shows it and never runs it.

    Numbers are written in full (shortest text that reads back the same) and stay numbers, negative
    ones too; for text see :func:`blemish.result_files.safe_text`.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value))  # NumPy's own floats would write their type
    return safe_text(str(value))


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
