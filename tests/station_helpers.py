"""Ask a station without a network, wait for its jobs, fill a part with drawn plates."""

import time

from fastapi.testclient import TestClient

from blemish import to_png_bytes
from blemish.station.app import create_app
from drawn import draw_defective, draw_good

BASE = "http://127.0.0.1:8420"


def good_png(seed):
    return to_png_bytes(draw_good(seed))


def bad_png(seed):
    return to_png_bytes(draw_defective(seed))


def open_client(settings, **headers):
    return TestClient(create_app(settings), base_url=BASE, headers=headers)


def finish(client, job, seconds=60):
    """Wait until a job is over, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.get(f"/api/jobs/{job['id']}").json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"not finished after {seconds} s: {job}")


def fill_part(client, count=24, name="Plate"):
    part = client.post("/api/parts", json={"name": name, "preset": "tiny"}).json()
    files = [("images", (f"{i}.png", good_png(i), "image/png")) for i in range(count)]
    assert client.post(f"/api/parts/{part['key']}/images", files=files).json()["new"] == count
    return part["key"]


def inspect(client, key, content, name="plate.png"):
    answer = client.post(f"/api/parts/{key}/inspections", files={"image": (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()
