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
from blemish.preprocess import Geometry, Layout
from blemish.samples import Samples, Views, to_float
from blemish.settings import Settings, make_geometry
from blemish.types import Image, Map, Mask, Pixels

HELD_OUT = 0.25  # of the parts; they tell what good regions score
LEAST_SPREAD = 0.02  # of the usual score: few held-out parts may happen to score alike
BATCH = 8  # parts per pass while measuring
Cut = tuple[NDArray[np.uint8], NDArray[np.bool_], Layout]  # views, their valid pixels, where
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
        judges = []
        for region, name, values in _choices(self.options):
            judge = _open(region, name, values, samples[0].valid[0])
            run.say(f"{region.name}: {name}.")
            folder = None if run.checkpoint is None else run.checkpoint / region.name
            label = f"{run.label} {region.name}".strip()
            own = replace(run, history={}, checkpoint=folder, label=label)
            judge.learn(samples, own)
            run.history |= {f"{region.name}: {curve}": own.history[curve] for curve in own.history}
            judges.append(judge)
        self.judges_ = judges

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Ask every region's method; maps and scores in deviations from what is usual there."""
        maps = np.zeros(valid.shape, np.float32)
        scores = np.full((len(self.judges_), len(x)), -np.inf)
        for number, judge in enumerate(self.judges_):
            for row, found in judge.look(x, valid, keys).items():
                maps[row][judge.box(valid[row])] = (found[0] - judge.peak[0]) / judge.peak[1]
                scores[number, row] = (found[1] - judge.score[0]) / judge.score[1]
        return Output(maps, np.nan_to_num(scores.max(axis=0), neginf=0.0))

    def state(self) -> State:
        """Header and arrays of all regions."""
        headers: list[dict[str, Any]] = []
        arrays: dict[str, NDArray[np.generic]] = {}
        for judge in self.judges_:
            inner, stored = judge.method.state()
            geometry = judge.geometry.to_json()
            scale = {"peak": list(judge.peak), "score": list(judge.score)}
            headers.append({"geometry": geometry, **scale, "state": inner})
            arrays |= {f"{judge.region.name}.{name}": array for name, array in stored.items()}
        return {"regions": headers}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back all regions."""
        judges = []
        for (region, name, values), stored in zip(
            _choices(self.options), header["regions"], strict=True
        ):
            geometry = Geometry.from_json(stored["geometry"], None)
            judge = _Judge(region, _make(name, values), geometry)
            judge.method.restore(stored["state"], part(arrays, f"{region.name}."))
            judge.peak, judge.score = _pair(stored["peak"]), _pair(stored["score"])
            judges.append(judge)
        self.judges_ = judges


@dataclass
class _Judge:
    """A region with its method.

    Attributes:
        region: Which part of a view.
        method: What looks at it.
        geometry: From the region to what the method sees.
        peak: Usual peak of the map on good regions, and its deviation.
        score: Usual score of good regions, and its deviation.
    """

    region: PartRegion
    method: Method
    geometry: Geometry
    peak: tuple[float, float] = (0.0, 1.0)
    score: tuple[float, float] = (0.0, 1.0)

    def learn(self, samples: Samples, run: Run) -> None:
        """Learn from most parts, and measure peaks and scores on the others."""
        # Another salt than the calibration split: its end of the ranking is not here any more.
        most, held_out = samples.hold_out(HELD_OUT, f"{run.seed}|regions")
        self.method.learn(self.samples_of(most), run)
        found: list[tuple[Map, float]] = []
        for batch in held_out.batches(BATCH, keep=False):
            found += self.look(batch.x, batch.valid, batch.keys).values()
        self.peak = _usual([float(own.max()) for own, _ in found])
        self.score = _usual([score for _, score in found])
        if self.method.cheap_fits and most is not samples:
            # The scale is known; what it was measured on need not be missing in the bank.
            self.method = type(self.method)(self.method.options)
            self.method.learn(self.samples_of(samples), run)

    def samples_of(self, samples: Samples) -> Samples:
        """Samples of the region from those of the part."""

        def views(record: Record) -> Views:
            whole = samples.read(record, keep=False)
            pixels, valid, _ = self.cut(whole.pixels[0], whole.valid[0])[1]
            return Views(record, pixels, valid, None, whole.digest)

        kept = samples.keep_bytes
        return Samples(samples.data, self.geometry, keep_bytes=kept, source=views)

    def box(self, valid: Mask) -> tuple[slice, slice]:
        """Rows and columns of the region in a view (H, W) whose part is where `valid` is."""
        ends = []
        for axis in (1, 0):
            inside = np.flatnonzero(valid.any(axis=axis))
            ends.append((int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0))
        (top, bottom), (left, right) = ends
        rows, columns = self.region.slices((bottom - top, right - left))
        return _moved(rows, top, bottom), _moved(columns, left, right)

    def cut(self, pixels: Image, valid: Mask) -> tuple[Geometry, Cut]:
        """The region of a view (H, W, 3) uint8 as the method sees it, and the geometry for it."""
        box = self.box(valid)
        inside = valid[box]
        partly = inside.any() and not inside.all()
        geometry = replace(self.geometry, roi=inside if partly else None)
        seen, ok, layout = geometry.views(np.ascontiguousarray(pixels[box]))
        return geometry, (seen, ok & inside.any(), layout)

    def look(
        self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]
    ) -> dict[int, tuple[Map, float]]:
        """Map (h, w) of the region and its score, as a detector would make them.

        Args:
            x: (B, H, W, 3) float32 in [0, 1], views of the part.
            valid: (B, H, W) bool.
            keys: Names of the images.

        Returns:
            By row; rows without a valid pixel in the region are left out.
        """
        pixels = np.rint(x * np.float32(255)).astype(np.uint8)  # the inverse of samples.to_float
        rows = [row for row, inside in enumerate(valid) if inside[self.box(inside)].any()]
        if not rows:
            return {}
        cuts = [self.cut(pixels[row], valid[row]) for row in rows]
        output = self.method.predict_batch(
            to_float(np.concatenate([seen for _, (seen, _, _) in cuts])),
            np.concatenate([ok for _, (_, ok, _) in cuts]),
            [keys[row] for row in rows],
        )
        found = {}
        for number, (row, (geometry, (_, _, layout))) in enumerate(zip(rows, cuts, strict=True)):
            own, score = self._finish(output.maps[number], geometry, layout)
            found[row] = own, score if output.scores is None else float(output.scores[number])
        return found

    def _finish(self, grid: Map, geometry: Geometry, layout: Layout) -> tuple[Map, float]:
        """From a method's map (gh, gw) to the smoothed map of the region and its pooled score."""
        post = self.method.post
        canvas = geometry.to_canvas(grid[None], layout)
        if post.frame == "canvas":
            inside = geometry.canvas_valid(layout)
            canvas = smooth(canvas, inside, post)
            return geometry.to_image(canvas, layout), pool_score(canvas, inside, post)
        inside = geometry.image_valid(layout)
        own = smooth(geometry.to_image(canvas, layout), inside, post)
        return own, pool_score(own, inside, post)


