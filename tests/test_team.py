import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from blemish import Detector
from blemish.errors import OptionError
from blemish.run import Run
from blemish.team import (
    Team,
    count_processes,
    join_team,
    leave_to_the_first,
    lost_process,
    only_first_speaks,
    share,
)

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}


def test_a_process_alone_is_the_first_and_hears_itself():
    team = join_team(Run())
    assert team == Team(0, 1)
    assert team.gather("found") == ["found"]
    leave_to_the_first(Run())


def test_a_program_whose_other_processes_have_ended_starts_no_more(monkeypatch):
    pytest.importorskip("lightning")
    monkeypatch.setenv("LOCAL_RANK", "0")  # as Lightning leaves it in the first process
    with pytest.raises(OptionError, match="has learned in several processes already"):
        join_team(Run(devices=2))


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_weighted_means_over_the_shares_are_the_mean_over_all(count, size):
    values = np.arange(count) ** 2.0
    seen, mean = [], 0.0
    for rank in range(size):
        weight, own = share(count, Team(rank, size))
        assert len(values[own]) > 0
        seen += [*values[own]] if weight else []
        mean += weight * values[own].mean() / size
    assert sorted(seen) == sorted(values)
    assert mean == pytest.approx(values.mean())


def test_what_a_launcher_has_started_counts():
    assert count_processes(Run(devices=2, nodes=3), {}) == (2, 3)
    assert count_processes(Run(), TORCHRUN) == (3, 2)
    assert count_processes(Run(devices=3, nodes=2), TORCHRUN) == (3, 2)
    assert count_processes(Run(), SLURM) == (4, 2)
    assert count_processes(Run(devices=2), {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) == (2, 1)


def test_numbers_that_do_not_fit_the_launcher_are_refused():
    with pytest.raises(OptionError, match="--devices 2 --nodes 1 do not fit what torchrun has"):
        count_processes(Run(devices=2), TORCHRUN)
    with pytest.raises(OptionError, match="Slurm has started: 4 processes on each of 2 machines"):
        count_processes(Run(devices=8, nodes=2), SLURM)


@pytest.mark.parametrize(
    ("run", "environment", "speaks"),
    [
        (Run(), {"LOCAL_RANK": "1"}, True),  # of something else: this run has one process
        (Run(devices=2), {}, True),
        (Run(devices=2), {"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        (Run(devices=2), {"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        (Run(nodes=2), {"NODE_RANK": "1"}, False),
        (Run(), {**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, True),
        (Run(), {**TORCHRUN, "RANK": "3", "LOCAL_RANK": "0"}, False),
        (Run(), SLURM, False),
    ],
)
def test_of_several_processes_the_first_one_speaks(run, environment, speaks):
    heard = []
    run.say = heard.append
    quiet = only_first_speaks(run, environment)
    quiet.say("a sentence")
    assert heard == ["a sentence"] * speaks
    assert quiet.history is run.history


def test_a_lost_process_is_one_sentence_with_the_next_step():
    said = str(lost_process(RuntimeError("[gloo/pair.cc] Connection closed by peer\nstack")))
    assert said.startswith("A process that learns along was lost ([gloo/pair.cc] Connection")
    assert "stack" not in said
    assert "--checkpoint" in said


SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from blemish import Detector
from blemish.run import Run
from blemish.team import leave_to_the_first
from blemish.training import Learner, Plan, train
from drawn import plates
from helpers import drawn_samples

what, devices, epochs, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
cache = Path(sys.argv[5]) if sys.argv[5:] else None
run = Run(
    device="cpu",
    devices=devices,
    checkpoint=out.with_suffix(".state"),
    say=print,
    feature_cache=cache,
)
if what == "network":
    torch.manual_seed(3)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)

    def step(networks, batch, now):
        loss = ((networks["n"](batch.x) - batch.x).square() * batch.valid).mean()
        now.update("n", loss)
        return {{"loss": loss}}

    optimisers = {{"n": torch.optim.Adam(network.parameters(), lr=1e-2)}}
    # Batches of 4, 4 and 1: the last one has no view for the second process.
    train(Learner({{"n": network}}, optimisers, step), drawn_samples(9), Plan(epochs, 4), run)
    leave_to_the_first(run)
    torch.save([*network.parameters(), torch.tensor(run.history["loss"])], out)
else:
    options = {{"methods": "vae", "inner": "epochs=2"}} if what == "by_region" else {{}}
    Detector(what, "tiny", calibration="split", **options).fit(plates(), run).save(out)
"""


def start(what, devices, out, epochs=4, cache=()):
    script = out.parent / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, str(script), what, str(devices), str(epochs), str(out), *map(str, cache)],
        env=variables | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    said, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    return said


def fitted(what, devices, folder, cache=()):
    """The detector that so many processes have made."""
    out = folder / f"{devices}.blemish"
    finish(start(what, devices, out, cache=cache))
    return Detector.load(out)


@pytest.mark.slow
def test_two_processes_train_the_network_that_one_trains(tmp_path):
    torch = pytest.importorskip("torch")
    found = []
    for devices in (1, 2):
        finish(start("network", devices, tmp_path / f"{devices}.pt"))
        found.append(torch.load(tmp_path / f"{devices}.pt", weights_only=True))
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_two_processes_keep_the_patches_that_one_keeps(tmp_path):
    pytest.importorskip("lightning")
    one, two = (fitted("patchcore", devices, tmp_path) for devices in (1, 2))
    # Sums round differently, so that choices that are almost tied may change places.
    kept = [patches_of(detector.content().arrays) for detector in (one, two)]
    assert len(kept[0] & kept[1]) >= 0.99 * len(kept[0])
    assert one.learned == two.learned
    assert one.threshold == pytest.approx(two.threshold, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_two_processes_stay_together_over_both_phases_of_a_method(tmp_path):
    pytest.importorskip("lightning")
    assert np.isfinite(fitted("masked_autoencoder", 2, tmp_path).threshold)
    phases = {path.name for path in (tmp_path / "2.state").iterdir()}
    assert {"pretrain", "finetune"} <= phases


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_two_processes_stay_together_over_all_regions_of_a_part(tmp_path):
    pytest.importorskip("lightning")
    detector = fitted("by_region", 2, tmp_path)
    assert np.isfinite(detector.threshold)
    assert {curve.partition(":")[0] for curve in detector.history} == {"left", "right"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_two_processes_fill_one_feature_cache_with_what_one_process_finds_there(tmp_path):
    pytest.importorskip("lightning")
    cache, kept, found = tmp_path / "features", [], []
    for devices in (2, 1):
        out = tmp_path / f"{devices}.blemish"
        said = finish(start("patchcore", devices, out, cache=[cache]))
        assert said.count("Feature cache:") == 1  # the other process is silent
        found.append(Detector.load(out))
        kept.append({p: p.stat().st_ino for p in cache.rglob("*") if p.is_file()})
    assert len(kept[0]) > 1
    assert kept[0] == kept[1]  # the second fit has written nothing
    two, one = found
    assert one.learned == two.learned
    assert one.threshold == pytest.approx(two.threshold, rel=1e-4)


def patches_of(arrays):
    """Image, view, row and column of every patch of a bank."""
    where = np.column_stack([arrays["method.origins"], arrays["method.places"]])
    return set(map(tuple, where.tolist()))


@pytest.mark.slow
def test_a_killed_process_ends_the_run_with_a_sentence_and_it_goes_on(tmp_path):
    pytest.importorskip("lightning")
    out = tmp_path / "network.pt"
    state = tmp_path / "network.state/checkpoint.safetensors"
    first = start("network", 2, out, epochs=100_000)
    wait_for(state.exists, first)
    os.kill(helper_of(first.pid), signal.SIGKILL)
    said = first.communicate(timeout=120)[1]
    assert first.returncode != 0
    assert "ClusterError: A process that learns along was lost" in said
    before = state.stat().st_mtime_ns
    second = start("network", 2, out, epochs=100_000)
    wait_for(lambda: state.stat().st_mtime_ns != before, second)
    second.send_signal(signal.SIGKILL)
    assert "Training goes on after epoch" in second.communicate(timeout=120)[0]


def helper_of(pid):
    """The process that another has started to learn along."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        if int(fields[1]) == pid and b"script.py" in (path.parent / "cmdline").read_bytes():
            return int(path.parent.name)
    raise AssertionError("no helper")


def wait_for(condition, process):
    end = time.monotonic() + 150
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
