"""One training, in a process of its own: ``python -m blemish.station.work FOLDER URL JOB``."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

import blemish
from blemish.station.context import Context
from blemish.station.jobs import report
from blemish.station.learning import duel, gather
from blemish.station.recipes import Recipe, own_recipe
from blemish.station.settings import StationSettings
from blemish.station.tables import Job, Part, Promotion, Version, now

REPORT_SECONDS = 0.4


class CancelledError(Exception):
    """The job was cancelled."""


class Reporter:
    """A progress callback that writes to the job's row, not too often, and hears of a cancel."""

    def __init__(self, context: Context, job_id: int):
        self.context, self.job_id = context, job_id
        self._stage, self._began, self._told = "", 0.0, 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Called with a stage, the steps done and the steps in all."""
        moment = time.monotonic()
        if stage != self._stage:
            self._stage, self._began = stage, moment
        elif moment - self._told < REPORT_SECONDS and done < total:
            return
        self._told = moment
        left = (moment - self._began) * (total - done) / max(done, 1)
        if not report(self.context, self.job_id, stage, done, total, left):
            raise CancelledError


def run(context: Context, job_id: int) -> None:
    """Train a version for a job, measure it where there is a champion, and write it down."""
    progress = Reporter(context, job_id)
    progress("reading", 0, 1)
    with context.database.read() as session:
        job = session.get_one(Job, job_id)
        part = session.get_one(Part, job.part_id)
        recipe = own_recipe(part) if job.recipe is None else Recipe(**job.recipe)
        masks = recipe.make(part, context.blobs).supervision == "masks"
        material = gather(session, context.blobs, part, masks)
    detector = recipe.make(part, context.blobs, **material.calibration)
    said: list[str] = []
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", blemish.CalibrationWarning)
        checkpoint = context.settings.folder / "checkpoints" / str(job_id)
        detector.fit(
            material.data, blemish.Run(progress=progress, say=said.append, checkpoint=checkpoint)
        )
    figures: dict[str, Any] = {
        "counts": material.counts,
        "calibration_parts": detector.calibration.group_count,
        "warnings": [str(w.message) for w in raised],
        "said": said,
    }
    if job.kind == "relearn" and part.champion is not None:
        champion = blemish.Detector.load(context.model_path(part.champion))
        champion.set_false_alarms(part.false_alarms)
        figures["duel"] = duel(champion, detector, material.data, progress)
    _keep(context, job_id, detector, recipe, figures)


def _keep(
    context: Context,
    job_id: int,
    detector: blemish.Detector,
    recipe: Recipe,
    figures: dict[str, Any],
) -> None:
    """File first, row after: a row never points to nothing."""
    version_id = uuid.uuid4().hex
    path = context.model_path(version_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    detector.save(path)
    with context.database.write() as session:
        job = session.get_one(Job, job_id)
        part = session.get_one(Part, job.part_id)
        if job.state != "running":
            path.unlink()
            return
        query = select(func.max(Version.number)).where(Version.part_id == part.id)
        number = (session.scalar(query) or 0) + 1
        session.add(
            Version(
                id=version_id,
                part_id=part.id,
                number=number,
                job_id=job_id,
                recipe=recipe.to_json(),
                figures=figures,
            )
        )
        if part.champion is None:
            part.champion = version_id
            session.add(Promotion(part_id=part.id, version_id=version_id, action="first"))
        job.state, job.finished, job.done = "done", now(), job.total
        job.message = f"Version {number} is ready."


def _end_with_parent() -> None:
    """Leave as soon as the station is gone, however it went: its end of our input closes."""
    sys.stdin.buffer.read()
    os._exit(1)


def main(folder: str, url: str, job_id: int) -> int:
    """Run one job; errors become the job's message."""
    context = Context.open(StationSettings(Path(folder), url))
    try:
        run(context, job_id)
    except CancelledError:
        return 3
    except blemish.BlemishError as error:
        with context.database.write() as session:
            job = session.get_one(Job, job_id)
            if job.state == "running":
                job.state, job.message, job.finished = "failed", str(error)[:2000], now()
        return 2
    finally:
        context.close()
    return 0


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
