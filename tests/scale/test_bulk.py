"""Bulk inspection on a real Ray cluster on this machine, and what goes wrong with one."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import ray
from pyarrow import parquet

from blemish import Bulk, inspect_in_bulk
from blemish.errors import OptionError, StorageError
from blemish.images import write_png
from blemish.inspection import Tally
from blemish.scale import bulk as bulk_module
from blemish.scale.storage import find_place
from drawn import draw_good
from scale_helpers import BUCKET, fresh_files, wait_for

STORE = 100 * 2**20  # bytes of the object store: easily filled


@pytest.fixture(scope="module")
def machines(server):
    """A Ray cluster of two processes that knows the storage of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=STORE,
        )
        yield
        ray.shutdown()


def rows_of(out) -> list[dict]:
    place = find_place(str(out))
    files = [place / name for name in place.names() if name.startswith("part-")]
    tables = [parquet.read_table(pyarrow.BufferReader(file.read())) for file in files]
    return pyarrow.concat_tables(tables).to_pylist()


def names(out) -> list[str]:
    return [Path(row["image"]).name for row in rows_of(out)]


@pytest.fixture
def in_bucket(photos, bucket):
    """The photos in the storage, and their names."""
    files = fresh_files()
    for path in photos.rglob("*.png"):
        files.pipe_file(f"{BUCKET}/in/{path.parent.name}/{path.name}", path.read_bytes())
    return f"{bucket}/in", sorted(path.name for path in photos.rglob("*.png"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_a_folder_is_inspected_once_and_again_costs_nothing(
    machines, photos, exported_part, tmp_path
):
    shown = []
    bulk = Bulk(chunk=6, false_alarms=0.3)
    arguments = (exported_part, str(photos), str(tmp_path / "out"), bulk)
    tally = inspect_in_bulk(*arguments, lambda *step: shown.append(step))
    assert (tally.judged, tally.errors, tally.before) == (40, 1, 0)
    assert tally.defective >= 4
    assert shown[-1] == ("predict", 41, 41)
    found = rows_of(tmp_path / "out")
    assert [row["image"] for row in found] == sorted(str(p) for p in photos.rglob("*.png"))
    assert sum(row["error"] is not None for row in found) == 1
    again = inspect_in_bulk(*arguments)
    assert (again.judged, again.errors, again.before) == (0, 0, 41)
    with pytest.raises(OptionError, match=r"another run: false_alarms is 0\.3 there and 0\.2 now"):
        inspect_in_bulk(*arguments[:3], Bulk(chunk=6, false_alarms=0.2))


@pytest.mark.slow
def test_a_killed_worker_and_storage_that_fails_for_ten_seconds_lose_nothing(
    machines, server, in_bucket, bucket, exported_part
):
    source, expected = in_bucket
    tallies: list[Tally] = []
    server.delay = 0.03  # so that there is time to kill
    arguments = (exported_part, source, f"{bucket}/out", Bulk(chunk=2))
    run = threading.Thread(target=lambda: tallies.append(inspect_in_bulk(*arguments)))
    run.start()
    out = find_place(f"{bucket}/out")
    wait_for(lambda: len(out.names()) > 3)
    (victim, *_) = workers()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(out.names()) > 8)
    server.fail_for(10)
    run.join(timeout=200)
    assert server.refused > 0
    assert victim not in workers()
    (tally,) = tallies
    assert sorted(names(f"{bucket}/out")) == expected
    assert tally.judged + tally.errors == len(expected)


@pytest.mark.slow
def test_a_full_object_store_loses_nothing(machines, photos, exported_part, tmp_path):
    held = [ray.get(ray.put(np.ones(8 * 2**20, np.uint8))) for _ in range(STORE // 2**23 - 1)]
    table = {"bytes": [p.read_bytes() for p in sorted(photos.rglob("*.png"))]}
    parquet.write_table(pyarrow.table(table), tmp_path / "in.parquet")
    tally = inspect_in_bulk(
        exported_part, str(tmp_path / "in.parquet"), str(tmp_path / "out"), Bulk(chunk=3)
    )
    assert (tally.judged, tally.errors) == (40, 1)
    assert len(set(names(tmp_path / "out"))) == 41
    assert sum(part.nbytes for part in held) > 0.8 * STORE


@pytest.mark.slow
def test_errors_of_workers_come_as_one_sentence(
    machines, server, in_bucket, bucket, exported_part, monkeypatch
):
    source, _ = in_bucket
    cut = bulk_module.cut

    def then_refuse(*arguments):
        found = cut(*arguments)
        threading.Timer(1, lambda: setattr(server, "refuses", True)).start()
        server.delay = 0.1
        return found

    monkeypatch.setattr(bulk_module, "cut", then_refuse)
    with pytest.raises(StorageError, match="refuses access"):
        inspect_in_bulk(exported_part, source, f"{bucket}/out", Bulk(chunk=5))


@pytest.mark.slow
def test_a_run_whose_every_process_was_killed_goes_on(exported_part, tmp_path):
    for i in range(150):
        write_png(tmp_path / f"in/{i:03d}.png", draw_good(i % 5, 640, 960))
    words = ["predict", exported_part, tmp_path / "in", "--engine", "ray", "--workers", "1"]
    words += ["--out", tmp_path / "out"]
    # Chunks of three images, so that there is a lot to be killed between.
    code = "from blemish.scale import bulk; bulk.Bulk.__init__.__defaults__ = "
    code += "(None, None, 3, None, 0); from blemish.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    first = subprocess.Popen(command, env=environment, start_new_session=True)
    wait_for(lambda: len(list((tmp_path / "out").glob("part-*"))) > 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = len(list((tmp_path / "out").glob("part-*")))
    assert before < 50
    second = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert "were done before" in second.stderr
    assert sorted(names(tmp_path / "out")) == [f"{i:03d}.png" for i in range(150)]


def workers() -> list[int]:
    """Process ids of the workers that this test's cluster runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            mine = b"MapWorker" in path.read_bytes()
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            above = int((Path(f"/proc/{parent}/stat").read_text()).rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if mine and above == os.getpid():
            found.append(int(path.parent.name))
    return found
