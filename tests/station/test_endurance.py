"""A station under load and under kill -9, as its own process on loopback.

BLEMISH_LOAD_SECONDS and BLEMISH_KILLS make the runs longer than the short ones of `make test-slow`;
BLEMISH_RESULTS names a folder for their results files.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from blemish import Detector, open_dataset, to_png_bytes
from blemish.benchmark import Result
from drawn import blob_mask
from station_helpers import bad_png, good_png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]
LOAD_SECONDS = float(os.environ.get("BLEMISH_LOAD_SECONDS", "6"))
KILLS = int(os.environ.get("BLEMISH_KILLS", "3"))
SEED = int(os.environ.get("BLEMISH_SEED", "0"))  # of the moments at which it is killed
CLIENTS = 16
START_SECONDS = 240  # of a machine that does other things too
START = "import sys, blemish; blemish.run_station(sys.argv[1], port=int(sys.argv[2]))"


class Server:
    """The station of one folder in a process of its own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-c", START, str(folder), str(self.port)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        self.kill()
        raise AssertionError(f"not started: exit code {self.process.returncode}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def wait_for(client, job):
    while client.get(f"/api/jobs/{job['id']}").json()["state"] in ("queued", "running"):
        time.sleep(0.2)


def make_part(client, contents):
    client.post("/api/parts", json={"name": "Plate", "preset": "tiny"}).raise_for_status()
    files = [("images", (f"{i}.png", content)) for i, content in enumerate(contents)]
    client.post("/api/parts/plate/images", files=files).raise_for_status()
    return client.post("/api/parts/plate/train").json()


def test_whatever_was_acknowledged_survives_kill_9(tmp_path):
    rng, folder = random.Random(SEED), tmp_path / "station"
    server = Server(folder)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        wait_for(client, make_part(client, [good_png(i) for i in range(24)]))
    inspected, reviewed, jobs = [], [], []
    for _ in range(KILLS):
        jobs.append(httpx.post(f"{server.url}/api/parts/plate/train", timeout=60).json()["id"])
        threads = [
            threading.Thread(target=work, args=(server.url, n, inspected, reviewed))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        before, deadline = len(inspected), time.monotonic() + 30
        while len(inspected) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1.5))
        server.kill()
        for thread in threads:
            thread.join()
        server = Server(folder)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            check(client, inspected[-40:], reviewed[-40:])
            states = check_jobs(client, jobs)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        check(client, inspected, reviewed)
        client.post(f"/api/jobs/{jobs[-1]}/cancel")
        wait_for(client, {"id": jobs[-1]})
    server.kill()
    assert len(inspected) >= KILLS
    assert count_orphans(folder) == 0
    keep(
        f"station_kills_{SEED}",
        {
            "kills": (KILLS, "kill -9 of the station at random moments"),
            "inspections": (len(inspected), "acknowledged inspections, all there afterwards"),
            "reviews": (len(reviewed), "acknowledged reviews, half with a mask, all there"),
            "jobs": (len(set(jobs)), "trainings that were asked for"),
            "done": (states.count("done"), "of these done in spite of all"),
            "failed": (states.count("failed"), "of these given up after three interruptions"),
            "orphans": (0, "files without a row after the last start"),
        },
        f"BLEMISH_KILLS={KILLS} BLEMISH_SEED={SEED}",
    )


def check_jobs(client, jobs):
    """Every training is done, goes on, or says why it does not."""
    found = [client.get(f"/api/jobs/{job}").json() for job in dict.fromkeys(jobs)]
    for job in found:
        assert job["state"] in ("queued", "running", "done", "failed"), job
        assert job["state"] != "failed" or "Interrupted" in job["message"], job
    return [job["state"] for job in found]


def keep(what, figures, how):
    """Write a results file where one is asked for."""
    if folder := os.environ.get("BLEMISH_RESULTS"):
        tests = "python -m pytest tests/station/test_endurance.py"
        Result(
            what=what,
            command=f"{how} BLEMISH_RESULTS=benchmarks/results {tests}".strip(),
            data={"name": "drawn"},
            figures={k: {"value": value, "label": label} for k, (value, label) in figures.items()},
            notes=["Cores were shared with other work." if os.getloadavg()[0] > 4 else "Idle."],
            peak_memory_mb=None,
        ).write(Path(folder))


