"""L2BT: two small networks learn what a transformer does between two of its layers.

[1] A. Costanzino, P. Zama Ramirez, G. Lisanti, L. Di Stefano, "Learning to Be a Transformer to
    Pinpoint Anomalies", IEEE Access 13, 2025, arXiv 2407.04092.

A frozen teacher gives two vectors for every patch, an early and a late one. On good parts the
forward student learns to tell the late from the early one, the backward student the early from the
late one. Where both fail, something is there that good parts do not have.

Differs from [1]: the teacher's vectors are computed once, because without augmentation they never
change, and single vectors are shuffled instead of images (``batching=image`` is as published);
patches on padding are neither learned from nor interpolated with; upsampling and blur at the size
of the original are two small matrix products; a CNN with two feature maps may stand in for the
teacher.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Backbone, Features, to_half
from blemish.backbones.joining import (
    add_average,
    add_join,
    add_unfold,
    average_neighbourhood,
    join_grids,
    unfold_neighbourhood,
)
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.devices import find_device, has_bf16, seeded
from blemish.errors import DataError, MissingExtraError, OptionError
from blemish.features.feature_cache import FeatureCache, cached
from blemish.features.token_feed import TokenFeed, Vectors
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.methods.base import GraphOutput, Method, Output, Run, Size, State
from blemish.methods.teacher_options import L2BTOptions
from blemish.model_file import part
from blemish.nets.token_students import StudentErrors, TokenStudents, both_directions
from blemish.network_graph import add_network
from blemish.options import to_json
from blemish.preprocess import add_cell_valid, cell_valid
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("The method l2bt", "train") from error

MEASURED_VIEWS = 64  # tell how large the values of a channel usually are


class L2BT(Method):
    """Two students of a frozen teacher."""

    Options = L2BTOptions
    exportable = True
    default_size = (1036, 1036)
    presets = {  # noqa: RUF012
        "paper": {"image_size": "1036", "interpolation": "bicubic", "batching": "image"},
        "small": {
            "backbone": "filter_bank",
            "strides": (4, 8),
            "image_size": "auto:256",
            "epochs": 20,
            "train_patches": 1024,
            "learning_rate": 1e-3,
        },
        "tiny": {
            "backbone": "filter_bank",
            "strides": (4, 8),
            "image_size": "96x64",
            "epochs": 10,
            "learning_rate": 3e-3,
        },
    }

    options: L2BTOptions
    mean_: NDArray[np.float32] | None = None  # of each channel, early ones first
    scale_: NDArray[np.float32] | None = None

    def __init__(self, options: L2BTOptions):
        super().__init__(options)
        if len(options.strides or options.layers) != 2:
            raise OptionError(
                "L2BT learns between an early and a late layer: name two, such as layers=7,11 or "
                f"strides=8,16, not {','.join(map(str, options.strides or options.layers))!r}."
            )
        if options.unfold and options.neighbourhood == 1:
            raise OptionError("unfold needs cells around a patch: set neighbourhood=3 too.")
        if not options.remember and options.batching == "tokens":
            raise OptionError("remember=false computes whole images: it needs batching=image.")

    @property
    def multiple(self) -> int:
        """What the teacher needs: the side of its patches, or its coarsest stride."""
        return self._backbone.multiple

    @property
    def post(self) -> Post:
        """Blur at the size of the original, mean of the highest part."""
        o = self.options
        return Post(boxes=o.boxes, frame="image", pool="top_share", pool_value=o.top_share)

    @property
    def _backbone(self) -> Backbone:
        # Opened when first needed: making a method object reads no file.
        if not hasattr(self, "backbone_"):
            o = self.options
            layers = () if o.strides else o.layers
            self.backbone_ = open_backbone(o.backbone, o.weights, o.strides, layers)
        return self.backbone_

    @property
    def _widths(self) -> tuple[int, int]:
        """Values of an early and of a late vector."""
        (early, late), values = self._backbone.channels, self.options.unfold
        most = min(early, late) * self.options.neighbourhood**2
        if values > most:
            raise OptionError(
                f"unfold={values} is more than the {most} values of a neighbourhood; use {most} or "
                "less."
            )
        return values or early, values or late

    def make_students(self) -> TokenStudents:
        """Students that have not learned anything, as wide as teacher and options ask for."""
        early, late = self._widths
        return TokenStudents(early, late, self.options.hidden or (early + late) // 2)

    def learn(self, samples: Samples, run: Run) -> None:
        """Train both students on the teacher's vectors of all training images."""
        o = self.options
        self.device_ = torch.device(find_device(run.device))
        self._place(run.precision == "bf16" or (run.precision == "auto" and has_bf16(self.device_)))
        self._measure_channels(samples)
        with seeded(run.seed):
            students = self.make_students()
            # One pass over the weights instead of one per operation.
            optimiser = torch.optim.Adam(students.parameters(), lr=o.learning_rate, fused=True)
        learner = Learner(
            {"students": students},
            {"students": optimiser},
            self._remembered_step if o.remember else self._whole_step,
            {"method": "l2bt", "options": to_json(o)},
        )
        if not o.remember:
            train(learner, samples, Plan(o.epochs, o.train_batch), run)
        else:
            with ExitStack() as stack:
                feed, cells = self._feed(samples, run, stack)
                batch = o.train_batch
                if o.batching == "tokens":
                    batch = o.train_patches or o.train_batch * cells
                train(learner, samples, Plan(o.epochs, batch), run, feed=feed)
        self.students_ = students.to(self.device_)

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Product of how far each student's guess is from the teacher, patch by patch."""
        joined = self._embed(self._backbone(x))
        maps = np.zeros(joined.shape[:3], np.float32)
        for found, vectors, ok in zip(maps, joined, valid, strict=True):
            cells = cell_valid(ok, found.shape)
            found[cells] = self._errors(vectors.reshape(-1, vectors.shape[2])[cells.ravel()])
        return Output(maps)

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """The same as :meth:`predict_batch`: teacher, both students, their errors."""
        side, values = self.options.neighbourhood, self.options.unfold
        grids = [(size[0] // s, size[1] // s) for s in self._backbone.strides]
        maps = self._backbone.export(graph, x, size)
        if values:
            pairs = zip(maps, self._backbone.channels, strict=True)
            maps = [add_unfold(graph, m, count, side, values) for m, count in pairs]
        else:
            maps = [add_average(graph, m, side) for m in maps]
        vectors = graph.add("Transpose", add_join(graph, maps, grids), perm=[0, 2, 3, 1])
        if self.mean_ is not None and self.scale_ is not None:
            vectors = graph.add("Sub", vectors, graph.floats(self.mean_))
            vectors = graph.add("Mul", vectors, graph.floats(self.scale_))
        width = sum(self._widths)
        judge = self._judge.cpu().eval()
        (errors,) = add_network(graph, judge, graph.reshape(vectors, -1, width), (width,))
        judge.to(self.device_)
        errors = graph.reshape(errors, -1, *grids[0])
        inside = add_cell_valid(graph, valid, size, grids[0])
        return GraphOutput(graph.add("Where", inside, errors, graph.floats(0)), grids[0])

    def state(self) -> State:
        """The students' weights and the teacher."""
        header, weights = self._backbone.state()
        arrays: dict[str, NDArray[np.generic]] = {f"backbone.{k}": v for k, v in weights.items()}
        for name, tensor in self.students_.state_dict().items():
            arrays[f"students.{name}"] = tensor.cpu().numpy()
        if self.mean_ is not None and self.scale_ is not None:
            arrays |= {"channels.mean": self.mean_, "channels.scale": self.scale_}
        return {"backbone": header, "device": self.device_.type}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        self.backbone_ = restore_backbone(header["backbone"], part(arrays, "backbone."))
        mean, scale = arrays.get("channels.mean"), arrays.get("channels.scale")
        self.mean_ = None if mean is None else np.asarray(mean, np.float32)
        self.scale_ = None if scale is None else np.asarray(scale, np.float32)
        # On the meta device no weights are drawn only to be thrown away.
        with torch.device("meta"):
            students = self.make_students()
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in part(arrays, "students.").items()}
        students.load_state_dict(tensors, strict=True, assign=True)
        # Made on a GPU, it also runs where there is none; what was asked to stay on the CPU does.
        device = find_device("cpu" if header["device"] == "cpu" else "auto")
        self.device_ = torch.device(device)
        self._place(bool(header["backbone"].get("bf16")) and has_bf16(self.device_))
        self.students_ = students.eval().to(self.device_)

    def _place(self, bf16: bool) -> None:
        """Let a transformer compute where the students do."""
        if hasattr(self._backbone, "use"):
            self._backbone.use(str(self.device_), bf16)

    # ------------------------------------------------------------------ training

    def _measure_channels(self, samples: Samples) -> None:
        """Usual mean and deviation of every channel, for standardise=true.

        A transformer's final norm gives all vectors one length. A CNN has none: there a flat
        background is close to zero, and the direction of what is left, noise, cannot be learned.
        """
        self.mean_ = self.scale_ = None
        if not self.options.standardise:
            return
        places, valid = self._look_through(samples)
        found = []
        for i in range(0, len(places), max(1, len(places) // MEASURED_VIEWS)):
            joined = self._embed(self._backbone(samples.take([places[i]]).x))[0]
            found.append(joined[valid[i]])
        if found and len(vectors := np.concatenate(found)):
            deviation = vectors.std(axis=0)
            # A channel that hardly ever varies would outvote all others when it once does.
            floor = max(0.1 * float(deviation.mean()), 1e-6)
            self.mean_ = vectors.mean(axis=0)
            self.scale_ = np.asarray(1 / np.maximum(deviation, floor), np.float32)

    def _feed(self, samples: Samples, run: Run, stack: ExitStack) -> tuple[TokenFeed, int]:
        """What the teacher says of all training images, and the patches of a whole view."""
        places, valid = self._look_through(samples)
        counts = [int(v.sum()) for v in valid]
        if not sum(counts):
            raise DataError("No training image has a valid patch: check the region of interest.")
        o, width = self.options, sum(self._widths)
        needed, room = 2 * width * sum(counts), o.memory_mb * 1e6
        run.say(
            f"L2BT: {sum(counts):,} patches of {len(places):,} views, {needed / 1e6:,.0f} MB; at "
            f"most {o.memory_mb:,.0f} MB are held in memory."
        )
        teacher = cached(self._backbone, samples, run)
        if needed > room and not isinstance(teacher, FeatureCache):
            run.say("They are kept in a temporary folder; name a feature cache to keep them.")
            folder = tempfile.TemporaryDirectory(prefix="blemish-", ignore_cleanup_errors=True)
            run = Run(feature_cache=Path(stack.enter_context(folder)), say=run.say)
            run.feature_cache_mb = 1e9  # the disk is the limit
            teacher = cached(self._backbone, samples, run)
        read = self._reader(samples, places, valid, teacher, needed > room, run)
        # A view without valid patches has nothing to learn from.
        filled = [i for i, count in enumerate(counts) if count]
        feed = TokenFeed(
            lambda i: read(filled[i]),
            [counts[i] for i in filled],
            width,
            o.batching == "image",
            room,
        )
        return feed, valid[0].size

    def _look_through(
        self, samples: Samples
    ) -> tuple[list[tuple[int, int]], list[NDArray[np.bool_]]]:
        """Every view, and which of its patches are valid."""
        places, valid = [], []
        height, width = samples.geometry.view_shape
        side = min(self._backbone.strides)
        for image, views in enumerate(samples):
            for number, ok in enumerate(views.valid):
                places.append((image, number))
                valid.append(cell_valid(ok, (height // side, width // side)))
        return places, valid

    def _reader(
        self,
        samples: Samples,
        places: Sequence[tuple[int, int]],
        valid: Sequence[NDArray[np.bool_]],
        teacher: Backbone,
        by_group: bool,
        run: Run,
    ) -> Callable[[int], Vectors]:
        """How the vectors of one view are read; with `by_group` again and again, from disk."""
        shown = 0

        def compute(i: int) -> list[Features]:
            nonlocal shown
            shown += 1
            run.progress("teacher", min(shown, len(places)), len(places))
            return teacher(samples.take([places[i]]).x)

        if by_group and isinstance(teacher, FeatureCache):
            stored = []
            for i, place in enumerate(places):
                stored.append(teacher.remember(samples.take([place]).x)[0])
                run.progress("teacher", i + 1, len(places))
            compute = lambda i: [np.asarray(m[None], np.float32) for m in stored[i]]  # noqa: E731

        def read(i: int) -> Vectors:
            joined = self._embed(compute(i))[0]
            vectors = to_half(joined[valid[i]])
            early = self._widths[0]
            return vectors[:, :early], vectors[:, early:]

        return read

    def _remembered_step(
        self, networks: Mapping[str, Any], batch: tuple[Tensor, Tensor], now: Moment
    ) -> Mapping[str, Tensor]:
        early, late = (vectors.float() for vectors in batch)
        forward, backward = both_directions(networks["students"](early, late), early, late)
        loss = forward + backward
        now.update("students", loss)
        return {"loss": loss, "forward": forward, "backward": backward}

    def _whole_step(
        self, networks: Mapping[str, Any], batch: Any, now: Moment
    ) -> Mapping[str, Tensor]:
        """A step of `remember=false`: the teacher is asked again."""
        pixels = batch.x.permute(0, 2, 3, 1).cpu().numpy()
        joined = self._embed(self._backbone(np.ascontiguousarray(pixels)))
        ok = batch.valid[:, 0].cpu().numpy() > 0
        cells = np.stack([cell_valid(v, joined.shape[1:3]) for v in ok])
        vectors = torch.from_numpy(joined[cells]).to(batch.x.device)
        early = self._widths[0]
        return self._remembered_step(networks, (vectors[:, :early], vectors[:, early:]), now)

    # ------------------------------------------------------------------ both

    def _embed(self, maps: list[Features]) -> Features:
        """Both maps on the grid of the finer one, early channels first: (B, h, w, C + C')."""
        side, values = self.options.neighbourhood, self.options.unfold
        if values:
            joined = join_grids([unfold_neighbourhood(m, side, values) for m in maps])
        else:
            joined = join_grids([average_neighbourhood(m, side) for m in maps])
        if self.mean_ is not None and self.scale_ is not None:
            joined = (joined - self.mean_) * self.scale_
        return joined

    @torch.inference_mode()
    def _errors(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, C + C') to (n,): how far the students' guesses are from the teacher."""
        found: Tensor = self._judge(torch.from_numpy(vectors).to(self.device_))
        return found.cpu().numpy()

    @property
    def _judge(self) -> StudentErrors:
        early, _ = self._widths
        return StudentErrors(self.students_, early, self.options.direction)
