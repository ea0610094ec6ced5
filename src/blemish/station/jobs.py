"""The queue of trainings: one at a time, each in a process of its own.

The process ends when this one does, however this one ends: it watches its input, which closes with
us. At the next start a job that was running is queued again and says so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import IO

from sqlalchemy import select, update

from blemish.station.background import Background
from blemish.station.context import Context, MissingError
from blemish.station.tables import Job, now

POLL_SECONDS = 0.25
GRACE_SECONDS = 5.0  # a cancelled job may finish its step
MOST_ATTEMPTS = 3


class JobRunner(Background):
    """A thread that runs queued jobs, oldest first.

    When it stops, the job at work is stopped too, and queued again at the next start.

    Args:
        context: The station.
    """

    patience = GRACE_SECONDS + 5

    def __init__(self, context: Context):
        super().__init__(context, "jobs")

    def start(self) -> None:
        """Queue again what a crash or a restart interrupted, then begin."""
        with self.context.database.write() as session:
            query = select(Job).where(Job.state.in_(("running", "cancelling")))
            for job in session.scalars(query):
                if job.state == "cancelling":
                    _finish(job, "cancelled", "Cancelled.")
                elif job.attempts >= MOST_ATTEMPTS:
                    _finish(job, "failed", f"Interrupted {job.attempts} times; given up.")
                else:
                    job.state = "queued"
                    job.message = "Interrupted when the station stopped; it starts again."
        super().start()

    def _loop(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            job_id = self._take()
            if job_id is not None:
                self._run(job_id)

    def _take(self) -> int | None:
        with self.context.database.read() as session:
            if session.scalar(select(Job.id).where(Job.state == "queued").limit(1)) is None:
                return None  # looked at without the write lock, four times a second
        with self.context.database.write() as session:
            job = session.scalar(select(Job).where(Job.state == "queued").order_by(Job.id))
            if job is None:
                return None
            job.state, job.started, job.message = "running", now(), job.message
            job.attempts += 1
            return job.id

    def _run(self, job_id: int) -> None:
        settings = self.context.settings
        command = [sys.executable, "-m", "blemish.station.work"]
        arguments = [str(settings.folder.resolve()), settings.url, str(job_id)]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.PIPE, stdout=errors, stderr=errors
            )
            self._watch(process, job_id)
            if not self._stop.is_set():
                self._conclude(process, job_id, errors)

    def _watch(self, process: subprocess.Popen[bytes], job_id: int) -> None:
        deadline: float | None = None
        while process.poll() is None:
            cancelled = self._stop.wait(POLL_SECONDS) or self._state(job_id) == "cancelling"
            if cancelled and deadline is None:
                deadline = time.monotonic() + (0 if self._stop.is_set() else GRACE_SECONDS)
            if deadline is not None and time.monotonic() >= deadline:
                process.kill()
                break
        process.wait()
        if process.stdin:
            process.stdin.close()

    def _state(self, job_id: int) -> str:
        with self.context.database.read() as session:
            return session.scalar(select(Job.state).where(Job.id == job_id)) or ""

    def _conclude(self, process: subprocess.Popen[bytes], job_id: int, errors: IO[bytes]) -> None:
        """Say what became of a job whose process ended without saying so itself."""
        with self.context.database.write() as session:
            job = session.get_one(Job, job_id)
            if job.state == "cancelling":
                _finish(job, "cancelled", "Cancelled.")
            elif job.state == "running":
                errors.seek(0)
                last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                reason = last[0] if last else f"exit code {process.returncode}"
                _finish(job, "failed", f"The training process ended: {reason}")


def cancel(context: Context, job_id: int) -> Job:
    """Ask a job to stop; one that waits is cancelled at once, one that is over stays as it is.

    Raises:
        MissingError: There is no such job.
    """
    with context.database.write() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise MissingError(f"There is no job {job_id}.")
        if job.state == "queued":
            _finish(job, "cancelled", "Cancelled before it began.")
        elif job.state == "running":
            job.state, job.message = "cancelling", "Stopping …"
        return job


def report(context: Context, job_id: int, stage: str, done: int, total: int, left: float) -> bool:
    """Write down how far a job is; called in the job's own process.

    Returns:
        False when the job should stop.
    """
    with context.database.write() as session:
        values = {"stage": stage[:60], "done": done, "total": total, "seconds_left": left}
        query = update(Job).where(Job.id == job_id, Job.state == "running").values(**values)
        return bool(session.connection().execute(query).rowcount)


def _finish(job: Job, state: str, message: str) -> None:
    job.state, job.message, job.finished = state, message[:2000], now()
