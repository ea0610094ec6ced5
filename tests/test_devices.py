import ctypes
import subprocess
import sys

import pytest
import torch

from blemish import devices
from blemish.devices import find_device, has_bf16, mix_seeds, open_fabric, seeded
from blemish.errors import MissingExtraError, OptionError
from blemish.run import Run


def test_the_best_device_is_found(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == "cpu"
    with pytest.raises(OptionError, match="device=cuda:1 is not available here; there is cpu"):
        find_device("cuda:1")
    with pytest.raises(OptionError, match="device=gpu is not available"):
        find_device("gpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == "cuda"
    assert find_device("cuda:1") == "cuda:1"
    assert find_device("cpu") == "cpu"


@pytest.mark.parametrize("found", [False, True])
def test_bf16_is_chosen_only_where_the_hardware_has_it(found, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: found, raising=False)
    assert has_bf16(torch.device("cpu")) is found
    assert not has_bf16(torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: found)
    assert has_bf16(torch.device("cuda")) is found
    precision = open_fabric(Run(device="cpu"))._precision.precision
    assert precision == ("bf16-mixed" if found else "32-true")
    assert open_fabric(Run(device="cpu", precision="32"))._precision.precision == "32-true"


def test_asking_for_emulated_bf16_is_granted_with_a_warning(monkeypatch):
    monkeypatch.setattr(devices, "has_bf16", lambda device: False)
    said = []
    fabric = open_fabric(Run(device="cpu", precision="bf16", say=said.append))
    assert fabric._precision.precision == "bf16-mixed"
    assert "only emulates bfloat16" in said[0]


def test_without_lightning_the_extra_is_named(monkeypatch):
    for name in ("lightning", "lightning.fabric"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"blemish\[train\]"):
        open_fabric(Run(device="cpu"))


def test_drawing_from_a_seed_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    with seeded(3):
        one = torch.rand(2)
    with seeded(3):
        assert torch.equal(one, torch.rand(2))
    with seeded(4):
        assert not torch.equal(one, torch.rand(2))
    assert torch.equal(before, torch.get_rng_state())


def test_mixed_seeds_differ_in_every_number_and_fit_torch():
    seeds = {mix_seeds(a, b) for a in range(20) for b in range(20)}
    assert len(seeds) == 400
    assert all(0 <= s < 2**63 for s in seeds)
    assert isinstance(mix_seeds(1), int)


BLOCK = 96 << 20  # bytes; more than glibc keeps by itself
SCRIPT = f"""
import resource, sys
import numpy as np
from blemish.devices import keep_freed_memory

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones({BLOCK}, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
with keep_freed_memory():
    faults()
    kept, within = faults(), held()
print(plain, kept, within - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults of glibc")
def test_freed_memory_is_kept_within_and_given_back_after():
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("the C library is not glibc")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    plain, kept, given_back = map(int, done.stdout.split())
    pages = BLOCK // 4096
    # Large pages, where the system gives them, take one fault for 512.
    assert kept < max(8, plain // 100) < pages
    assert given_back > BLOCK // 2
