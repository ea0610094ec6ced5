"""The simulated line: what reviewing one part in five is worth.

`python benchmarks/station_line.py plates SEED` runs 20 days of drawn battery plates, 100 a day, 10
of them defective, through the functions behind the station's pages: new kinds of defect appear, the
lamp ages, one morning the camera has been moved. Each evening a reviewer who is always right
handles 20 parts, the audited ones first, then the top of the queue. Every fifth evening a
challenger is trained as the part was created, and one that learns from the painted masks (of
plates on the tenth day only: it takes longest); the best of those that the station calls measurably
better is promoted. The same plates are also judged by the first version alone. `tile SEED` does so
with photos of magnetic tile, 40 a day, 8 reviewed, with no drift of our making.

A seed is a results file of its own; LINE_DAYS and LINE_EVERY (days from one relearning to the next)
make short trials that write none, LINE_SECONDS ends a line early and says so. `pages` writes the
chart and the tables of docs/station.md. What happens on the line is in `line_data.py`; both files
were fixed before the first run.
"""

import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from blemish.benchmark import Result
from blemish.detector import Detector
from blemish.errors import BlemishError
from blemish.images import read_image, to_png_bytes
from blemish.station import inspecting, parts, promoting, reviewing, work
from blemish.station.context import Context, find_part
from blemish.station.inspecting import Inspector
from blemish.station.recipes import challenger_recipe
from blemish.station.settings import StationSettings
from blemish.station.tables import Inspection, Job, Version
from blemish.station.trends import trend
from common import RESULTS
from line_data import DAYS, LINES, WORKERS
from line_pages import write_pages

REVIEWED, FALSE_ALARMS = 0.2, 0.05
EVERY = int(os.environ.get("LINE_EVERY", "5"))  # days from one relearning to the next
SECONDS = int(os.environ.get("LINE_SECONDS", "0"))  # given to a run; 0 = no limit
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
KEY = "line"


@dataclass
class Judged:
    """One part of the line, as both arms judged it."""

    day: int
    kind: str
    defective: bool
    flagged: dict  # arm to bool
    scores: dict  # arm to float


@dataclass
class Line:
    """A station on a line, and its first version beside it."""

    seed: int
    pieces: object
    context: Context
    inspector: Inspector
    judged: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    promoted: list = field(default_factory=list)
    alarms: list = field(default_factory=list)

    def begin(self):
        """Create the part and train its first version."""
        with self.context.database.write() as session:
            options = {"false_alarms": FALSE_ALARMS, **self.pieces.options}
            parts.create_part(session, KEY, preset="small", options=options)
        added = parts.Added()
        for n, content in enumerate(self.pieces.first()):
            parts.add_image(self.context, KEY, f"{n}.bmp", content, added)
        version = self.train("train", None)
        self.first = Detector.load(self.context.model_path(version.id))

    def train(self, kind, method):
        """What the station's own process does for a job."""
        with self.context.database.read() as session:
            recipe = challenger_recipe(find_part(session, KEY), method)
        with self.context.database.write() as session:
            job = parts.ask_for_job(session, KEY, kind, recipe)
            job.state = "running"
        work.run(self.context, job.id)
        with self.context.database.read() as session:
            return session.query(Version).filter_by(job_id=job.id).one()

    def work_through(self, day):
        """Inspect the parts of a day; the first version judges them too."""
        pieces = self.pieces.day(day)
        with ThreadPoolExecutor(WORKERS) as pool:
            rows = list(pool.map(partial(self.inspect, day), range(len(pieces)), pieces))
        with self.context.database.write() as session:
            for n, (inspection, judged) in enumerate(rows):
                at = START + timedelta(days=day - 1, minutes=8 * n)
                session.get_one(Inspection, inspection).created = at
                self.judged.append(judged)
        return {inspection: piece for (inspection, _), piece in zip(rows, pieces, strict=True)}

    def inspect(self, day, n, piece):
        """Name of the inspection, and what both arms say."""
        Seeded.place.name = f"{self.seed}|{day}|{n}"
        row = self.inspector.inspect(KEY, f"{day}-{n}.bmp", piece.content, "folder")
        flagged, score = row.defective, row.score
        if self.promoted:
            alone = self.first.predict(read_image(piece.content))
            flagged, score = bool(alone.defective), float(alone.score)
        both, scores = {"with": row.defective, "without": flagged}, {"with": row.score}
        return row.id, Judged(day, piece.kind, piece.defective, both, {**scores, "without": score})

    def review(self, day, truth):
        """The audited parts of the day, then the top of the queue, always right."""
        with self.context.database.read() as session:
            queue = reviewing.queue(session, find_part(session, KEY), 1000)
        queue.sort(key=lambda item: item[1] != "audit")  # stable: else in the queue's order
        today = [row for row, _ in queue if row.id in truth]
        for row in today[: round(REVIEWED * len(truth))]:
            piece = truth[row.id]
            mask = None if piece.mask is None else to_png_bytes(piece.mask)
            verdict = "defect" if piece.defective else "good"
            kind = piece.kind if piece.defective else None
            reviewing.review(self.context, row.id, verdict, defect_type=kind, mask=mask)
        with self.context.database.read() as session:
            drift = trend(session, find_part(session, KEY))["drift"]
        if drift and (not self.alarms or self.alarms[-1][1] != drift["began"]):
            self.alarms.append((day, drift["began"]))

    def relearn(self, day):
        """Train the challengers; the best of those that are measurably better is promoted."""
        better = []
        for method in (None, *(("aexad",) if self.pieces.takes_masks(day) else ())):
            try:
                version = self.train("relearn", method)
            except BlemishError as error:
                self.notes.append(f"Day {day}, {method}: {error}")
                with self.context.database.write() as session:
                    session.query(Job).filter_by(state="running").update({"state": "failed"})
                continue
            duel = version.figures["duel"]
            self.notes.append(f"Day {day}, {version.recipe['method']}: {in_short(duel)}")
            if duel["better"]:
                better.append((duel["figures"]["image_auroc"]["challenger"], version))
        if better:
            best = max(better, key=lambda pair: pair[0])[1]
            with self.context.database.write() as session:
                promoting.promote(session, best.id)
            self.promoted.append(day)


