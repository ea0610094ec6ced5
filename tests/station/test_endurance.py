"""A station under load and under kill -9, as its own process on loopback.

BLEMISH_LOAD_SECONDS and BLEMISH_KILLS make the runs longer than the short ones of `make test-slow`.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest

from blemish import Detector, open_dataset, to_png_bytes
from station_helpers import bad_png, good_png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals"),
]
LOAD_SECONDS = float(os.environ.get("BLEMISH_LOAD_SECONDS", "6"))
KILLS = int(os.environ.get("BLEMISH_KILLS", "3"))
CLIENTS = 16
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
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("the station did not start")

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
    rng, folder = random.Random(0), tmp_path / "station"
    server = Server(folder)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        wait_for(client, make_part(client, [good_png(i) for i in range(24)]))
    inspected, reviewed = [], []
    for _ in range(KILLS):
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
            check(client, inspected, reviewed)
    server.kill()
    assert len(inspected) >= KILLS
    assert count_orphans(folder) == 0


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
                inspected.append(answer.json())
                said = client.post(
                    f"/api/inspections/{inspected[-1]['id']}/reviews", data={"verdict": "good"}
                )
                assert said.status_code == 201, said.text
                reviewed.append(said.json()["inspection"])
            except httpx.TransportError:
                return


def check(client, inspected, reviewed):
    for one in inspected[-40:]:
        found = client.get(f"/api/inspections/{one['id']}")
        assert found.status_code == 200
        assert found.json()["score"] == one["score"]
        assert client.get(one["image_url"]).status_code == 200
        assert client.get(one["heat_url"]).status_code == 200
    for name in reviewed[-40:]:
        assert client.get(f"/api/inspections/{name}").json()["verdict"] == "good"


def count_orphans(folder):
    from blemish.station.context import Context
    from blemish.station.settings import StationSettings

    # The last start has swept what the kill before it had left, and nothing was at work since.
    context = Context.open(StationSettings(folder))
    count = context.sweep()
    context.close()
    return count


def test_sixteen_clients_are_served_without_an_error(tmp_path, capsys):
    data = open_dataset("battery_plate", good=14, defective=4)
    contents = [to_png_bytes(data.image(record)) for record in data]
    server = Server(tmp_path / "station")
    with httpx.Client(base_url=server.url, timeout=120) as client:
        wait_for(client, make_part(client, contents[:10]))
        champion = client.get("/api/parts/plate").json()["champion"]
    own = own_rate(tmp_path / "station/models" / f"{champion}.blemish", contents)
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
    server.kill()
    assert len(seconds) >= CLIENTS
    with capsys.disabled():
        print(
            f"\n{CLIENTS} clients: {rate:.1f} inspections/s, the detector alone {own:.1f}/s "
            f"({rate / own:.2f}); p50 {np.quantile(seconds, 0.5):.2f} s, "
            f"p99 {np.quantile(seconds, 0.99):.2f} s"
        )


def own_rate(path, contents):
    """Images per second of the detector by itself, read from the same bytes."""
    detector = Detector.load(path)
    detector.predict(contents[0])
    started, count = time.monotonic(), 0
    while time.monotonic() - started < LOAD_SECONDS / 3:
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
