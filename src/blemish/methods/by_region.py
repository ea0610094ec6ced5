"""One method for each region of a part, and one decision for the whole part.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: anode, glass and cathode of a plate, each with its own network.

Differs from [1]: there each region is judged alone. Three detectors that each flag a share of good
regions flag up to three times that share of good parts, which nobody asked for. Here scores and
maps of all regions are brought to one scale, the deviation from what held-out good regions score;
the part's score is that of its worst region, and the detector calibrates that one score. So the
rate that is asked for is the rate of the part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import registry
from blemish.datasets.base import Record
from blemish.errors import CapabilityError, OptionError, UnknownNameError
from blemish.maps import pool_score, smooth
from blemish.methods.base import Method, Output, Run, State
from blemish.model_file import part
from blemish.options import build, names, option, parse_assignments
from blemish.preparation.regions import THIRDS, PartRegion, read_regions
from blemish.preprocess import Geometry
from blemish.samples import Samples, Views, to_float
from blemish.settings import Settings, make_geometry
from blemish.types import Image, Map, Mask, Pixels

HELD_OUT = 0.25  # of the parts; they tell what good regions score
LEAST_SPREAD = 0.02  # of the usual score: few held-out parts may happen to score alike
BATCH = 8  # parts per pass while measuring
# What a region's method may ask of its geometry; all else belongs to the detector of the part.
GEOMETRY = ("image_size", "fit", "interpolation")


@dataclass(frozen=True)
class ByRegionOptions:
    """Options of a method of methods."""

    regions: tuple[str, ...] = option(
        THIRDS, "name=top:bottom or name=left:top:right:bottom, in shares of the part."
    )
    methods: tuple[str, ...] = option(
        ("patchcore",), "Method of every region, or one for each in their order."
    )
    inner_preset: str = option("small", "Preset of the regions' methods.")
    inner: str = option(
        "", "Their options: key=value for all regions or region.key=value for one, between ';'."
    )


class ByRegion(Method):
    """A method for every region of a part."""

    Options = ByRegionOptions
    presets = {  # noqa: RUF012
        "tiny": {"regions": ("left=0:0:1/2:1", "right=1/2:0:1:1"), "inner_preset": "tiny"},
        "small": {},
    }

    options: ByRegionOptions

    def learn(self, samples: Samples, run: Run) -> None:
        """Let every region's method learn, and measure what good regions score.

        Raises:
            OptionError: Regions that do not tile the part, tiles, or an option that is none.
            CapabilityError: A method that learns from defects.
        """
        if samples.geometry.tile:
            raise OptionError("by_region cuts views into regions: leave tile out.")
        whole = samples[0].valid[0]
        learned = []
        for region in read_regions(self.options.regions):
            task = _open(region, self.options, whole)
            run.say(f"{region.name}: {task.name}.")
            learned.append(_learn(task, samples, _run_of(region, run)))
            run.history |= {f"{region.name}: {k}": v for k, v in learned[-1].history.items()}
        self.regions_ = learned

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Ask every region's method; maps and scores in deviations from what is usual there."""
        pixels = np.rint(x * np.float32(255)).astype(np.uint8)  # the inverse of samples.to_float
        maps = np.zeros(valid.shape, np.float32)
        scores = np.full((len(self.regions_), len(x)), -np.inf)
        for number, own in enumerate(self.regions_):
            for row, (found, score) in enumerate(own.look(pixels, valid, keys)):
                maps[row][own.region_in(valid[row])] = (found - own.map_[0]) / own.map_[1]
                scores[number, row] = (score - own.score_[0]) / own.score_[1]
        return Output(maps, np.nan_to_num(scores.max(axis=0), neginf=0.0))

    def state(self) -> State:
        """Header and arrays of all regions."""
        headers, arrays = [], {}
        for own in self.regions_:
            header, stored = own.method.state()
            arrays |= {f"{own.region.name}.{name}": array for name, array in stored.items()}
            headers.append(
                {
                    "geometry": own.geometry.to_json(),
                    "map": own.map_,
                    "score": own.score_,
                    "state": header,
                }
            )
        return {"regions": headers}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back all regions."""
        self.regions_ = []
        regions = read_regions(self.options.regions)
        for region, stored in zip(regions, header["regions"], strict=True):
            geometry = Geometry.from_json(stored["geometry"], None)
            name, values = _choice(region, self.options)
            method = _make(name, values)
            method.restore(stored["state"], part(arrays, f"{region.name}."))
            low, high = (tuple(map(float, stored[key])) for key in ("map", "score"))
            self.regions_.append(_Learned(region, name, method, geometry, low, high, {}))


@dataclass(frozen=True)
class _Learned:
    """A region with its method.

    Attributes:
        region: Which part of the view.
        name: Of the method.
        method: Has learned, once there is a scale.
        geometry: From the region to what the method sees.
        map_: Usual peak of the map on good regions, and its deviation.
        score_: Usual score, and its deviation.
        history: Curves of its training.
    """

    region: PartRegion
    name: str
    method: Method
    geometry: Geometry
    map_: tuple[float, ...]
    score_: tuple[float, ...]
    history: Mapping[str, list[float]]

    def region_in(self, valid: Mask) -> tuple[slice, slice]:
        """Rows and columns of the region in a view (H, W) whose part is where `valid` is."""
        rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        box = (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
        inner = self.region.slices((box[0][1] - box[0][0], box[1][1] - box[1][0]))
        low, high = (
            # A region of an image of few pixels still has one.
            slice(first + min(s.start, last - first - 1), first + max(s.stop, s.start + 1))
            for (first, last), s in zip(box, inner, strict=True)
        )
        return low, high

    def cut(self, pixels: Image, valid: Mask) -> tuple[Geometry, Image]:
        """The region of a view (H, W, 3) as an image of its own, and its geometry."""
        box = self.region_in(valid)
        inside = valid[box]
        roi = None if inside.all() or not inside.any() else inside
        return replace(self.geometry, roi=roi), np.ascontiguousarray(pixels[box])

    def views_of(self, samples: Samples, record: Record) -> Views:
        """What the region's method sees of an image."""
        whole = samples.read(record, keep=False)
        geometry, image = self.cut(whole.pixels[0], whole.valid[0])
        pixels, valid, _ = geometry.views(image)
        return Views(record, pixels, valid, None, whole.digest)

    def look(
        self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], keys: Sequence[str]
    ) -> list[tuple[Map, float]]:
        """Map (h, w) of the region and score of each view, as a detector would make them."""
        places, views = [], []
        for row, inside in enumerate(valid):
            box = self.region_in(inside)
            if inside[box].any():
                geometry, image = self.cut(pixels[row], inside)
                places.append((row, geometry))
                views.append(geometry.views(image))
        found = [
            (np.zeros(inside[self.region_in(inside)].shape, np.float32), -np.inf)
            for inside in valid
        ]
        if not views:
            return found
        output = self.method.predict_batch(
            to_float(np.concatenate([view for view, _, _ in views])),
            np.concatenate([ok for _, ok, _ in views]),
            [keys[row] for row, _ in places],
        )
        for number, ((row, geometry), (_, _, layout)) in enumerate(zip(places, views, strict=True)):
            post, inside = self.method.post, geometry.image_valid(layout)
            canvas = geometry.to_canvas(output.maps[number : number + 1], layout)
            if post.frame == "canvas":
                canvas = smooth(canvas, geometry.canvas_valid(layout), post)
            own = geometry.to_image(canvas, layout)
            if post.frame == "image":
                own = smooth(own, inside, post)
            score = None if output.scores is None else float(output.scores[number])
            found[row] = own, pool_score(own, inside, post) if score is None else score
        return found


