import os
import signal
import sys
import time

import pytest

from blemish.station import jobs
from blemish.station.context import Context
from blemish.station.jobs import JobRunner, report
from blemish.station.tables import Job, Part
from station_helpers import fill_part, finish, open_client


@pytest.fixture
def context(settings):
    opened = Context.open(settings)
    with opened.database.write() as session:
        session.add(Part(id=1, key="a", name="a", method="patchcore"))
    yield opened
    opened.close()


def add(context, **values):
    with context.database.write() as session:
        job = Job(part_id=1, kind="train", **values)
        session.add(job)
        session.flush()
        return job.id


def get(context, job_id):
    with context.database.read() as session:
        return session.get_one(Job, job_id)


def recover(context):
    """What a start does before it takes up work."""
    runner = JobRunner(context)
    runner._stop.set()
    runner.start()
    runner.stop()


def test_training_makes_the_first_version_and_it_judges(trained):
    part = trained.get("/api/parts/plate").json()
    (version,) = part["versions"]
    assert part["champion"] == version["id"]
    assert version["figures"]["counts"]["first"] == 24
    assert version["figures"]["calibration_parts"] == 24  # cross calibration
    assert part["promotions"][0]["action"] == "first"
    (job,) = part["jobs"]
    assert (job["state"], job["message"]) == ("done", "Version 1 is ready.")
    assert (trained.app.state.settings.folder / "models" / f"{version['id']}.blemish").exists()


def test_an_interrupted_job_is_queued_again_and_says_so(context):
    job = add(context, state="running", attempts=1)
    recover(context)
    assert get(context, job).state == "queued"
    assert "starts again" in get(context, job).message


def test_a_job_that_is_interrupted_again_and_again_is_given_up(context):
    job = add(context, state="running", attempts=3)
    recover(context)
    assert (get(context, job).state, get(context, job).finished is None) == ("failed", False)


def test_a_cancelled_job_that_a_crash_interrupted_stays_cancelled(context):
    job = add(context, state="cancelling", attempts=1)
    recover(context)
    assert get(context, job).state == "cancelled"


def test_a_waiting_job_is_cancelled_at_once_and_a_finished_one_stays(context):
    job = add(context)
    assert jobs.cancel(context, job).state == "cancelled"
    assert jobs.cancel(context, job).state == "cancelled"
    done = add(context, state="done")
    assert jobs.cancel(context, done).state == "done"


def test_a_job_hears_of_its_cancellation_when_it_reports(context):
    job = add(context, state="running")
    assert report(context, job, "features", 3, 10, 7.0)
    row = get(context, job)
    assert (row.stage, row.done, row.total, row.seconds_left) == ("features", 3, 10, 7.0)
    jobs.cancel(context, job)
    assert not report(context, job, "features", 4, 10, 6.0)


def test_asking_twice_gives_the_same_job(context, client):
    fill_part(client, count=4)
    first = client.post("/api/parts/plate/train").json()
    second = client.post("/api/parts/plate/train").json()
    assert first["id"] == second["id"]
    client.post(f"/api/jobs/{first['id']}/cancel")
    assert finish(client, first)["state"] in ("cancelled", "done")


@pytest.mark.slow
def test_a_job_that_cannot_learn_says_why(client):
    fill_part(client, count=6)
    folder = client.app.state.settings.folder / "images"
    for path in folder.glob("*/*"):
        path.write_bytes(b"rotten")
    job = finish(client, client.post("/api/parts/plate/train").json())
    assert job["state"] == "failed"
    assert "image" in job["message"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_training_process_that_is_killed_is_reported(client, settings):
    fill_part(client, count=24)
    job = client.post("/api/parts/plate/train").json()
    pid = wait_for_worker(os.getpid())
    os.kill(pid, signal.SIGKILL)
    assert "ended" in finish(client, job)["message"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="reads /proc")
def test_a_job_goes_on_after_a_restart(settings):
    with open_client(settings) as client:
        fill_part(client, count=24)
        job = client.post("/api/parts/plate/train").json()
        wait_for_worker(os.getpid())
    with open_client(settings) as client:
        assert finish(client, job)["state"] == "done"


def wait_for_worker(parent):
    """The process that trains: the child of ours whose command line says so."""
    for _ in range(300):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{name}/stat") as file:
                    its_parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if b"blemish.station.work" in words and its_parent == parent:
                return int(name)
        time.sleep(0.05)
    raise AssertionError("no training process was started")
