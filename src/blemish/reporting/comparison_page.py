"""The comparison of two detectors as one self-contained HTML file, both maps side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blemish.comparison import Comparison, Duel
from blemish.files import write_atomically
from blemish.reporting.html import page_style, policy, templates
from blemish.reporting.pictures import MapScale, data_uri, heat, outlined, thumbnail
from blemish.reporting.words import number, visible

TRUTH_COLOUR = (80, 200, 40)
PICTURE_BYTES = 60_000
ROUNDING = 1e-9  # equal figures differ in their last bits


def write_comparison(comparison: Comparison, path: Path, *, command: str = "") -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        comparison: What :func:`blemish.compare` found.
        path: The HTML file.
        command: The command that made it, to be shown.
    """
    return write_atomically(path, render_comparison(comparison, command=command))


def render_comparison(comparison: Comparison, *, command: str = "") -> str:
    """Make the text of the page; see :func:`write_comparison`."""
    style = page_style()
    first, second = comparison.evaluations
    return (
        templates()
        .get_template("comparison.html.j2")
        .render(
            style=style,
            policy=policy(style),
            names=[_name(first.detector, "A"), _name(second.detector, "B")],
            data=visible(first.data.get("name", "test images")),
            rows=[
                {
                    "label": label,
                    "value": f"{found.value:+.3f}",
                    "interval": f"{found.low:+.3f} – {found.high:+.3f}",
                    "told_apart": found.low > ROUNDING or found.high < -ROUNDING,
                    "won": f"{comparison.shares_won[label]:.0%}"
                    if label in comparison.shares_won
                    else "",
                }
                for label, found in comparison.differences.items()
            ],
            notes=[visible(note) for note in comparison.notes],
            duels=[_shown(duel) for duel in comparison.duels],
            command=visible(command),
        )
    )


def _name(card: Any, letter: str) -> str:
    return f"{letter}: {visible(card.get('method', 'detector'))}"


def _shown(duel: Duel) -> dict[str, Any]:
    pictures = [("Image and truth", outlined(duel.image, duel.truth, TRUTH_COLOUR))]
    for letter, prediction, x_auc in zip("AB", duel.predictions, duel.x_auc, strict=True):
        scale = MapScale.of(prediction.pixel_threshold)
        title = f"{letter}: pixel AUROC {number(x_auc)}, p = {number(prediction.p_value)}"
        pictures.append((title, heat(duel.image, prediction.anomaly_map, scale)))
    return {
        "key": visible(duel.record.key),
        "type": visible(duel.record.defect_type),
        "pictures": [(name, data_uri(thumbnail(p), PICTURE_BYTES)) for name, p in pictures],
    }
