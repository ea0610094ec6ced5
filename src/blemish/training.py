"""The one training loop, on Lightning Fabric, for every method that learns by gradients.

A method brings networks, optimisers and a function for one step; :func:`train` does the rest:
device, precision, order of the images, learning-rate schedule, clipping, curves, checkpoints.

All randomness of step number s derives from (seed, s), and the order of the images from (seed,
epoch). So no state of a random generator is part of a checkpoint, and a run that was killed and
goes on ends with the same weights, bit for bit on the CPU, as one that was never stopped.

[1] Lightning Fabric, https://lightning.ai/docs/fabric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from blemish.checkpoints import CheckpointFolder, open_folder, pack, unpack
from blemish.devices import keep_freed_memory, mix_seeds, open_fabric, seeded
from blemish.errors import MissingExtraError
from blemish.parallel import read_ahead
from blemish.run import Run
from blemish.samples import Batch, Samples
from blemish.team import Team, losses_said, share
from blemish.tracking import Tracking
from blemish.training_watch import Clock, Means, not_finite

try:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer
except ImportError as error:
    raise MissingExtraError("Training a network", "train") from error

Augment = Callable[[Batch, np.random.Generator], Batch]
ORDER, STEP, AUGMENT = 1, 2, 3  # what a random number is for; part of its seed


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        epochs: Times that every view is seen.
        batch: Views per step; the last batch of an epoch may be smaller.
        clip: Largest norm of the gradient of each optimiser; 0 = no limit.
        schedule: How learning rates fall: not at all (``"constant"``), to zero (``"linear"``,
            ``"cosine"``), or by `decay` (``"exponential"``: each epoch, ``"drop"``: once).
        warm_up: Share in [0, 1] of all steps over which learning rates rise from zero.
        decay: Factor in (0, 1].
        drop_at: Share in [0, 1] of all steps after which ``"drop"`` drops.
        least: Views that a batch has at least; a smaller rest of an epoch is left out. Batch
            normalisation needs two.
    """

    epochs: int
    batch: int
    clip: float = 0.0
    schedule: str = "constant"
    warm_up: float = 0.0
    decay: float = 1.0
    drop_at: float = 0.8
    least: int = 1

    def steps(self, views: int) -> int:
        """Steps per epoch."""
        whole, rest = divmod(views, self.batch)
        return whole + (rest >= self.least and rest > 0)

    def rate(self, step: int, steps: int) -> float:
        """Factor in (0, 1] on the learning rates at step `step` (from 0) of `steps`."""
        rising = math.ceil(self.warm_up * steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        if self.schedule == "exponential":
            return self.decay ** (step * self.epochs // steps)
        if self.schedule == "drop":
            return self.decay if step >= self.drop_at * steps else 1.0
        share = (step - rising) / max(steps - rising, 1)
        if self.schedule == "linear":
            return 1 - share
        return 0.5 * (1 + math.cos(math.pi * share)) if self.schedule == "cosine" else 1.0


@dataclass(frozen=True)
class Tensors:
    """A batch on the device.

    Attributes:
        x: (B, 3, H, W) float32 RGB in [0, 1], channels last in memory.
        valid: (B, 1, H, W) float32, 0 on padding and outside the region of interest.
        mask: (B, 1, H, W) float32, 1 on marked defects.
        defective: (B,) float32, 1 for defective images.
        places: Key of the image and number of the view, of each.
    """

    x: Tensor
    valid: Tensor
    mask: Tensor
    defective: Tensor
    places: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Moment:
    """Where the training is, and how a step changes the networks.

    Attributes:
        step: Number of this step, from 0.
        steps: Steps in all.
        update: Called with the name of an optimiser and a loss: one step down its gradient.
        frozen: Called with the name of a network and its inputs: what it makes of them, with
            gradients that pass through to the inputs, not to its weights, and no word to other
            devices. A network that is only passed through must be called this way.
        mean: The mean of a scalar over all devices: what is decided by it is decided alike.
    """

    step: int
    steps: int
    update: Callable[[str, Tensor], None]
    frozen: Callable[..., Any]
    mean: Callable[[Tensor], Tensor]


class Feed(Protocol):
    """What training goes through where it is not whole views: remembered features, say."""

    def __len__(self) -> int:
        """Items per epoch; ``Plan.batch`` counts them."""
        ...

    def epoch(
        self, batch: int, order: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.generic], ...]]:
        """All items once, in an order that depends on `order` alone, `batch` at a time."""
        ...


