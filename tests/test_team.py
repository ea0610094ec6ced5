import numpy as np
import pytest

from blemish.errors import OptionError
from blemish.run import Run
from blemish.team import Team, count_processes, join_team, lost_process, share

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}


def test_a_process_alone_is_the_first_and_hears_itself():
    team = join_team(Run())
    assert team == Team(0, 1)
    assert team.gather("found") == ["found"]
    team.leave_to_the_first()


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


def test_a_lost_process_is_one_sentence_with_the_next_step():
    said = str(lost_process(RuntimeError("[gloo/pair.cc] Connection closed by peer\nstack")))
    assert said.startswith("A process that learns along was lost ([gloo/pair.cc] Connection")
    assert "stack" not in said
    assert "--checkpoint" in said