def _open(region: PartRegion, options: ByRegionOptions, whole: Mask) -> _Learned:
    """A region's method that has not learned; `whole` (H, W) bool is where the part is in a view.

    Raises:
        CapabilityError: A method that learns from defects.
    """
    name, values = _choice(region, options)
    method = _make(name, values)
    if method.supervision != "normal":
        raise CapabilityError(
            f"{name} learns from defects, and by_region from good parts only; choose another for "
            f"the region {region.name}."
        )
    wanted = {key: value for key, value in values.items() if key in GEOMETRY}
    settings = build(Settings, wanted, f"the region {region.name}")
    own = _Learned(region, name, method, Geometry((1, 1)), (0.0, 1.0), (0.0, 1.0), {})
    shape = whole[own.region_in(whole)].shape
    geometry = make_geometry(settings, [shape], method.multiple, method.default_size)
    return replace(own, geometry=geometry)


def _learn(own: _Learned, samples: Samples, run: Run) -> _Learned:
    """Learn from most parts, measure the usual scores on the others."""
    # Another salt than the calibration split: its end of the ranking is not here any more.
    most, held_out = samples.hold_out(HELD_OUT, f"{run.seed}|regions")
    own.method.learn(_samples_of(own, most), run)
    peaks, scores = [], []
    for batch in held_out.batches(BATCH, keep=False):
        pixels = np.rint(batch.x * np.float32(255)).astype(np.uint8)
        for own_map, score in own.look(pixels, batch.valid, batch.keys):
            peaks.append(float(own_map.max()))
            scores.append(score)
    method = own.method
    if method.cheap_fits and most is not samples:
        # The scale is known; what it was measured on need not be missing in the bank.
        method = type(method)(method.options)
        method.learn(_samples_of(own, samples), run)
    return replace(
        own, method=method, map_=_scale(peaks), score_=_scale(scores), history=dict(run.history)
    )


