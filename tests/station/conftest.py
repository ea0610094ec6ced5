"""A station in a temporary folder, asked without a network; and a part that is trained once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra is missing: pip install 'blemish[station]'")

from blemish.station.decoding import Decoders
from blemish.station.settings import StationSettings
from station_helpers import fill_part, finish, open_client

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that train


class SharedDecoders(Decoders):
    """Decoders that outlive their station: starting a process per test would take most time."""

    def close(self):
        pass


@pytest.fixture(scope="session", autouse=True)
def shared_decoders():
    made = {}

    def find(count, *limits):
        return made.setdefault((count, *limits), SharedDecoders(count, *limits))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blemish.station.context.Decoders", find)
        yield
    for decoders in made.values():
        Decoders.close(decoders)


@pytest.fixture
def settings(tmp_path):
    return StationSettings(tmp_path / "station")


@pytest.fixture
def client(settings):
    with open_client(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """The data folder of a station with the part ``plate`` in version 1; copied, never used."""
    folder = tmp_path_factory.mktemp("trained") / "station"
    with open_client(StationSettings(folder)) as client:
        key = fill_part(client)
        job = finish(client, client.post(f"/api/parts/{key}/train").json())
        assert job["state"] == "done", job
    return folder


@pytest.fixture
def trained(trained_folder, tmp_path):
    """A station with the trained part ``plate``."""
    shutil.copytree(trained_folder, tmp_path / "trained")
    with open_client(StationSettings(tmp_path / "trained")) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """URL of a PostgreSQL server that lives as long as the tests; skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = found[-1].parent if found else Path(shutil.which("initdb") or "/none").parent
    if not (binaries / "initdb").exists():
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgresql")
    user = []
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL refuses root, and there is no runuser to become another user")
        user = ["runuser", "-u", "nobody", "--"]
        shutil.chown(folder, "nobody")
        for parent in list(folder.parents)[:3]:  # pytest's folders are private
            parent.chmod(parent.stat().st_mode | 0o011)

    def run(*words):
        subprocess.run([*user, *map(str, words)], check=True, cwd="/", capture_output=True)

    run(binaries / "initdb", "-D", folder / "data", "-U", "blemish", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    control = (binaries / "pg_ctl", "-D", folder / "data", "-w")
    run(*control, "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://blemish@/postgres?host={folder}"
    run(*control, "-m", "immediate", "stop")
