"""A folder that photos arrive in."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import blemish
from blemish.hot_folder import HotFolder, watch
from blemish.images import to_png_bytes, write_png
from blemish.inspection import identity
from drawn import draw_good


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ready(folder, done=()):
    return [p.name for p in folder.ready(lambda found: found in done)]


def test_a_file_counts_once_it_has_settled(tmp_path, clock):
    folder = HotFolder(tmp_path, clock=clock)
    path = write_png(tmp_path / "sub" / "a.png", draw_good(1))
    assert ready(folder) == []
    clock.now = 1.1
    assert ready(folder) == ["a.png"]
    assert ready(folder, {identity(path)}) == []


def test_a_file_that_still_grows_is_waited_for(tmp_path, clock):
    folder, content = HotFolder(tmp_path, clock=clock), to_png_bytes(draw_good(1))
    path = tmp_path / "a.png"
    for share in (0.0, 0.3, 0.6):
        path.write_bytes(content[: int(len(content) * share)])
        clock.now += 0.9
        assert ready(folder) == []
    clock.now += 5
    assert ready(folder) == [], "half a file, although nothing has come for five seconds"
    path.write_bytes(content)
    assert ready(folder) == []
    clock.now += 1.1
    assert ready(folder) == ["a.png"]


def test_what_never_becomes_an_image_is_given_up(tmp_path, clock):
    folder = HotFolder(tmp_path, clock=clock)
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert ready(folder) == []
    clock.now = 31
    assert ready(folder) == ["a.png"]


def test_other_files_and_hidden_ones_are_left_alone(tmp_path, clock):
    (tmp_path / "notes.txt").write_text("x")
    write_png(tmp_path / "b.png", draw_good(1)).rename(tmp_path / ".b.png")
    folder = HotFolder(tmp_path, clock=clock)
    ready(folder)
    clock.now = 60
    assert ready(folder) == []


def test_a_drive_that_is_gone_is_waited_for(tmp_path, clock):
    said, drive = [], tmp_path / "drive"
    folder = HotFolder(drive, clock=clock, say=said.append)
    assert ready(folder) == []
    assert ready(folder) == []
    write_png(drive / "a.png", draw_good(1))
    ready(folder)
    clock.now = 2
    assert ready(folder) == ["a.png"]
    assert len(said) == 2
    assert "waiting for it" in said[0]
    assert "is back" in said[1]


def test_watching_sleeps_while_nothing_comes(tmp_path, clock):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        clock.now += 1
        if len(naps) == 2:
            write_png(tmp_path / "a.png", draw_good(1))

    rounds = watch(HotFolder(tmp_path, clock=clock), lambda f: False, poll=0.1, sleep=sleep)
    assert [p.name for p in next(rounds)] == ["a.png"]
    assert len(naps) >= 3
    assert list(watch(HotFolder(tmp_path), lambda f: False, stop=lambda: True)) == []


@pytest.mark.skipif(os.name == "nt", reason="kill without warning is POSIX")
def test_every_file_is_judged_exactly_once_also_after_kills(exported_part, tmp_path):
    hot, out = tmp_path / "hot", tmp_path / "out.jsonl"
    hot.mkdir()
    start = "from blemish.cli.main import main; main()"
    command = [sys.executable, "-c", start, "predict", str(exported_part), "--json"]
    command += ["--watch", str(hot), "-o", str(out)]
    source = str(Path(blemish.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": source}
    journal = tmp_path / "out.jsonl.journal"

    def lines():
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    made = 0
    for wanted in (3, 7, 12):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while made < wanted + 3:  # some are left over when the process is killed
            shutil.copy(write_png(tmp_path / "x.png", draw_good(made)), hot / f"{made:03d}.png")
            made += 1
        deadline = time.monotonic() + 20
        while lines() < wanted + 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while out.read_bytes().count(b"\n") < made and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    text = out.read_text().splitlines()
    judged = [line.split('"image": "')[1].split('"')[0] for line in text]
    names = [Path(name).name for name in judged]
    assert sorted(names) == [f"{i:03d}.png" for i in range(made)]
