"""What is remembered of each image: its name, its counts and a small sample of its good pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MetricError
from blemish.metrics.decisions import Confusion
from blemish.metrics.regions import ImageRegions

SAMPLE = 512  # good pixels kept per image for the bootstrap by group: 2 kB
GOLDEN = (5**0.5 - 1) / 2  # steps of the golden ratio spread evenly and never align with a row

_FLAGGED, _HITS, _FALSE, _MISSES, _PASSES = range(5)


class ImageLog:
    """Names, groups and exact counts of all images: about 2.2 kB each."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._known: set[str] = set()
        self._skipped: list[str] = []
        self._groups: list[str] = []
        self._counts: list[tuple[int, int, int, int, int]] = []
        self._samples: list[NDArray[np.float32]] = []
        self._lost = 0
        self._numbers: dict[str, int] = {}  # filled when a second pass asks

    @property
    def keys(self) -> tuple[str, ...]:
        """Name of each image, in the order in which they were added."""
        return tuple(self._keys)

    @property
    def count(self) -> int:
        """Images added, without those left out."""
        return len(self._keys)

    @property
    def good(self) -> int:
        """Good pixels of all images."""
        return sum(row[_FALSE] + row[_PASSES] for row in self._counts)

    @property
    def anomalous(self) -> int:
        """Anomalous pixels of all images."""
        return sum(row[_HITS] + row[_MISSES] for row in self._counts)

    def check_new(self, key: str) -> None:
        """Refuse an image that was added before.

        Raises:
            MetricError: The key, which is not empty, is known.
        """
        if key and key in self._known:
            raise MetricError(f"{key!r} was added before; an image counts once. Add it once only.")

    def skip(self, key: str) -> None:
        """Count an image whose defect was not marked."""
        self.check_new(key)
        self._known.add(key)
        self._skipped.append(key)

    def add(
        self,
        key: str,
        group: str,
        good: NDArray[np.float32],
        regions: ImageRegions,
        threshold: float | None,
        flagged: bool,
    ) -> None:
        """Count one image.

        Args:
            key: Its name.
            group: The part that was photographed, or ``""``.
            good: (n,) float32, its good pixels.
            regions: Its anomalous pixels.
            threshold: Map value above which a pixel belongs to a defect.
            flagged: The decision on the image.
        """
        self._known.add(key)
        self._keys.append(key)
        self._groups.append(group)
        above = np.inf if threshold is None else threshold
        false = int(np.count_nonzero(good > above))
        hits = int(np.count_nonzero(regions.values > above))
        misses = regions.values.size - hits
        self._counts.append((int(flagged), hits, false, misses, good.size - false))
        self._samples.append(_sample(good))
        self._lost += regions.lost

    def find(self, key: str, position: int, good: NDArray[np.float32]) -> int:
        """The number of an image that is seen again.

        Args:
            key: Its name; an image without one is the one at `position`.
            position: How many images were seen again before.
            good: (n,) float32, its good pixels, which must be those of the first time.

        Raises:
            MetricError: No such image, or its map or masks have changed.
        """
        if not self._numbers or len(self._numbers) != len(self._keys):
            self._numbers = {name: number for number, name in enumerate(self._keys)}
        number = self._numbers.get(key, -1) if key else position
        if not 0 <= number < self.count:
            raise MetricError(
                f"{key!r} was not in the first pass; both passes see the same images."
            )
        row = self._counts[number]
        same = good.size == row[_FALSE] + row[_PASSES]
        if not same or not np.array_equal(_sample(good), self._samples[number]):
            raise MetricError(
                f"The map or the masks of {key!r} differ between the passes; use the same ones, or "
                "give keys where the order differs."
            )
        return number

    def merge(self, other: ImageLog) -> None:
        """Add all images of another log.

        Raises:
            MetricError: An image that both have.
        """
        for key in other._known:
            self.check_new(key)
        self._known |= other._known
        self._keys += other._keys
        self._skipped += other._skipped
        self._groups += other._groups
        self._counts += other._counts
        self._samples += other._samples
        self._lost += other._lost

    def decisions(self) -> tuple[Confusion, Confusion]:
        """Pooled counts of pixels above the threshold, and of the masks as handed out."""
        table = np.array(self._counts, np.int64).reshape(-1, 5)
        flagged = table[:, _FLAGGED] == 1
        hits, false, misses, passes = (int(n) for n in table[:, _HITS:].sum(0))
        kept_hits, kept_false, _, _ = (int(n) for n in table[flagged, _HITS:].sum(0))
        return (
            Confusion(hits, false, misses, passes),
            Confusion(
                kept_hits, kept_false, misses + hits - kept_hits, passes + false - kept_false
            ),
        )

    def reason(self) -> str:
        """Why there are no pixel figures, or ``""``."""
        if not self._keys:
            unmarked = f" ({len(self._skipped)} without a mask were left out)"
            return "no image was added" + (unmarked if self._skipped else "")
        if not self.anomalous:
            return "the test set has no anomalous pixel"
        return "" if self.good else "the test set has no good pixel"

    def notes(self) -> tuple[str, ...]:
        """Sentences on what was left out."""
        notes = []
        if self._skipped:
            notes.append(f"Pixel figures leave out {len(self._skipped)} images without a mask.")
        if self._lost:
            notes.append(f"{self._lost} marked regions lie outside the valid area: not counted.")
        return tuple(notes)

    def groups(self) -> list[str]:
        """The group of each image; an image without one is a group of its own."""
        return [group or f"\0{number}" for number, group in enumerate(self._groups)]

    def samples(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """A sample of the good pixels (n, SAMPLE), and how many (n,) it stands for."""
        table = np.array(self._counts, np.int64).reshape(-1, 5)
        return np.stack(self._samples), table[:, _FALSE] + table[:, _PASSES]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state as plain arrays; :meth:`from_arrays` reads them back."""
        return {
            "keys": np.array(self._keys, dtype=str),
            "skipped": np.array(self._skipped, dtype=str),
            "groups": np.array(self._groups, dtype=str),
            "counts": np.array(self._counts, np.int64).reshape(-1, 5),
            "samples": np.array(self._samples, np.float32).reshape(-1, SAMPLE),
            "lost": np.array([self._lost], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ImageLog:
        """Rebuild from what :meth:`to_arrays` gave."""
        log = cls()
        log._keys = [str(key) for key in arrays["keys"]]
        log._skipped = [str(key) for key in arrays["skipped"]]
        log._known = {*log._keys, *log._skipped}
        log._groups = [str(group) for group in arrays["groups"]]
        log._counts = [tuple(row) for row in arrays["counts"].tolist()]
        log._samples = list(arrays["samples"])
        log._lost = int(arrays["lost"][0])
        return log


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """SAMPLE values spread evenly over the image; of fewer, some repeat."""
    if not values.size:
        return np.zeros(SAMPLE, np.float32)
    return values[(np.arange(1, SAMPLE + 1) * GOLDEN % 1 * values.size).astype(np.intp)]
