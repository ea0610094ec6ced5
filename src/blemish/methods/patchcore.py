"""PatchCore: keep patches of good parts, and ask of a new patch how far the nearest one is.

[1] K. Roth, L. Pemula, J. Zepeda, B. Schölkopf, T. Brox, P. Gehler, "Towards Total Recall in
    Industrial Anomaly Detection", CVPR 2022, arXiv 2106.08265.

Differs from [1]: the bank has a byte budget beside the ratio, both known before fitting, and a
least size, because a share of few patches covers nothing; the greedy coreset is exact on randomly
projected features, chosen in batches (see `memory.py`); padding of the 3×3 neighbourhood does not
count as zero; the score is by default the peak of the blurred map; patches outside the region of
interest are never kept.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Backbone, Features
from blemish.backbones.joining import (
    add_average,
    average_neighbourhood,
    channel_scale,
    join_grids,
)
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.errors import BudgetError, DataError
from blemish.features.feature_cache import cached
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.memory import greedy_coreset, nearest, random_projection
from blemish.memory_graph import add_nearest, add_weight
from blemish.methods.base import Alike, GraphOutput, Method, Output, Run, Size, State
from blemish.model_file import part
from blemish.options import option
from blemish.patch_candidates import Candidates
from blemish.preprocess import add_cell_valid, cell_valid
from blemish.samples import Samples
from blemish.team import join_team
from blemish.types import Pixels

PROJECTED = 128  # dimensions in which the coreset is chosen
BATCH = 4  # views per pass while fitting: more would need memory, not save time


@dataclass(frozen=True)
class PatchCoreOptions:
    """Options of PatchCore."""

    backbone: str = option("filter_bank", "Backbone: filter_bank, or any timm model.")
    weights: str | None = option(None, "Weights of a timm model: a file, 'random' or 'download'.")
    strides: tuple[int, ...] = option((), "Feature maps to join, by stride; empty = default.")
    margin: int = option(2, "Cells that a network's input is mirrored by at its border.", low=0)
    coreset: float = option(0.01, "Share of all patches that is kept.", low=1e-6, high=1)
    smallest_bank: int = option(
        1000, "Patches that are kept however small the share, where there are as many.", low=1
    )
    bank_mb: float = option(64.0, "Largest size of the bank in MB (10^6 bytes).", low=0.001)
    memory_mb: float = option(500.0, "Memory for candidates while fitting, in MB.", low=1)
    neighbourhood: int = option(3, "Side of the patch neighbourhood that is averaged.", low=1)
    neighbours: int = option(9, "Neighbours that re-weight the image score; 1 = none.", low=1)
    score: str = option(
        "map",
        "Image score: the peak of the blurred map, or the worst patch, re-weighted, as published.",
        choices=("map", "patch"),
    )
    blur: float = option(4.0, "Standard deviation of the map's blur in pixels.", low=0)
    standardise: bool | None = option(
        None, "Divide each channel by its deviation over good patches; none = for filter_bank only."
    )


class PatchCore(Method):
    """A memory bank of patch features of good parts."""

    Options = PatchCoreOptions
    exportable = True
    augments = True
    cheap_fits = True
    presets = {  # noqa: RUF012
        "tiny": {"coreset": 0.05, "bank_mb": 0.5},
        "small": {},
    }

    options: PatchCoreOptions
    # View, row and column of each patch; None in files of the first release.
    places_: NDArray[np.int32] | None

    @property
    def multiple(self) -> int:
        """What the backbone needs."""
        return self._backbone.multiple

    @property
    def post(self) -> Post:
        """A Gaussian blur, as [1] has it."""
        return Post(blur=self.options.blur)

    @property
    def _backbone(self) -> Backbone:
        # Opened when first needed: making a method object reads no file.
        if not hasattr(self, "backbone_"):
            o = self.options
            self.backbone_ = open_backbone(o.backbone, o.weights, o.strides, margin=o.margin)
        return self.backbone_

    def learn(self, samples: Samples, run: Run) -> None:
        """Fill the bank with a coreset of the patches of all training images."""
        candidates = self._collect(samples, run)
        self.scale_ = self._measure_scale(candidates)
        if self.scale_ is not None:
            candidates.vectors *= self.scale_.astype(np.float16)
        picked = self._choose(candidates, candidates.wanted, None, run)
        vectors, self.origins_, self.places_ = candidates.take(picked)
        self.bank_ = vectors.astype(np.float32)
        self.images_ = candidates.images
        self._prepare()

    def update(self, samples: Samples, removed: Sequence[str], run: Run) -> None:
        """Forget the patches of removed images, then cover the new images with further patches."""
        gone = {i for i, digest in enumerate(self.images_) if digest in set(removed)}
        keep = ~np.isin(self.origins_, list(gone))
        self.bank_, self.origins_ = self.bank_[keep], self.origins_[keep]
        self.places_ = None if self.places_ is None else self.places_[keep]
        if len(samples):
            candidates = self._collect(samples, run)
            if self.scale_ is not None:
                candidates.vectors *= self.scale_.astype(np.float16)
            room = self._largest_bank(self.bank_.shape[1]) - len(self.bank_)
            wanted = min(candidates.wanted, max(room, 0))
            picked = self._choose(candidates, wanted, self.bank_, run)
            vectors, origins, places = candidates.take(picked)
            self.bank_ = np.concatenate([self.bank_, vectors], dtype=np.float32)
            self.origins_ = np.append(self.origins_, origins + len(self.images_))
            self.images_ = [*self.images_, *candidates.images]
            if self.places_ is not None:
                self.places_ = np.concatenate([self.places_, places])
        if not len(self.bank_):
            raise DataError("No patch would be left in the bank: keep some of the images.")
        self._prepare()

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Distance of every patch to the nearest patch of the bank."""
        features = self._as_in_bank(x)
        maps = np.zeros(features.shape[:3], np.float32)
        scores = np.zeros(len(x)) if self.options.score == "patch" else None
        for i, vectors in enumerate(features):
            cells = cell_valid(valid[i], maps.shape[1:])
            if not cells.any():
                continue
            patches = vectors[cells]
            distances, index = nearest(patches, self._centred, self._squares)
            maps[i][cells] = distances
            if scores is not None:
                worst = int(distances.argmax())
                score = float(distances[worst])
                scores[i] = score * self._weight(patches[worst], score, index[worst])
        return Output(maps, scores)

    def find_alike(
        self, x: Pixels, valid: NDArray[np.bool_], inside: NDArray[np.bool_]
    ) -> Alike | None:
        """The neighbour in the bank of the patch that is farthest from the bank."""
        if self.places_ is None:
            return None
        features = self._as_in_bank(x[None])[0]
        grid = features.shape[:2]
        cells = cell_valid(valid, grid) & cell_valid(inside, grid)
        if not cells.any():
            return None
        distances, index = nearest(features[cells], self._centred, self._squares)
        worst = int(distances.argmax())
        found = int(index[worst])
        number, row, column = (int(value) for value in self.places_[found])
        step = inside.shape[0] / grid[0], inside.shape[1] / grid[1]
        own = np.argwhere(cells)[worst]
        return Alike(
            at=((own[0] + 0.5) * step[0], (own[1] + 0.5) * step[1]),
            digest=self.images_[self.origins_[found]],
            number=number,
            there=((row + 0.5) * step[0], (column + 0.5) * step[1]),
            distance=float(distances[worst]),
        )

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """The same as :meth:`predict_batch`, channels first until the grids are joined."""
        side = self.options.neighbourhood
        maps = self._backbone.export(graph, x, size)
        grids = [(size[0] // s, size[1] // s) for s in self._backbone.strides]
        maps = [add_average(graph, m, side) for m in maps]
        channels, bank = self._backbone.channels, self._centred
        if self.scale_ is not None:
            maps = _by_channel(graph, "Mul", maps, self.scale_, channels)
        maps = _by_channel(graph, "Sub", maps, self._centre, channels)
        shapes = [(count, *grid) for count, grid in zip(channels, grids, strict=True)]
        found = add_nearest(graph, maps, shapes, bank, self._squares)
        cells = grids[0][0] * grids[0][1]
        valid_cells = graph.reshape(add_cell_valid(graph, valid, size, grids[0]), -1, cells)
        distances = graph.add("Where", valid_cells, found.distances, graph.floats(0))
        score = None
        if self.options.score == "patch":
            count = min(self.options.neighbours, len(bank))
            score = add_weight(graph, distances, found, bank, self._squares, count)
        return GraphOutput(graph.reshape(distances, -1, *grids[0]), grids[0], score)

    def state(self) -> State:
        """The bank, where each patch came from, and the backbone."""
        header, weights = self._backbone.state()
        arrays: dict[str, NDArray[np.generic]] = {"bank": self.bank_, "origins": self.origins_}
        if self.places_ is not None:
            arrays["places"] = self.places_
        if self.scale_ is not None:
            arrays["scale"] = self.scale_
        arrays |= {f"backbone.{name}": array for name, array in weights.items()}
        return {"backbone": header, "images": self.images_}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back bank and backbone."""
        self.backbone_ = restore_backbone(header["backbone"], part(arrays, "backbone."))
        self.bank_ = np.asarray(arrays["bank"], np.float32)
        self.origins_ = np.asarray(arrays["origins"], np.int64)
        self.scale_ = np.asarray(arrays["scale"], np.float32) if "scale" in arrays else None
        self.places_ = np.asarray(arrays["places"], np.int32) if "places" in arrays else None
        self.images_ = list(header["images"])
        self._prepare()

    def _prepare(self) -> None:
        # Around their mean vectors are short. Far from the origin, where a channel hardly varies,
        # the products of the search would be too large to tell near ones apart.
        self._centre = self.bank_.mean(axis=0)
        self._centred = self.bank_ - self._centre
        self._squares = np.einsum("ij,ij->i", self._centred, self._centred)

    def _as_in_bank(self, x: Pixels) -> Features:
        """(B, H, W, 3) to (B, h, w, C): scaled and centred like the bank that is searched."""
        features = self._embed(x)
        if self.scale_ is not None:
            features *= self.scale_
        features -= self._centre
        return features

    def _embed(self, x: Pixels, backbone: Backbone | None = None) -> Features:
        """(B, H, W, 3) to patch features (B, h, w, C) on the grid of the finest stride."""
        maps, side = (backbone or self._backbone)(x), self.options.neighbourhood
        return join_grids([average_neighbourhood(m, side) for m in maps])

    def _wanted(self, patches: int) -> int:
        """How many of so many patches go into the bank; an update has a bank already."""
        least = self.options.smallest_bank - len(getattr(self, "bank_", ()))
        return max(1, round(self.options.coreset * patches), least)

    def _largest_bank(self, channels: int) -> int:
        return int(self.options.bank_mb * 1e6 // (4 * channels))

    def _collect(self, samples: Samples, run: Run) -> Candidates:
        """Compute the features of all images; keep as many patches as the memory allows.

        Several processes take a run of the images each, and keep the features of these alone.
        """
        team = join_team(run)
        first, end = (len(samples) * rank // team.size for rank in (team.rank, team.rank + 1))
        if team.size > 1:
            samples = samples.part(record.key for record in samples.data.records[first:end])
        candidates: Candidates | None = None
        generator = np.random.default_rng(run.seed + team.rank)
        backbone = cached(self._backbone, samples, run)
        done, shown = 0, len(samples) * samples.views_per_image * samples.passes
        started = time.perf_counter()
        changing = np.random.default_rng([run.seed, 1])
        for batch in samples.changed_batches(BATCH, changing, keep=False):
            features = self._embed(batch.x, backbone)
            if candidates is None:
                seconds = time.perf_counter() - started
                candidates = self._plan(features, shown, seconds / len(batch.keys), run)
                candidates.team = team
            candidates.add(features, batch, generator)
            done += len(batch.keys)
            run.progress("features", min(done, shown), shown)
        if candidates is None or not candidates.filled:
            raise DataError("No training image has a valid patch: check the region of interest.")
        candidates.trim(self._wanted(sum(team.gather(candidates.seen))))
        return candidates

    def _plan(self, features: Features, views: int, seconds: float, run: Run) -> Candidates:
        """Predict memory and time from the first batch, before anything large is made.

        Args:
            features: Of the first batch.
            views: Views in all.
            seconds: Time per view.
            run: Is told.
        """
        channels = features.shape[3]
        patches = views * features.shape[1] * features.shape[2]
        each = 2 * channels + 4 * min(channels, PROJECTED)
        room = int(self.options.memory_mb * 1e6 // each)
        kept, largest = min(patches, room), self._largest_bank(channels)
        if largest < 1 or room < 1:
            raise BudgetError(
                f"One patch has {each} bytes: bank_mb={self.options.bank_mb} and memory_mb="
                f"{self.options.memory_mb} leave no room for any."
            )
        bank = min(largest, kept, self._wanted(patches))
        run.say(
            f"PatchCore: {patches:,} patches with {channels} channels; {kept:,} candidates "
            f"({kept * each / 1e6:.0f} MB), bank {bank:,} ({bank * channels * 4 / 1e6:.1f} MB); "
            f"about {seconds * views:.0f} s for features and "
            f"{2e-11 * kept * bank * min(channels, PROJECTED):.0f} s for the coreset."
        )
        return Candidates(np.empty((kept, channels), np.float16), kept / patches, largest)

    def _measure_scale(self, candidates: Candidates) -> NDArray[np.float32] | None:
        wanted = self.options.standardise
        if wanted is None:
            wanted = self.options.backbone == "filter_bank"
        if not wanted:
            return None
        return channel_scale(candidates.some(100_000).std(axis=0))

    def _choose(
        self, candidates: Candidates, count: int, start: NDArray[np.float32] | None, run: Run
    ) -> NDArray[np.int64]:
        projection = random_projection(candidates.vectors.shape[1], PROJECTED, run.seed)
        points = np.empty((len(candidates.vectors), projection.shape[1]), np.float32)
        for first in range(0, len(points), 4096):
            rows = slice(first, first + 4096)
            points[rows] = candidates.vectors[rows].astype(np.float32) @ projection
        return greedy_coreset(
            points,
            count,
            start=None if start is None else start @ projection,
            progress=lambda done, total: run.progress("coreset", done, total),
            team=candidates.team,
        )

    def _weight(self, patch: NDArray[np.float32], score: float, index: int) -> float:
        """Re-weighting of equation 7 in [1]: a rare nearest neighbour makes a score count more."""
        count = min(self.options.neighbours, len(self.bank_))
        if count < 2:
            return 1.0
        near = self._squares - 2 * (self._centred @ self._centred[index])
        support = self._centred[np.argpartition(near, count - 1)[:count]]
        distances = np.linalg.norm(support - patch, axis=1).astype(np.float64)
        # The nearest vector is part of its own neighbourhood, in [1] too.
        # Beyond 700 the exponential overflows, and the weight has long been 1.
        return float(1 - 1 / np.exp(np.minimum(distances - score, 700)).sum())


def _by_channel(
    graph: Graph,
    kind: str,
    maps: Sequence[str],
    values: NDArray[np.float32],
    channels: Sequence[int],
) -> list[str]:
    """Add an operation of every map (B, C, h, w) and its own C of the values of all channels."""
    parts = np.split(values[:, None, None], np.cumsum(channels)[:-1])
    return [graph.add(kind, m, graph.floats(own)) for m, own in zip(maps, parts, strict=True)]
