import os
import sys

import pytest
import ray

from blemish.benchmark import Result
from blemish.errors import DataError
from blemish.grid import GridData, GridRun, run_grid
from blemish.scale.grid_on_ray import RayEngine

RUNS = [GridRun("patchcore", GridData("plates"), seed=seed) for seed in range(4)]


def perform(run):
    if run.seed == 2:
        raise DataError("There is nothing to learn from.")
    figures = {"process": {"value": float(os.getpid()), "label": "process"}}
    data = {"name": "plates"}
    return Result(f"grid_{run.id}", run.command, data, figures, "patchcore", seeds=(run.seed,))


@pytest.mark.slow
def test_runs_have_processes_of_their_own_and_failures_are_told(tmp_path):
    # This file is no module that a worker could import: its functions travel by value.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    failures, shown = [], []
    try:
        results = run_grid(
            RUNS,
            tmp_path,
            perform,
            engine=RayEngine(workers=2),
            say=failures.append,
            progress=lambda *step: shown.append(step[1:]),
        )
    finally:
        ray.shutdown()
    processes = {result["figures"]["process"]["value"] for result in results}
    assert len(results) == len(processes) == 3
    assert os.getpid() not in processes
    assert len(failures) == 1
    assert failures[0].endswith("There is nothing to learn from.")
    assert shown == [(done, 4) for done in range(5)]
    assert [result["seeds"] for result in results] == [[0], [1], [3]]


def test_nothing_to_do_starts_nothing():
    assert list(RayEngine("ray://nowhere:1")([], perform)) == []
