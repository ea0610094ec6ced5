"""Bring anomaly maps of cut-outs back into the frames of the photos they were cut from."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from blemish.errors import DataError
from blemish.images import read_tiff, write_tiff
from blemish.preparation.crop_files import read_crops
from blemish.preparation.part_crop import IMAGES
from blemish.preparation.placement import map_to_photo
from blemish.run import Progress, silent


def maps_to_photos(
    crops: str | Path, maps: str | Path, out: str | Path, *, progress: Progress = silent
) -> int:
    """Write the map of every cut-out at the size of its photo; 0 outside the part.

    Args:
        crops: Folder that :func:`blemish.crop_parts` wrote.
        maps: Folder of float32 TIFF files, named like the cut-outs (``blemish evaluate --maps``).
        out: Folder for the maps of the photos, named like the photos.
        progress: Called after every map.

    Returns:
        How many maps were written.

    Raises:
        DataError: No maps, a map without a cut-out, or one of another size.
    """
    frame, _, entries = read_crops(crops)
    by_file = {crop.file: crop for crop in entries.values() if crop.accepted}
    paths = sorted(Path(maps).rglob("*.tiff"))
    if not paths:
        raise DataError(f"{maps} holds no .tiff map; `blemish evaluate --maps` writes them.")
    for done, path in enumerate(paths, start=1):
        name = PurePosixPath(path.relative_to(maps).as_posix()).with_suffix(".png")
        inner = name.relative_to(IMAGES) if name.parts[0] == IMAGES else name
        crop = by_file.get(str(inner))
        if crop is None or crop.found.place is None:
            raise DataError(
                f"{path} belongs to no cut-out in {crops}; give the maps of images from there."
            )
        own = read_tiff(path)
        if own.shape != (frame.height, frame.width):
            raise DataError(
                f"{path} is {own.shape[1]}×{own.shape[0]} pixels, the cut-outs "
                f"{frame.width}×{frame.height}; give maps at the size of the cut-outs."
            )
        target = Path(out) / PurePosixPath(inner).with_suffix(".tiff")
        write_tiff(target, map_to_photo(own, crop.found.place, frame, crop.shape))
        progress("maps", done, len(paths))
    return len(paths)
