"""Norms over the rows, columns, planes and tiles of a tensor, without a loop over them.

An error that is small beside a whole output may be all there is in one row of it: rows differ in size, and
a skipped tile of small values hardly shows in a norm. So sums of squares are taken over

- every row: all elements that differ in the last axis only;
- every column: all elements of one index along the last axis;
- every plane: all elements of one index along another axis, where there are three axes or more;
- every tile: 16 × 16 neighbours of the last two axes, or 256 in a row of a tensor with one axis.

A slice of fewer than 16 elements holds too few errors to be judged by, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

FEWEST = 16
SIDE = 16
NEARLY = 0.6


def norms(values: torch.Tensor) -> dict[str, torch.Tensor]:
    """The norm of every slice, by kind: "row", "column", "plane of axis d", "tile".

    Args:
        values: float64 [..., R, C].

    Returns:
        "row" [..., R]; "column" [C]; "plane of axis d" [extent of d]; "tile" [..., ⌈R/16⌉, ⌈C/16⌉], of one
        axis [⌈C/256⌉]. Kinds whose slices are all too small are absent.
    """
    if values.ndim == 0 or not values.numel():
        return {}
    squares = values.square()
    found: dict[str, torch.Tensor] = {}
    if values.ndim > 1:
        found = {"row": squares.sum(-1), "column": squares.flatten(0, -2).sum(0)}
    for axis in range(values.ndim - 1 if values.ndim > 2 else 0):
        found[f"plane of axis {axis}"] = found["row"].sum([d for d in range(values.ndim - 1) if d != axis])
    sides = tile_sides(values.shape)
    tiles = squares
    for axis, side in enumerate(sides, start=values.ndim - len(sides)):
        tiles = _grouped(tiles, axis, side)
    found["tile"] = tiles
    return {kind: found[kind].sqrt() for kind in found if elements(kind, values.shape) >= FEWEST}


def tile_sides(shape: torch.Size) -> tuple[int, ...]:
    """The extents of a tile: along the last two axes, or along the only one."""
    return (SIDE, SIDE) if len(shape) > 1 else (SIDE * SIDE,)


def elements(kind: str, shape: torch.Size) -> int:
    """How many elements a whole slice of this kind holds."""
    extents = [int(extent) for extent in shape]
    if kind == "tile":
        sides = tile_sides(shape)
        return math.prod(map(min, sides, extents[-len(sides) :]))
    if kind == "row":
        return extents[-1]
    axis = -1 if kind == "column" else int(kind.rpartition(" ")[2])
    return math.prod(extents) // extents[axis]


def too_small(kind: str, shape: torch.Size, device: torch.device) -> torch.Tensor | None:
    """Where tiles at the edges hold too few elements, [⌈R/16⌉, ⌈C/16⌉]; None where there are no such."""
    if kind != "tile":
        return None
    counts = torch.ones((), dtype=torch.int64, device=device)
    sides = tile_sides(shape)
    for extent, side in zip(shape[-len(sides) :], sides, strict=True):
        starts = torch.arange(0, extent, side, device=device)
        counts = counts.unsqueeze(-1) * (extent - starts).clamp(max=side)
    small = counts < FEWEST
    return small if bool(small.any()) else None


def place(kind: str, index: int, shape: torch.Size) -> str:
    """How people call a slice: "row [3, 17]", "column 5", "plane 2 of axis 0", "the tile at [32, 48]".

    Args:
        index: into the flattened norms of this kind.
    """
    if kind == "column":
        return f"column {index}"
    if kind == "row":
        return f"row {_shown(_unravelled(index, shape[:-1]))}"
    if kind == "tile":
        sides = tile_sides(shape)
        inner = shape[-len(sides) :]
        tiles = [math.ceil(extent / side) for extent, side in zip(inner, sides, strict=True)]
        at = _unravelled(index, (*shape[: -len(sides)], *tiles))
        corner = [i * side for i, side in zip(at[-len(sides) :], sides, strict=True)]
        return f"the tile of {'×'.join(map(str, sides))} at {[*at[: -len(sides)], *corner]}"
    return f"plane {index} of {kind.removeprefix('plane of ')}"


def worst(
    errors: Mapping[str, torch.Tensor], allowed: Mapping[str, torch.Tensor], shape: torch.Size
) -> tuple[str, int] | None:
    """The slice that names best what is above its budget, as its kind and flat index; None: none is above.

    That is the one furthest above, or a larger one that is nearly as far: of a lost plane all rows are
    lost, and some row by a little more than the plane.
    """
    above: list[tuple[float, str, int]] = []
    for kind, budget in allowed.items():
        most = (errors[kind] / budget).reshape(-1).max(0)
        if float(most.values) > 1.0:
            above.append((float(most.values), kind, int(most.indices)))
    if not above:
        return None
    near = max(above)[0] * NEARLY
    _, kind, index = max(
        (one for one in above if one[0] >= near), key=lambda one: (elements(one[1], shape), one[0])
    )
    return kind, index


def _grouped(squares: torch.Tensor, axis: int, side: int) -> torch.Tensor:
    """Sums over groups of `side` neighbours along an axis, the last group as large as it is."""
    whole = squares.shape[axis] // side * side
    parts = [squares.narrow(axis, 0, whole).unflatten(axis, (-1, side)).sum(axis + 1)] if whole else []
    if whole < squares.shape[axis]:
        parts.append(squares.narrow(axis, whole, squares.shape[axis] - whole).sum(axis, keepdim=True))
    return torch.cat(parts, axis)


def _unravelled(index: int, shape: tuple[int, ...]) -> list[int]:
    place: list[int] = []
    for extent in reversed(shape):
        index, rest = divmod(index, extent)
        place.insert(0, rest)
    return place


def _shown(place: list[int]) -> str:
    return str(place[0]) if len(place) == 1 else str(place)