def in_short(duel):
    """One line for the notes of the results file."""
    text = f"{duel['images']} kept parts, {duel['defective']} defective"
    for label, each in duel.get("differences", {}).items():
        text += f"; {label} {each['value']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
    return text + ("; promoted or outdone" if duel["better"] else "")


class Seeded:
    """The audit is drawn by an inspection's random name: here the names come from the seed."""

    place = threading.local()

    @classmethod
    def uuid4(cls):
        digest = hashlib.sha256(cls.place.name.encode()).digest()
        return uuid.UUID(bytes=digest[:16], version=4)


class OutOfTimeError(Exception):
    """The machine has to be given back."""


def stop(number, frame):
    raise OutOfTimeError


def run(name, seed):
    """One line from its first to its last day."""
    days = int(os.environ.get("LINE_DAYS", DAYS))
    inspecting.uuid = Seeded
    seconds = defaultdict(float)

    def timed(stage, function, *given):
        started = time.perf_counter()
        found = function(*given)
        seconds[stage] += time.perf_counter() - started
        return found

    with tempfile.TemporaryDirectory() as folder, LINES[name](seed) as pieces:
        context = Context.open(StationSettings(Path(folder) / "station"))
        line = Line(seed, pieces, context, Inspector(context))
        signal.signal(signal.SIGALRM, stop)
        signal.alarm(SECONDS)
        try:
            timed("begin", line.begin)
            for day in range(1, days + 1):
                truth = timed("inspect", line.work_through, day)
                timed("review", line.review, day, truth)
                if day % EVERY == 0 and day < days:
                    timed("relearn", line.relearn, day)
                print(name, seed, day, {k: round(v) for k, v in seconds.items()}, flush=True)
        except OutOfTimeError:
            line.notes.append(f"Stopped after {SECONDS} s, the time given to the run.")
        signal.alarm(0)
        context.close()
    result = result_of(name, seed, line, seconds)
    if days == DAYS:
        print(result.write(RESULTS))
    else:
        print({k: v["value"] for k, v in result.figures.items()}, result.notes)


def result_of(name, seed, line, seconds):
    """Misses and false alarms by day and by kind, and the same at one measured rate."""
    judged, figures = line.judged, {}
    days = sorted({j.day for j in judged})
    for arm in ("with", "without"):
        for what, defective in (("misses", True), ("false_alarms", False)):
            wrong = [j for j in judged if j.defective == defective != j.flagged[arm]]
            figures[f"{what}_{arm}"] = {
                "value": len(wrong),
                "label": f"{what.replace('_', ' ')} {arm} the loop; values: by day",
                "values": [sum(j.day == day for j in wrong) for day in days],
            }
        for kind in sorted({j.kind for j in judged if j.defective}):
            own = [j for j in judged if j.kind == kind]
            figures[f"misses_{arm}_{kind}"] = {
                "value": sum(not j.flagged[arm] for j in own),
                "label": f"misses of {len(own)} {kind} {arm} the loop",
            }
    figures["misses_without_same_rate"] = {
        "value": misses_at_the_rate_of_the_loop(judged),
        "label": "misses without the loop at a threshold with as many false alarms as the loop",
        "oracle": True,
    }
    for key in ("good", "defective"):
        count = sum(j.defective == (key == "defective") for j in judged)
        figures[key] = {"value": count, "label": f"{key} parts"}
    figures["promoted"] = {
        "value": len(line.promoted),
        "label": "promotions; values: their days",
        "values": line.promoted,
    }
    notes = [*line.notes, *(f"Drift alarm on day {d}: since {b}." for d, b in line.alarms)]
    return Result(
        what=f"line_{seed}",
        method="station",
        options={"preset": "small", **line.pieces.options},
        command=f"python benchmarks/station_line.py {name} {seed}",
        seeds=(seed,),
        data={"name": line.pieces.name},
        figures=figures,
        seconds=seconds,
        notes=notes,
    )


def misses_at_the_rate_of_the_loop(judged):
    """Known only afterwards: the first version's misses if it had as many false alarms."""
    alarms = sum(j.flagged["with"] for j in judged if not j.defective)
    good = sorted((j.scores["without"] for j in judged if not j.defective), reverse=True)
    threshold = good[alarms] if alarms < len(good) else -np.inf
    return sum(j.scores["without"] <= threshold for j in judged if j.defective)


if __name__ == "__main__":
    if sys.argv[1:] == ["pages"]:
        write_pages()
    else:
        run(sys.argv[1], int(sys.argv[2]))