# The batch is :class:`Tensors`, or a tuple of tensors where there is a :class:`Feed`.
Step = Callable[[Mapping[str, Any], Any, Moment], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Learner:
    """What is trained.

    Attributes:
        networks: Name to network; changed in place, back on the CPU and in evaluation mode after.
        optimisers: Name to an optimiser of parameters of these networks.
        step: One step: called with the networks, a batch and the moment; it calls
            ``moment.update(name, loss)`` once or more and returns every loss term as a scalar.
        identity: What is trained, in plain JSON values: method, options. A checkpoint of anything
            else is refused.
    """

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    step: Step
    identity: Mapping[str, Any] = field(default_factory=dict)


def train(
    learner: Learner,
    samples: Samples,
    plan: Plan,
    run: Run,
    augment: Augment | None = None,
    feed: Feed | None = None,
) -> None:
    """Train networks in place.

    Means over each epoch of every term and of the factor on the rates go to ``run.history``.

    Args:
        learner: Networks, optimisers and the step.
        samples: What to learn from; all of it.
        plan: Epochs, batch, schedule.
        run: Seed, device, progress, where curves go; a state in its ``checkpoint`` is gone on with.
        augment: Changes a batch before the step; called in a thread.
        feed: Gives the batches in place of the views of `samples`.

    Raises:
        TrainingError: A loss or gradient is no longer a finite number, the checkpoint belongs to
            another run, or the folder is in use. The networks keep their last finite state.
        OptionError: The device is not there.
        ClusterError: Another process of the run was lost.
        MissingExtraError: Lightning or the tracker is not installed.
    """
    places = samples.places if feed is None else []
    steps, fabric = plan.epochs * plan.steps(len(feed or places)), open_fabric(run)
    team = Team(fabric.global_rank, fabric.world_size)
    parts = partial(_batches, samples, places, plan, run.seed, fabric, augment)
    if feed is not None:
        parts = partial(_fed, feed, plan, run.seed, fabric)
    identity = _identity(learner, samples, plan, run, team)
    with (
        losses_said(team),
        keep_freed_memory(),
        open_folder(run.checkpoint, identity, fabric.is_global_zero) as folder,
        _on_device(learner, fabric) as (networks, optimisers),
    ):
        done = _resume(learner, folder, run)
        tracking = _open_tracking(learner, plan, run, fabric.is_global_zero)
        frozen, mean = partial(_frozen, fabric, learner.networks), partial(_mean, fabric)
        clock = Clock(steps, run if fabric.is_global_zero else Run())
        for epoch in range(done, plan.epochs):
            means = Means()
            for step, (weight, batch) in enumerate(parts(epoch), epoch * steps // plan.epochs):
                torch.manual_seed(mix_seeds(run.seed, STEP, step, fabric.global_rank))
                rate = _set_rates(learner, plan.rate(step, steps))
                update = partial(_update, fabric, optimisers, plan.clip, step, weight)
                terms = learner.step(networks, batch, Moment(step, steps, update, frozen, mean))
                means.add(_of_all(terms, weight, fabric) | {"rate": rate}, step)
                clock.show(step, means.known())
            means.append_to(run.history)
            folder.write(pack(epoch + 1, run.history, learner.networks, learner.optimisers))
            tracking.log(epoch + 1, means.values())
        tracking.close()


@contextmanager
def _on_device(learner: Learner, fabric: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Networks and optimisers wrapped by Fabric; afterwards all is as predicting wants it."""
    networks, optimisers = learner.networks, learner.optimisers
    try:
        with seeded(0, fabric.device):
            for network in networks.values():
                network.train()
                if fabric.world_size > 1 and fabric.device.type == "cuda":
                    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            wrapped = {name: fabric.setup_module(network) for name, network in networks.items()}
            yield wrapped, {n: fabric.setup_optimizers(o) for n, o in optimisers.items()}
    finally:
        for network in networks.values():
            network.to("cpu").eval().zero_grad(set_to_none=True)


def _update(
    fabric: Any,
    optimisers: Mapping[str, Any],
    clip: float,
    step: int,
    weight: float,
    name: str,
    loss: Tensor,
) -> None:
    """One step down the gradient of a loss, unless it would spoil the weights; see `share`."""
    optimiser = optimisers[name]
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(loss if weight == 1 else weight * loss)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    # Asked together: a GPU is waited for once.
    if not (torch.isfinite(loss) & torch.isfinite(norm)):
        what = "gradient" if torch.isfinite(loss) else "loss"
        raise not_finite(f"the {what} of {name}", step)
    if clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    optimiser.step()


def _frozen(
    fabric: Any, networks: Mapping[str, nn.Module], name: str, *inputs: Tensor
) -> Tensor | tuple[Tensor, ...]:
    """What a network makes of its inputs, while its weights count as constants."""
    weights = {key: p.detach() for key, p in networks[name].named_parameters()}
    with fabric.autocast():
        found = torch.func.functional_call(networks[name], weights, inputs)
    plain: Tensor | tuple[Tensor, ...] = _as_float(found)
    return plain


def _as_float(found: Any) -> Any:
    return found.float() if isinstance(found, Tensor) else tuple(map(_as_float, found))


def _mean(fabric: Any, value: Tensor) -> Tensor:
    reduced: Tensor = fabric.all_reduce(value.detach(), reduce_op="mean")
    return reduced


def _of_all(terms: Mapping[str, Tensor], weight: float, fabric: Any) -> dict[str, Tensor]:
    """Loss terms over the whole batch, not only this process's part of it."""
    if fabric.world_size == 1:
        return dict(terms)
    means = _mean(fabric, torch.stack([weight * t.detach().float() for t in terms.values()]))
    return dict(zip(terms, means.unbind(), strict=True))


def _set_rates(learner: Learner, factor: float) -> Tensor:
    for optimiser in learner.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
    return torch.tensor(factor)


def _batches(
    samples: Samples,
    places: Sequence[tuple[int, int]],
    plan: Plan,
    seed: int,
    fabric: Any,
    augment: Augment | None,
    epoch: int,
) -> Iterator[tuple[float, Any]]:
    """All views once, in an order that depends on seed and epoch alone."""
    order = np.random.default_rng([seed, ORDER, epoch]).permutation(len(places))
    team = Team(fabric.global_rank, fabric.world_size)

    def read(first: int) -> tuple[float, Batch]:
        rows = order[first : first + plan.batch]
        weight, own = share(len(rows), team)
        generator = np.random.default_rng([seed, AUGMENT, epoch, first, team.rank])
        batch = samples.take([places[row] for row in rows[own]], generator)
        return weight, batch if augment is None else augment(batch, generator)

    firsts = range(0, plan.steps(len(order)) * plan.batch, plan.batch)
    for weight, batch in read_ahead(read, firsts, ahead=2):
        tensors = Tensors(
            x=_moved(torch.from_numpy(batch.x).permute(0, 3, 1, 2), fabric),
            valid=_moved(_plane(batch.valid), fabric),
            mask=_moved(_plane(batch.mask), fabric),
            defective=_moved(torch.from_numpy(batch.defective).float(), fabric),
            places=tuple(zip(batch.keys, batch.numbers, strict=True)),
        )
        yield weight, tensors


def _fed(feed: Feed, plan: Plan, seed: int, fabric: Any, epoch: int) -> Iterator[tuple[float, Any]]:
    """Batches of a feed on the device; each of several processes takes its part."""
    team = Team(fabric.global_rank, fabric.world_size)
    order = np.random.default_rng([seed, ORDER, epoch])
    for arrays in feed.epoch(plan.batch, order):
        weight, own = share(len(arrays[0]), team)
        parts = arrays if team.size == 1 else [a[own] for a in arrays]
        yield weight, tuple(_moved(torch.from_numpy(part), fabric) for part in parts)


def _moved(tensor: Tensor, fabric: Any) -> Tensor:
    """On the device; a GPU fetches from pinned memory while the next step is prepared."""
    pinned = tensor.pin_memory() if fabric.device.type == "cuda" else tensor
    moved: Tensor = fabric.to_device(pinned)
    return moved


def _plane(values: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(values)[:, None].float()


def _identity(
    learner: Learner, samples: Samples, plan: Plan, run: Run, team: Team
) -> dict[str, Any]:
    """What must be the same for a checkpoint to be gone on with."""
    if run.checkpoint is None:
        return {}
    return {
        **learner.identity,
        "plan": asdict(plan),
        "seed": run.seed,
        "devices": team.size,
        **samples.identity,
    }


def _resume(learner: Learner, folder: CheckpointFolder, run: Run) -> int:
    """Take back the state of a checkpoint, where there is one; returns the epochs done."""
    state = folder.read()
    if state is None:
        return 0
    unpack(state, learner.networks, learner.optimisers)
    run.history.update({name: list(values) for name, values in state.history.items()})
    run.say(f"Training goes on after epoch {state.epoch} of the checkpoint in {folder.path}.")
    return state.epoch


def _open_tracking(learner: Learner, plan: Plan, run: Run, first: bool) -> Tracking:
    card = {"seed": run.seed, **learner.identity, **asdict(plan)}
    label = run.label or str(learner.identity.get("method", "blemish"))
    tracking = Tracking(run.track if first else "none", run.track_folder, label, card, run.say)
    # A tracker that starts in the middle would show half a curve.
    for epoch, values in enumerate(zip(*run.history.values(), strict=True), start=1):
        tracking.log(epoch, dict(zip(run.history, values, strict=True)))
    return tracking
