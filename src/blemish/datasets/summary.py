"""What a data set holds, as a report to read and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DataReport:
    """What a data set holds, and one sentence per problem with its next step.

    Attributes:
        name: Of the data set.
        reader: Registered name of the reader.
        counts: Split to kind (``"good"`` or a defect type) to number of images.
        groups: Split to number of parts that were photographed.
        sizes: In pixels: ``"width"`` and ``"height"`` (smallest, largest), ``"distinct"`` (number
            of sizes) and ``"most_common"`` (up to five ``"<width>×<height>"`` to number of images).
        colours: ``"grey"`` and ``"colour"`` to number of images; grey by pixels, not by format.
        bits: Bits per channel to number of images.
        formats: Format of the file to number of images; ``"drawn"`` for images without a file.
        masks: Numbers of defective images: ``"marked"``, ``"empty"`` and ``"missing"``.
        defect_area: ``"smallest_px"``, ``"median_px"``, ``"largest_px"`` and ``"median_share"`` (of
            the image, in [0, 1]) over the marked images; None where there are none.
        unreadable: Key and reason of every image or mask that cannot be used.
        duplicates: Keys of images with the same pixels, two by two.
        problems: What makes figures wrong or learning impossible.
        warnings: What is worth knowing.
    """

    name: str
    reader: str
    counts: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, int]
    sizes: Mapping[str, Any]
    colours: Mapping[str, int]
    bits: Mapping[int, int]
    formats: Mapping[str, int]
    masks: Mapping[str, int]
    defect_area: Mapping[str, float] | None
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether no problem was found; warnings do not count."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {**asdict(self), "bits": {str(n): count for n, count in self.bits.items()}}
        for name in ("unreadable", "duplicates"):
            plain[name] = [list(pair) for pair in plain[name]]
        return plain | {"problems": list(self.problems), "warnings": list(self.warnings)}

    def text(self) -> str:
        """For reading in a terminal."""
        total = sum(sum(kinds.values()) for kinds in self.counts.values())
        lines = [f"{self.name}: {total} images, read as {self.reader or 'own records'}", ""]
        lines += self._table()
        lines += ["", f"size     {self._size()}"]
        depth = ", ".join(f"{n} bits" for n in self.bits)
        lines += [f"pixels   {_first(self.colours)}; {depth}; {_first(self.formats)}"]
        lines += [f"masks    {', '.join(f'{n} {what}' for what, n in self.masks.items())}"]
        if area := self.defect_area:
            lines += [
                f"defects  {area['smallest_px']:.0f} to {area['largest_px']:.0f} pixels, median "
                f"{area['median_px']:.0f} = {area['median_share']:.2%} of the image"
            ]
        for title, sentences in (("problems", self.problems), ("warnings", self.warnings)):
            if sentences:
                lines += ["", f"{len(sentences)} {title}:", *(f"- {s}" for s in sentences)]
        if self.unreadable:
            lines += ["", "not readable:", *(f"- {reason}" for _, reason in self.unreadable)]
        return "\n".join([*lines, "", "usable" if self.usable else "not usable as it is"])

    def _size(self) -> str:
        common = next(iter(self.sizes["most_common"].items()), ("none", 0))
        if self.sizes["distinct"] < 2:
            return f"{common[0]} pixels"
        width, height = ("–".join(map(str, self.sizes[side])) for side in ("width", "height"))
        return (
            f"{width} × {height} pixels, {self.sizes['distinct']} sizes, most often {common[0]} "
            f"({common[1]} images)"
        )

    def _table(self) -> list[str]:
        """Numbers of images by split and kind, with the number of parts."""
        kinds = sorted({kind for row in self.counts.values() for kind in row})
        kinds = [kind for kind in ("good",) if kind in kinds] + [k for k in kinds if k != "good"]
        rows = [["", *kinds, "parts"]]
        for split, row in self.counts.items():
            cells = [str(row.get(kind, "–")) for kind in kinds]
            rows.append([split, *cells, str(self.groups[split])])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]


def _first(counts: Mapping[str, int], shown: int = 3) -> str:
    """``"PNG (480), JPEG (2), and 3 others"``; the number is left out where it is all."""
    parts = [f"{name} ({n})" if len(counts) > 1 else name for name, n in counts.items()]
    more = [f"and {len(parts) - shown} others"] if len(parts) > shown else []
    return ", ".join([*parts[:shown], *more]) or "none"