def work(url, seed, inspected, reviewed):
    """Inspect and review until the station is gone; note what it acknowledged."""
    with httpx.Client(base_url=url, timeout=60) as client:
        while True:
            try:
                seed += 10
                content = bad_png(seed) if seed % 3 else good_png(seed)
                files = {"image": ("a.png", content)}
                answer = client.post("/api/parts/plate/inspections", files=files)
                assert answer.status_code == 201, answer.text
                own = answer.json()  # the last of the list may be another thread's
                inspected.append(own)
                verdict = "defect" if seed % 2 else "good"
                mask = {"mask": ("m.png", to_png_bytes(blob_mask(seed)))} if seed % 2 else None
                reviews = f"/api/inspections/{own['id']}/reviews"
                said = client.post(reviews, data={"verdict": verdict}, files=mask)
                assert said.status_code == 201, said.text
                reviewed.append(said.json())
            except httpx.TransportError:
                return


def check(client, inspected, reviewed):
    for one in inspected:
        found = client.get(f"/api/inspections/{one['id']}")
        assert found.status_code == 200
        assert found.json()["score"] == one["score"]
        assert client.get(one["image_url"]).status_code == 200
        assert client.get(one["heat_url"]).status_code == 200
    for said in reviewed:
        found = client.get(f"/api/inspections/{said['inspection']}").json()
        assert found["verdict"] == said["verdict"]
        if said["mask_url"]:
            assert client.get(said["mask_url"]).status_code == 200


def count_orphans(folder):
    from blemish.station.context import Context
    from blemish.station.settings import StationSettings

    # The last start has swept what the kill before it had left, and nothing was at work since.
    context = Context.open(StationSettings(folder))
    count = context.sweep()
    context.close()
    return count


def test_sixteen_clients_are_served_without_an_error(tmp_path):
    data = open_dataset("battery_plate", good=14, defective=4)
    contents = [to_png_bytes(data.image(record)) for record in data]
    server = Server(tmp_path / "station")
    with httpx.Client(base_url=server.url, timeout=120) as client:
        wait_for(client, make_part(client, contents[:10]))
        champion = client.get("/api/parts/plate").json()["champion"]
    detector = Detector.load(tmp_path / "station/models" / f"{champion}.blemish")
    # Before and after: other work on the machine comes and goes.
    own = [own_rate(detector, contents)]
    seconds: list[float] = []
    until = time.monotonic() + LOAD_SECONDS
    threads = [
        threading.Thread(target=load, args=(server.url, contents, until, seconds, n))
        for n in range(CLIENTS)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(seconds) / (time.monotonic() - started)
    own.append(own_rate(detector, contents))
    server.kill()
    assert len(seconds) >= CLIENTS
    keep(
        "station_load",
        {
            "rate": (rate, f"inspections per second for {CLIENTS} clients, {LOAD_SECONDS:g} s"),
            "own_rate": (sum(own) / 2, "images per second of the detector alone, same files"),
            "ratio": (2 * rate / sum(own), "of both; aim 0.8"),
            "p50": (float(np.quantile(seconds, 0.5)), "seconds per inspection, median"),
            "p99": (float(np.quantile(seconds, 0.99)), "seconds per inspection, 99th percentile"),
            "errors": (0, "answers other than 201"),
        },
        f"BLEMISH_LOAD_SECONDS={LOAD_SECONDS:g}",
    )


def own_rate(detector, contents):
    """Images per second of the detector by itself, read from the same bytes."""
    detector.predict(contents[0])
    started, count = time.monotonic(), 0
    while time.monotonic() - started < LOAD_SECONDS / 6:
        detector.predict(contents[count % len(contents)])
        count += 1
    return count / (time.monotonic() - started)


def load(url, contents, until, seconds, number):
    with httpx.Client(base_url=url, timeout=120) as client:
        while time.monotonic() < until:
            number += 1
            files = {"image": ("a.png", contents[number % len(contents)])}
            started = time.monotonic()
            answer = client.post("/api/parts/plate/inspections", files=files)
            seconds.append(time.monotonic() - started)
            assert answer.status_code == 201, answer.text


def test_pages_answer_while_a_training_runs(tmp_path):
    data = open_dataset("battery_plate", good=26, defective=0)
    contents = [to_png_bytes(data.image(record)) for record in data]
    server, seconds = Server(tmp_path / "station"), []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        job = make_part(client, contents)
        while client.get(f"/api/jobs/{job['id']}").json()["state"] in ("queued", "running"):
            started = time.monotonic()
            assert client.get("/parts/plate").status_code == 200
            seconds.append(time.monotonic() - started)
            time.sleep(0.05)
        assert client.get(f"/api/jobs/{job['id']}").json()["state"] == "done"
    server.kill()
    assert len(seconds) > 10
    assert np.median(seconds) < 1
    keep(
        "station_pages",
        {
            "p50": (float(np.median(seconds)), "seconds per page while training, median"),
            "p99": (float(np.quantile(seconds, 0.99)), "seconds per page, 99th percentile"),
        },
        "",
    )
