"""Which patches of an image are hidden: masks for training, complementary sets for judging.

All masks of a bank hide the same number of patches, so that a batch needs no padding; a bank is
made once, all its masks at the same time, and a training step only picks rows of it.

[1] Massari, Pelliccione, "DiYT", course project, Sapienza University of Rome, 2025: blocks.

Differs from [1]: of the last block only as many patches are shown as there is room for; blocks are
drawn by their centre and cut at the border (``"block"``), because drawn by their corner
(``"corner"``) they show the middle of the image thirty times as often as its corners.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blemish.errors import OptionError

MASKINGS = ("block", "corner", "random")
Masks = NDArray[np.bool_]
Cells = NDArray[np.int64]


def count_visible(grid: tuple[int, int], mask_ratio: float) -> int:
    """Patches that stay visible.

    Raises:
        OptionError: None or all would.
    """
    cells = grid[0] * grid[1]
    visible = round((1 - mask_ratio) * cells)
    if not 1 <= visible < cells:
        raise OptionError(
            f"mask_ratio={mask_ratio} leaves {visible} of {grid[1]}×{grid[0]} = {cells} patches "
            "visible, but some must be hidden and some visible; 0.75 is usual."
        )
    return visible


def draw_masks(
    kind: str, grid: tuple[int, int], visible: int, count: int, generator: np.random.Generator
) -> Masks:
    """Draw masks.

    Args:
        kind: One of `MASKINGS`: visible square blocks of 2 to half of the grid's shorter side, or
            single patches.
        grid: Rows and columns.
        visible: Patches that each mask leaves visible.
        count: Number of masks.
        generator: They derive from it alone.

    Returns:
        (count, rows · columns) bool by row, True = hidden; each row has the same number.
    """
    seen = np.zeros((count, grid[0] * grid[1]), bool)
    rest = np.full(count, visible)  # that are still to be shown
    going = np.arange(count)
    while len(going):
        new = _show(kind, grid, len(going), generator) & ~seen[going]
        over = new.sum(axis=1) > rest[going]
        new[over] &= _ranks(new[over], generator) < rest[going][over, None]
        seen[going] |= new
        rest[going] -= new.sum(axis=1)
        going = going[rest[going] > 0]
    return ~seen


def complementary(grid: tuple[int, int], passes: int, partitions: int = 1) -> Cells:
    """Part the patches into sets of equal size; a pass shows one of them.

    Square blocks of a quarter of the grid's shorter side are coloured so that neighbours differ.
    Further partitions have the same colours, moved.

    Args:
        grid: Rows and columns, both even unless `passes` is 1.
        passes: 4 or 2 sets, or 1: one set of all patches.
        partitions: How often.

    Returns:
        (passes · partitions, rows · columns / passes) int64, each row in rising order.
    """
    side = max(1, min(grid) // 4)
    rows, columns = np.indices(grid) // side
    colours = {1: rows * 0, 2: (rows + columns) % 2, 4: rows % 2 * 2 + columns % 2}[passes]
    sets = []
    for number in range(partitions):
        # By half a block and a little further each time, so that no two are the same.
        moved = np.roll(colours, (number * (side // 2 + 1), number * side), axis=(0, 1))
        # Cut at equal places, because blocks at the border may be smaller.
        ordered = moved.ravel().argsort(kind="stable")
        sets += np.array_split(ordered, passes)
    return np.sort(np.stack(sets), axis=1).astype(np.int64)


def _show(kind: str, grid: tuple[int, int], count: int, generator: np.random.Generator) -> Masks:
    """(count, N) bool: one block each, or everything to choose single patches from."""
    if kind == "random":
        return np.ones((count, grid[0] * grid[1]), bool)
    largest = max(1, min(grid) // 2)
    side = generator.integers(min(2, largest), largest + 1, count)
    inside = []
    for n in grid:
        if kind == "corner":
            first = (generator.random(count) * (n - side + 1)).astype(int)
        else:
            first = generator.integers(0, n, count) - side // 2
        cells = np.arange(n)
        inside.append((cells >= first[:, None]) & (cells < (first + side)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).reshape(count, -1)


def _ranks(chosen: Masks, generator: np.random.Generator) -> NDArray[np.intp]:
    """A random order of the chosen patches of each row, from 0; the others come after them."""
    keys = np.where(chosen, generator.random(chosen.shape), 2.0)
    return keys.argsort(axis=1).argsort(axis=1)
