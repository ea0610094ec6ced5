"""Split the images of a part into its regions: one data set for each, with labels of its own.

A plate whose defect lies in the anode is good as far as the cathode goes. Labels that a region
inherits from the whole part call it defective, and a detector of cathodes is then measured on
defects that it cannot see. Here the masks say which region is defective, so a defective image
without a mask is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.datasets.base import DataSet, Record
from blemish.errors import DataError
from blemish.images import write_png
from blemish.parallel import read_ahead
from blemish.preparation.crop_files import file_of, row_of, write_manifest
from blemish.preparation.regions import PartRegion
from blemish.run import Progress, silent
from blemish.types import Image, Mask


@dataclass(frozen=True)
class SubParts:
    """The data sets of the regions.

    Attributes:
        manifests: Name of a region to its ``manifest.csv``.
        defective: Name of a region to how many of its images are defective.
        images: How many images each region has.
    """

    manifests: Mapping[str, Path]
    defective: Mapping[str, int]
    images: int


def split_parts(
    data: DataSet,
    folder: str | Path,
    regions: Sequence[PartRegion],
    *,
    progress: Progress = silent,
) -> SubParts:
    """Write one data set per region: images, masks, and labels from the masks.

    Args:
        data: Images of whole parts that lie alike, such as cut-outs.
        folder: Each region goes into a folder of its name.
        regions: From :func:`blemish.preparation.regions.read_regions`.
        progress: Called after every image.

    Raises:
        DataError: A defective image without a mask, or whose mask lies outside every region.
    """
    folder = Path(folder)
    bare = [r.key for r in data if r.defective and r.mask is None]
    if bare:
        raise DataError(
            f"{len(bare)} defective images have no mask (first: {bare[0]}), so nothing says which "
            "region is defective. Mark them, or leave them out."
        )
    rows: dict[str, list[dict[str, Any]]] = {region.name: [] for region in regions}

    def split(record: Record) -> dict[str, bool]:
        image = data.image(record)
        mask = data.mask(record, (image.shape[0], image.shape[1]))
        return _write(folder, record, image, mask, regions)

    for done, (record, labels) in enumerate(zip(data, read_ahead(split, data), strict=True), 1):
        for name, defective in labels.items():
            mask = f"masks/{file_of(record.key)}" if defective else ""
            image = f"images/{file_of(record.key)}"
            rows[name].append(row_of(record, image, mask, defective=defective))
        progress("split", done, len(data))
    return SubParts(
        {name: write_manifest(folder / name / "manifest.csv", own) for name, own in rows.items()},
        {name: sum(row["label"] == "defective" for row in own) for name, own in rows.items()},
        len(data),
    )


def _write(
    folder: Path, record: Record, image: Image, mask: Mask | None, regions: Sequence[PartRegion]
) -> dict[str, bool]:
    """Write the regions of one image; tells which are defective."""
    shape = (image.shape[0], image.shape[1])
    boxes = {region.name: region.slices(shape) for region in regions}
    labels = {name: mask is not None and bool(mask[box].any()) for name, box in boxes.items()}
    if record.defective and not any(labels.values()):
        raise DataError(
            f"The defect of {record.key} lies outside every region "
            f"({', '.join(labels)}), so no region would be defective. Correct its mask or the "
            "regions, or leave it out."
        )
    for name, box in boxes.items():
        if not image[box].size:
            raise DataError(
                f"The region {name} has no pixel in {record.key} ({shape[1]}×{shape[0]} pixels); "
                "make it larger."
            )
        write_png(folder / name / "images" / file_of(record.key), image[box])
        if labels[name] and mask is not None:
            write_png(folder / name / "masks" / file_of(record.key), mask[box])
    return labels