def _open(region: PartRegion, name: str, values: Mapping[str, Any], whole: Mask) -> _Judge:
    """A region's method that has not learned; `whole` (H, W) bool is where the part is in a view.

    Raises:
        CapabilityError: A method that learns from defects.
    """
    method = _make(name, values)
    if method.supervision != "normal":
        raise CapabilityError(
            f"{name} learns from defects, and by_region from good parts only; choose another for "
            f"the region {region.name}."
        )
    wanted = {key: value for key, value in values.items() if key in GEOMETRY}
    settings = build(Settings, wanted, f"the region {region.name}")
    judge = _Judge(region, method, Geometry((1, 1)))
    height, width = whole[judge.box(whole)].shape
    judge.geometry = make_geometry(
        settings, [(height, width)], method.multiple, method.default_size
    )
    return judge


def _moved(inner: slice, first: int, last: int) -> slice:
    """A slice of first … last; in an image of few pixels a region still has one."""
    start = min(inner.start, max(last - first - 1, 0))
    return slice(first + start, min(first + max(inner.stop, start + 1), last))


def _usual(values: Sequence[float]) -> tuple[float, float]:
    """Usual value and deviation of what good regions gave."""
    known = np.asarray(values or [0.0])
    centre = float(np.median(known))
    return centre, max(float(known.std()), LEAST_SPREAD * abs(centre), 1e-9)


def _pair(values: Sequence[float]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _choices(options: ByRegionOptions) -> list[tuple[PartRegion, str, dict[str, Any]]]:
    """Each region with the name of its method and that method's option values.

    Raises:
        OptionError: Another number of methods than regions, or regions that do not tile the part.
        UnknownNameError: No such method, preset or region.
    """
    regions = read_regions(options.regions)
    chosen = options.methods * (len(regions) if len(options.methods) == 1 else 1)
    if len(chosen) != len(regions):
        raise OptionError(
            f"methods={','.join(options.methods)!r} names {len(chosen)} methods for "
            f"{len(regions)} regions; give one, or one for each region."
        )
    given = parse_assignments(filter(None, options.inner.split(";")))
    for key in given:
        where, dot, _ = key.rpartition(".")
        if dot and where not in {region.name for region in regions}:
            raise UnknownNameError("region in option inner", where, [r.name for r in regions])
    found = []
    for region, name in zip(regions, chosen, strict=True):
        presets = registry.get("methods", name).presets
        if options.inner_preset not in presets:
            raise UnknownNameError(f"preset of {name}", options.inner_preset, presets)
        common = {key: value for key, value in given.items() if "." not in key}
        own = {
            key.rpartition(".")[2]: value
            for key, value in given.items()
            if key.startswith(f"{region.name}.")
        }
        found.append((region, name, {**presets[options.inner_preset], **common, **own}))
    return found


def _make(name: str, values: Mapping[str, Any]) -> Method:
    """A method that has learned nothing.

    Raises:
        UnknownNameError: An option that neither the method nor the geometry of a region has.
    """
    cls: type[Method] = registry.get("methods", name)
    own = {key: value for key, value in values.items() if key not in GEOMETRY}
    for key in own:
        if key not in names(cls.Options):
            known = [*names(cls.Options), *GEOMETRY]
            raise UnknownNameError(f"option of a region's {name}", key, known)
    return cls(build(cls.Options, own, f"method {name}"))