def _samples_of(own: _Learned, samples: Samples) -> Samples:
    views = partial(own.views_of, samples)
    return Samples(samples.data, own.geometry, keep_bytes=samples.keep_bytes, source=views)


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Usual value and deviation of what good regions gave."""
    known = np.asarray([value for value in values if np.isfinite(value)] or [0.0])
    centre = float(np.median(known))
    return centre, max(float(known.std()), LEAST_SPREAD * abs(centre), 1e-9)


def _run_of(region: PartRegion, run: Run) -> Run:
    """What the learning of one region is given."""
    folder = None if run.checkpoint is None else run.checkpoint / region.name
    return replace(run, history={}, checkpoint=folder, label=f"{run.label} {region.name}".strip())


def _choice(region: PartRegion, options: ByRegionOptions) -> tuple[str, dict[str, Any]]:
    """Name and option values of a region's method.

    Raises:
        OptionError: Another number of methods than regions, or an option for no region.
    """
    known = [r.name for r in read_regions(options.regions)]
    chosen = options.methods * (len(known) if len(options.methods) == 1 else 1)
    if len(chosen) != len(known):
        raise OptionError(
            f"methods={','.join(options.methods)!r} names {len(chosen)} methods for {len(known)} "
            "regions; give one, or one for each region."
        )
    name = chosen[known.index(region.name)]
    presets = registry.get("methods", name).presets
    if options.inner_preset not in presets:
        raise UnknownNameError(f"preset of {name}", options.inner_preset, presets)
    values = dict(presets[options.inner_preset])
    for key, value in parse_assignments(filter(None, options.inner.split(";"))).items():
        where, dot, inner_key = key.rpartition(".")
        if dot and where not in known:
            raise UnknownNameError("region in option inner", where, known)
        if not dot or where == region.name:
            values[inner_key] = value
    return name, values


def _make(name: str, values: Mapping[str, Any]) -> Method:
    """A method that has learned nothing.

    Raises:
        UnknownNameError: An option that neither the method nor the geometry of a region has.
    """
    cls: type[Method] = registry.get("methods", name)
    own = {key: value for key, value in values.items() if key not in GEOMETRY}
    for key in own:
        if key not in names(cls.Options):
            raise UnknownNameError(
                f"option of a region's {name}", key, [*names(cls.Options), *GEOMETRY]
            )
    return cls(build(cls.Options, own, f"method {name}"))
