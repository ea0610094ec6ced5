import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from blemish.errors import TrainingError
from blemish.run import Run
from blemish.training import Learner, Plan, train
from helpers import drawn_samples


class Colour(nn.Module):
    """Blurs by a learned kernel, with dropout: order and noise both matter."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.blur(nn.functional.dropout(x, 0.5, self.training))


def colour_learner(identity=None, rate=1e-2, spoil_at=None):
    torch.manual_seed(3)
    network = Colour()

    def step(networks, batch, now):
        loss = ((networks["colour"](batch.x) - batch.x).square() * batch.valid).mean()
        if now.step == spoil_at:
            loss = loss * float("nan")
        now.update("colour", loss)
        return {"loss": loss, "double": 2 * loss}

    optimisers = {"colour": torch.optim.Adam(network.parameters(), lr=rate)}
    return Learner({"colour": network}, optimisers, step, identity or {"method": "colour"})


def weights(learner):
    return [p.detach().clone() for n in learner.networks.values() for p in n.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def trained(plan, run=None, samples=None, **options):
    learner = colour_learner(**options)
    train(learner, samples or drawn_samples(), plan, run or Run(device="cpu"))
    return learner


PLAN = Plan(epochs=4, batch=4)


def test_the_loss_falls_and_every_term_has_a_curve():
    run = Run(device="cpu")
    trained(Plan(epochs=20, batch=4), run)
    assert set(run.history) == {"loss", "double", "rate"}
    assert all(len(values) == 20 for values in run.history.values())
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert run.history["double"] == pytest.approx([2 * v for v in run.history["loss"]])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    assert same(trained(PLAN), trained(PLAN))
    assert not same(trained(PLAN), trained(PLAN, Run(seed=1, device="cpu")))


def test_networks_come_back_ready_to_predict():
    network = trained(PLAN).networks["colour"]
    assert not network.training
    assert all(p.device.type == "cpu" and p.grad is None for p in network.parameters())


def test_global_random_state_and_thread_count_are_left_alone():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    learner = colour_learner()
    before = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state())
    threads = torch.get_num_threads()
    train(learner, drawn_samples(), PLAN, Run(device="cpu"))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tobytes() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("images", "batch"), [(2, 8), (3, 1), (1, 1)])
def test_few_images_and_batches_of_one_are_enough(images, batch):
    run = Run(device="cpu")
    trained(Plan(epochs=2, batch=batch), run, drawn_samples(images))
    assert len(run.history["loss"]) == 2


def test_every_view_is_seen_once_per_epoch_in_another_order():
    learner, seen = colour_learner(), []

    def step(networks, batch, now):
        seen.append([round(float(v), 5) for v in batch.x.mean(dim=(1, 2, 3))])
        return {"loss": torch.zeros(())}

    train(Learner(learner.networks, {}, step), drawn_samples(6), Plan(2, 4), Run(device="cpu"))
    assert [len(s) for s in seen] == [4, 2, 4, 2]
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second)
    assert first != second


def test_a_batch_can_be_changed_before_the_step_and_the_change_is_reproducible():
    def darken(batch, generator):
        batch.x[:] *= generator.uniform(0, 0.5)
        return batch

    def run(augment):
        learner = colour_learner()
        train(learner, drawn_samples(), PLAN, Run(device="cpu"), augment)
        return learner

    assert same(run(darken), run(darken))
    assert not same(run(darken), run(None))


def test_a_large_gradient_is_clipped():
    # Plain descent with rate 1 from the same weights: the step is the gradient.
    def distance(clip):
        learner = colour_learner()
        start = weights(learner)
        network = learner.networks["colour"]
        optimisers = {"colour": torch.optim.SGD(network.parameters(), lr=1.0)}
        train(
            Learner(learner.networks, optimisers, learner.step),
            drawn_samples(4),
            Plan(epochs=1, batch=4, clip=clip),
            Run(device="cpu"),
        )
        moved = [a - b for a, b in zip(start, weights(learner), strict=True)]
        return float(sum(m.square().sum() for m in moved)) ** 0.5

    assert distance(0) > 0.02
    assert distance(0.01) == pytest.approx(0.01, rel=1e-3)
    assert distance(1e6) == pytest.approx(distance(0))


def test_rates_rise_and_fall_as_the_schedule_says():
    rates = [Plan(1, 1, schedule="linear", warm_up=0.2).rate(s, 10) for s in range(10)]
    assert rates[:2] == pytest.approx([1 / 3, 2 / 3])
    assert rates[2] == 1
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 8)
    cosine = Plan(1, 1, schedule="cosine")
    assert [cosine.rate(s, 4) for s in (0, 2)] == pytest.approx([1, 0.5])
    assert {Plan(1, 1).rate(s, 7) for s in range(7)} == {1.0}


def test_two_optimisers_take_turns():
    one, two = nn.Linear(3, 1), nn.Linear(3, 1)
    start = [two.weight.detach().clone(), one.weight.detach().clone()]

    def step(networks, batch, now):
        colour = batch.x.mean(dim=(2, 3))
        first = networks["one"](colour).square().mean()
        now.update("one", first)
        second = (networks["two"](colour) - networks["one"](colour).detach()).square().mean()
        if now.step % 2:
            now.update("two", second)
        return {"one": first, "two": second}

    run = Run(device="cpu")
    optimisers = {
        name: torch.optim.Adam(network.parameters(), lr=0.01)
        for name, network in (("one", one), ("two", two))
    }
    train(Learner({"one": one, "two": two}, optimisers, step), drawn_samples(), PLAN, run)
    assert run.history["one"][-1] < run.history["one"][0]
    assert not torch.equal(two.weight, start[0])
    assert not torch.equal(one.weight, start[1])


def test_gradients_pass_through_a_frozen_network_and_leave_its_weights_alone():
    one, two = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    start = [p.detach().clone() for p in (one.weight, two[0].weight)]
    same = []

    def step(networks, batch, now):
        colour = batch.x.mean(dim=(2, 3))
        passed = now.frozen("two", networks["one"](colour))
        assert float(now.mean(passed.mean())) == pytest.approx(float(passed.mean().detach()))
        now.update("one", passed.square().mean())
        same.append(all(p.grad is None and p.requires_grad for p in two.parameters()))
        return {"one": passed.mean()}

    optimisers = {"one": torch.optim.Adam(one.parameters(), lr=0.01)}
    learner = Learner({"one": one, "two": two}, optimisers, step)
    train(learner, drawn_samples(4), PLAN, Run(device="cpu"))
    assert all(same)
    assert not torch.equal(one.weight, start[0])
    assert torch.equal(two[0].weight, start[1])
    assert int(two[1].num_batches_tracked) == 4, "it is the network itself, statistics included"


def test_a_rest_that_is_too_small_is_left_out():
    sizes = []

    def step(networks, batch, now):
        assert now.steps == 4
        sizes.append(len(batch.x))
        return {"loss": torch.zeros(())}

    learner = Learner(colour_learner().networks, {}, step)
    train(learner, drawn_samples(5), Plan(2, 2, least=2), Run(device="cpu"))
    assert sizes == [2, 2, 2, 2]
    assert [Plan(1, 4, least=least).steps(10) for least in (1, 2, 3)] == [3, 3, 2]


def test_a_loss_that_is_no_number_stops_with_the_step_and_keeps_finite_weights(tmp_path):
    run = Run(device="cpu", checkpoint=tmp_path)
    learner = colour_learner(spoil_at=5)
    with pytest.raises(TrainingError, match=r"stopped at step 5: the loss of colour is not a fin"):
        train(learner, drawn_samples(), PLAN, run)
    assert all(torch.isfinite(w).all() for w in weights(learner))
    # The checkpoint is of the two whole epochs before.
    again = colour_learner()
    say = []
    train(again, drawn_samples(), PLAN, Run(device="cpu", checkpoint=tmp_path, say=say.append))
    assert say == [f"Training goes on after epoch 2 of the checkpoint in {tmp_path}."]
    assert same(again, trained(PLAN))


def test_a_gradient_that_is_no_number_stops_too():
    learner = colour_learner()

    def step(networks, batch, now):
        loss = (networks["colour"](batch.x) * 0).abs().sqrt().mean()  # infinite slope at 0
        now.update("colour", loss)
        return {"loss": loss}

    spoiled = Learner(learner.networks, learner.optimisers, step)
    with pytest.raises(TrainingError, match="the gradient of colour"):
        train(spoiled, drawn_samples(), PLAN, Run(device="cpu"))
    assert all(torch.isfinite(w).all() for w in weights(learner))


def test_a_term_that_is_no_number_is_named():
    learner = colour_learner()

    def step(networks, batch, now):
        return {"loss": torch.zeros(()), "kl": torch.tensor(float("inf"))}

    with pytest.raises(TrainingError, match="the term kl"):
        train(Learner(learner.networks, {}, step), drawn_samples(), PLAN, Run(device="cpu"))


def test_a_finished_run_is_taken_from_its_checkpoint(tmp_path):
    first, again = Run(device="cpu", checkpoint=tmp_path), Run(device="cpu", checkpoint=tmp_path)
    one = trained(PLAN, first)
    steps = []
    again.progress = lambda *step: steps.append(step)
    assert same(one, trained(PLAN, again))
    assert first.history == again.history
    assert not steps


def test_other_options_data_or_seed_are_refused_and_named(tmp_path):
    trained(PLAN, Run(device="cpu", checkpoint=tmp_path))
    with pytest.raises(TrainingError, match=r"another run: plan\.epochs is 4 there and 5 now\."):
        trained(Plan(epochs=5, batch=4), Run(device="cpu", checkpoint=tmp_path))
    with pytest.raises(TrainingError, match=r"data is .*; seed is 0 there and 7 now"):
        trained(PLAN, Run(7, device="cpu", checkpoint=tmp_path), drawn_samples(first_seed=9))
    with pytest.raises(TrainingError, match="method is colour there and tone now"):
        trained(PLAN, Run(device="cpu", checkpoint=tmp_path), identity={"method": "tone"})


def test_curves_are_tracked_from_the_first_epoch_also_after_going_on(tmp_path):
    def run():
        return Run(
            device="cpu",
            checkpoint=tmp_path / "state",
            track="csv",
            track_folder=tmp_path / "curves",
            label="line 3",
        )

    with pytest.raises(TrainingError):
        trained(PLAN, run(), spoil_at=5)
    trained(PLAN, run())
    lines = (tmp_path / "curves/line 3.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,double,rate"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]


def test_progress_tells_the_loss_and_the_time_left():
    shown = []
    run = Run(device="cpu", progress=lambda *step: shown.append(step))
    trained(PLAN, run)
    assert [done for _, done, _ in shown] == list(range(1, 9))
    assert {total for *_, total in shown} == {8}
    assert shown[0][0].startswith("training: loss ")
    assert shown[-1][0].endswith(", 0 s left")


SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    sys.path.insert(0, {tests!r})
    from blemish.run import Run
    from blemish.team import leave_to_the_first
    from blemish.training import train
    from helpers import drawn_samples
    from test_training import PLAN, colour_learner, Plan
    learner = colour_learner()
    run = Run(device="cpu", checkpoint=Path({folder!r}), devices={devices})
    train(learner, drawn_samples(), Plan(epochs={epochs}, batch=4), run)
    leave_to_the_first(run)
    print("done", [round(float(w.sum()), 6) for w in learner.networks["colour"].parameters()])
"""


