"""A Ray cluster that is reached as from another machine: by ``ray://`` and with a token."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pyarrow import parquet

from scale_helpers import wait_for

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def environment():
    path = os.pathsep.join(p for p in sys.path if p)
    own = {"PYTHONPATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", **own}


@pytest.fixture(scope="module")
def address(environment):
    """The URL of the client server of a cluster of two processes."""
    head, client = free_ports(2)
    # Sockets lie in it, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        words = f"start --head --block --num-cpus 2 --node-ip-address 127.0.0.1 --port {head} "
        words += f"--ray-client-server-port {client} --include-dashboard false "
        words += f"--object-store-memory 100000000 --temp-dir {folder}"
        ray = Path(sys.executable).with_name("ray")
        with open(Path(folder) / "said.txt", "w") as said:
            process = subprocess.Popen(
                [ray, *words.split()],
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            wait_for(lambda: listens(client) or process.poll() is not None)
            assert process.poll() is None, "the cluster has ended"
            yield f"ray://127.0.0.1:{client}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def free_ports(count):
    """Ports that nobody listens on, above those that Ray gives to its workers."""
    ports = range(20_000 + os.getpid() % 10_000, 65_000)
    return list(itertools.islice((port for port in ports if not listens(port)), count))


def listens(port):
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


def blemish(environment, *words):
    code = "from blemish.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_photos_are_inspected_by_a_cluster_elsewhere(
    address, environment, photos, exported_part, tmp_path
):
    words = ["predict", exported_part, photos, "--engine", "ray", "--out", tmp_path / "out"]
    code, said = blemish(environment, *words, "--address", address)
    assert code == 2, said  # one photo is damaged
    assert "1 could not be read" in said
    rows = [r for p in (tmp_path / "out").glob("part-*") for r in parquet.read_table(p).to_pylist()]
    assert [row["image"] for row in rows] == sorted(str(p) for p in photos.rglob("*.png"))
    assert sum(row["error"] is not None for row in rows) == 1


@pytest.mark.slow
def test_a_token_that_is_wrong_is_said_in_one_sentence(
    address, environment, photos, exported_part, tmp_path
):
    words = ["predict", exported_part, photos, "--engine", "ray", "--out", tmp_path / "out"]
    wrong = {**environment, "RAY_AUTH_TOKEN": TOKEN[::-1]}
    code, said = blemish(wrong, *words, "--address", address)
    assert code == 2
    assert f"No Ray cluster could be joined at {address}" in said
    assert "the token (RAY_AUTH_MODE, RAY_AUTH_TOKEN)" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_grid_is_performed_by_a_cluster_elsewhere(address, environment, tmp_path):
    plates = tmp_path / "plates"
    code, said = blemish(environment, "draw", "battery_plate", "--count", 20, "-o", plates)
    assert code == 0, said
    words = ["benchmark", "--methods", "patchcore", "--data", plates, "--preset", "tiny"]
    words += ["--seeds", "2", "--engine", "ray", "--address", address, "-o", tmp_path / "out"]
    code, said = blemish(environment, *words)
    assert code == 0, said
    results = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("*.json")]
    assert sorted(result["seeds"] for result in results) == [[0], [1]]
