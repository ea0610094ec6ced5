"""The report: one HTML file that shows an evaluation and needs nothing beside it.

No script, no font, no request: a policy in the page forbids them, so that a hostile name in the
data could not bring one either. All texts are escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from blemish import __version__
from blemish.errors import OptionError
from blemish.evaluation import Evaluation
from blemish.files import write_atomically
from blemish.reporting.examples import Shown, scale_bar, sections
from blemish.reporting.headline import summary, tiles
from blemish.reporting.score_charts import calibration_picture, curve_charts, score_histogram
from blemish.reporting.tables import (
    card_groups,
    duration_rows,
    figure_rows,
    split_figures,
    type_rows,
)
from blemish.reporting.training_charts import training_charts
from blemish.reporting.words import counted, number, share, visible

_OWN_PLACE = ("versions", "command")  # entries of a card that the page shows elsewhere


def write_report(
    evaluation: Evaluation,
    path: Path,
    *,
    pictures_per_section: int = 12,
    command: str | None = None,
) -> Path:
    """Write the report of one evaluation.

    The same evaluation gives the same bytes. The file appears whole or not at all.

    Args:
        evaluation: What was found.
        path: The HTML file; made, or replaced. Missing folders are made.
        pictures_per_section: How many misses, false alarms and hits are shown at most, 0 or more.
        command: The command line that made this evaluation; where it is left out, the entry
            ``command`` of the detector's or the data set's card, or a line made from their names.

    Returns:
        `path`.

    Raises:
        OptionError: `pictures_per_section` is negative, or `path` is a folder.
        ImageError: The map or the mask of an example is not of the size of its image.
    """
    return write_atomically(
        path, render(evaluation, pictures_per_section=pictures_per_section, command=command)
    )


def render(
    evaluation: Evaluation, *, pictures_per_section: int = 12, command: str | None = None
) -> str:
    """Make the text of the page; see :func:`write_report`."""
    if pictures_per_section < 0:
        raise OptionError(
            f"pictures_per_section is {pictures_per_section}; it must be 0 or more. "
            "Pass 0 for a report without pictures."
        )
    misses, alarms, hits = sections(
        (evaluation.misses, evaluation.false_alarms, evaluation.hits), pictures_per_section
    )
    style = page_style()  # its digest is part of the policy, so it must not change after this
    examples = [
        _section("misses", "Worst misses", misses, len(evaluation.misses)),
        _section("false-alarms", "Worst false alarms", alarms, len(evaluation.false_alarms)),
        _section("hits", "Defects that were found", hits, len(evaluation.hits)),
    ]
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            style=style,
            policy=policy(style),
            version=__version__,
            examples=examples,
            empty=_nothing_to_show(evaluation, pictures_per_section),
            scale_bar=_scale_bar(evaluation),
            threshold=number(evaluation.threshold),
            **_context(evaluation, command),
        )
    )


def _context(evaluation: Evaluation, command: str | None) -> dict[str, Any]:
    method = visible(evaluation.detector.get("method", "detector"))
    data = visible(evaluation.data.get("name", "test images"))
    charts = [score_histogram(evaluation), calibration_picture(evaluation)]
    detector = {k: v for k, v in evaluation.detector.items() if k not in _OWN_PLACE}
    main, further = split_figures(evaluation.figures)
    return {
        "method": method,
        "data": data,
        "tested": counted(len(evaluation.images), "test image"),
        "summary": summary(evaluation),
        "tiles": tiles(evaluation),
        "notes": [visible(note) for note in evaluation.notes],
        "figures": figure_rows(main),
        "further": figure_rows(further),
        "types": type_rows(evaluation.images),
        "score_charts": [c for c in charts if c],
        "curve_charts": curve_charts(evaluation),
        "training_charts": training_charts(evaluation.history),
        "detector_card": card_groups(detector),
        "data_card": card_groups({k: v for k, v in evaluation.data.items() if k not in _OWN_PLACE}),
        "versions": _versions(evaluation),
        "durations": duration_rows(evaluation.seconds),
        "command": _command(evaluation, command),
        "asked": share(evaluation.false_alarms_asked),
    }


def _section(anchor: str, title: str, shown: list[Shown], total: int) -> dict[str, Any]:
    return {"anchor": anchor, "title": title, "shown": shown, "total": total}


def _nothing_to_show(evaluation: Evaluation, pictures_per_section: int) -> dict[str, str]:
    """What an empty section of examples says."""
    if pictures_per_section == 0:
        return dict.fromkeys(("misses", "false-alarms", "hits"), "No pictures were asked for.")
    bad = [r.flagged for r in evaluation.images if r.defective]
    good = [r.flagged for r in evaluation.images if not r.defective]
    kept = "No pictures were kept."
    return {
        "misses": "No defective image was missed." if bad and all(bad) else kept,
        "false-alarms": "No good image was flagged." if good and not any(good) else kept,
        "hits": "No defective image was found." if bad and not any(bad) else kept,
    }


def _scale_bar(evaluation: Evaluation) -> Markup:
    for group in (evaluation.misses, evaluation.false_alarms, evaluation.hits):
        for example in group:
            return scale_bar(example.prediction.pixel_threshold)
    return Markup("")


def _versions(evaluation: Evaluation) -> list[tuple[str, str]]:
    versions = evaluation.detector.get("versions")
    if not isinstance(versions, dict):
        return [("blemish", __version__)]
    return [(visible(k), visible(v)) for k, v in versions.items()]


def _command(evaluation: Evaluation, command: str | None) -> str:
    known = command or evaluation.detector.get("command") or evaluation.data.get("command")
    if known:
        return visible(known)
    name = visible(evaluation.data.get("name", "FOLDER"))
    return f"blemish evaluate part.blemish --data {name} --out results"


def policy(style: str) -> str:
    """Allow this one style sheet and pictures inside the page; forbid everything else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def page_style() -> Markup:
    """The one style sheet of all pages."""
    file = resources.files("blemish.reporting") / "templates" / "report.css"
    return Markup(file.read_text(encoding="utf-8").replace("\r\n", "\n"))


@cache
def templates() -> Environment:
    """The templates of all pages, escaping everything."""
    return Environment(
        loader=PackageLoader("blemish.reporting", "templates"),
        autoescape=True,  # always: the usual choice by file ending would miss ".j2"
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
