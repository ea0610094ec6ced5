"""The first lines of a report: what the detector did on this test set, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from blemish.evaluation import Evaluation
from blemish.reporting.tables import interval, written
from blemish.reporting.words import counted, share, visible


@dataclass(frozen=True)
class Tile:
    """One large number with its name and a line below.

    Attributes:
        name: What it is.
        value: The number, written.
        below: Its interval or what it should be compared with; may be ``""``.
    """

    name: str
    value: str
    below: str = ""


def summary(evaluation: Evaluation) -> list[str]:
    """Say in two or three sentences what was found, what was flagged, and whether that was asked.

    Images of a test set with one image per part are called parts, otherwise images.
    """
    noun = _noun(evaluation)
    bad = [r.flagged for r in evaluation.images if r.defective]
    good = [r.flagged for r in evaluation.images if not r.defective]
    sentences = []
    if bad:
        sentences.append(_of(sum(bad), len(bad), f"defective {noun}", "found") + ".")
    else:
        sentences.append(f"No defective {noun} was tested, so nothing is known of misses.")
    if not good:
        sentences.append(f"No good {noun} was tested, so nothing is known of false alarms.")
        return sentences
    sentences.append(
        _of(sum(good), len(good), f"good {noun}", "flagged")
        + f" ({share(sum(good) / len(good))}; asked: at most "
        f"{share(evaluation.false_alarms_asked)})."
    )
    sentences.append(_promise(evaluation))
    return [s for s in sentences if s]


def tiles(evaluation: Evaluation) -> list[Tile]:
    """The large numbers: found, flagged, and how well images and pixels are ranked."""
    bad = [r.flagged for r in evaluation.images if r.defective]
    good = [r.flagged for r in evaluation.images if not r.defective]
    shown = []
    if bad:
        shown.append(Tile("Defects found", f"{sum(bad)} of {len(bad)}", share(sum(bad) / len(bad))))
    if good:
        below = f"{share(sum(good) / len(good))}, asked {share(evaluation.false_alarms_asked)}"
        shown.append(Tile("False alarms", f"{sum(good)} of {len(good)}", below))
    for prefix in ("image_auroc", "aupro", "pixel_auroc"):
        name = next((n for n in evaluation.figures if n.startswith(prefix)), None)
        if name and evaluation.figures[name].value is not None and len(shown) < 4:
            figure = evaluation.figures[name]
            shown.append(
                Tile(visible(figure.label), written(name, figure.value), interval(name, figure))
            )
    return shown


def _promise(evaluation: Evaluation) -> str:
    """Compare the asked false-alarm rate with the interval of the measured one."""
    figure = evaluation.figures.get("false_alarm_rate")
    if figure is None or figure.low is None or figure.high is None:
        return ""
    asked = evaluation.false_alarms_asked
    if figure.low > asked:
        judgement = "which is more than was asked for: the promise was not kept"
    elif figure.high < asked:
        judgement = "which is less than was asked for"
    else:
        judgement = f"which agrees with the {share(asked)} that were asked for"
    ends = f"{share(figure.low)} and {share(figure.high)}"
    return f"The true rate lies between {ends} (95\u00a0% interval), {judgement}."


def _of(some: int, total: int, noun: str, done: str) -> str:
    """``51 of 53 parts were found``, also for none, one and all."""
    if some == total:
        return f"The only {noun} was {done}" if total == 1 else f"All {total} {noun}s were {done}"
    if some == 0:
        return (
            f"The only {noun} was not {done}"
            if total == 1
            else f"None of {total} {noun}s was {done}"
        )
    return f"{some} of {counted(total, noun)} {'was' if some == 1 else 'were'} {done}"


def _noun(evaluation: Evaluation) -> str:
    groups = {r.group for r in evaluation.images}
    return "part" if len(groups) == len(evaluation.images) else "image"