def start(folder: Path, epochs: int, devices: int = 1) -> subprocess.Popen:
    script = folder.parent / f"script_{devices}.py"
    tests = str(Path(__file__).parent)
    text = SCRIPT.format(tests=tests, folder=str(folder), epochs=epochs, devices=devices)
    script.write_text(textwrap.dedent(text))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    return subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    folder, plan = tmp_path / "state", Plan(epochs=400, batch=4)
    for kill in range(4):
        process, before = start(folder, plan.epochs), written(folder)
        while written(folder) == before:  # the first time it goes on from
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.kill()  # SIGKILL: nothing can be tidied up
        assert not process.communicate()[0], f"kill {kill} came after the end"
    say = []
    resumed = trained(plan, Run(device="cpu", checkpoint=folder, say=say.append))
    assert len(say) == 1
    unbroken = Run(device="cpu", checkpoint=tmp_path / "other")
    assert same(resumed, trained(plan, unbroken))


def written(folder):
    file = folder / "checkpoint.safetensors"
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ganomaly", "advae"])
def test_several_processes_train_networks_that_pass_gradients_to_each_other(method, tmp_path):
    text = """
        import sys, warnings
        sys.path.insert(0, {tests!r})
        warnings.simplefilter("ignore")
        from blemish import Detector, Run
        from drawn import plates
        detector = Detector({method!r}, "tiny", device="cpu", epochs=2, false_alarms=0.4)
        detector.fit(plates(), Run(devices=2))
        print("done", len(detector.history["loss"]))
    """
    script = tmp_path / "script.py"
    tests = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(text.format(tests=tests, method=method)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["done", "2"], done.stderr


@pytest.mark.slow
def test_several_processes_train_one_network(tmp_path):
    output = start(tmp_path / "state", 3, devices=2).communicate(timeout=240)[0]
    # The helping process ends after training: only the first goes on.
    assert output.count("done") == 1
    assert (tmp_path / "state/checkpoint.safetensors").exists()


class Numbers:
    """A feed of numbers, shuffled."""

    def __init__(self, count=10):
        self.values = np.arange(count, dtype=np.float32)[:, None]

    def __len__(self):
        return len(self.values)

    def epoch(self, batch, order):
        rows = order.permutation(len(self))
        for first in range(0, len(rows), batch):
            yield (self.values[rows[first : first + batch]],)


def test_a_feed_gives_the_batches_in_place_of_views():
    seen = []
    network = nn.Linear(1, 1)

    def step(networks, batch, now):
        (values,) = batch
        assert now.steps == 6
        seen.append(values[:, 0].tolist())
        loss = networks["line"](values).square().mean()
        now.update("line", loss)
        return {"loss": loss}

    optimiser = torch.optim.Adam(network.parameters())
    learner = Learner({"line": network}, {"line": optimiser}, step)
    train(learner, drawn_samples(2), Plan(epochs=2, batch=4), Run(device="cpu"), feed=Numbers())
    assert [len(batch) for batch in seen] == [4, 4, 2, 4, 4, 2]
    first, second = ([x for batch in seen[i : i + 3] for x in batch] for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_exponential_schedule_falls_after_each_epoch():
    plan = Plan(epochs=4, batch=2, schedule="exponential", decay=0.5)
    assert [plan.rate(step, 8) for step in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
