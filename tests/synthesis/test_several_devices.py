"""GANs on two processes: each network may be called once per step, or gradients go astray."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import blemish

SCRIPT = """
import sys, warnings
sys.path[:0] = [{tests!r}, {source!r}]
warnings.simplefilter("ignore")
from pathlib import Path
from blemish.run import Run
from blemish.samples import Samples
from blemish.synthesis.producing import make_gan
from blemish.team import leave_to_the_first
from helpers import drawn_samples

if __name__ == "__main__":
    gan = make_gan({name!r}, "tiny")
    samples = Samples(drawn_samples(40).data, gan.geometry())
    run = Run(device="cpu", devices=2)
    gan.learn(samples, run)
    leave_to_the_first(run)
    print("trained", {{k: [round(v, 4) for v in c] for k, c in run.history.items()}}, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
def test_two_processes_train_together(name, tmp_path):
    tests, source = Path(__file__).parent.parent, Path(blemish.__file__).parent.parent
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(tests), source=str(source), name=name))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1, "only the first process goes on"
