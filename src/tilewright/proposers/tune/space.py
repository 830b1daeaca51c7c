"""The settings worth trying for a file's kernels, the most promising first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection, Resources
from tilewright.proposers.tune.setting import Setting
from tilewright.proposers.tune.tunables import Tunable
from tilewright.stages.model import Stage

SMALLEST_DOT = 16  # the shortest edge of a tile that a tensor core instruction takes whole
# Elements of its tile that one thread holds. Accumulators: 128×256 over 8 warps is 128, which leaves
# half of a thread's 255 registers; 64×64 over 4 warps is 32. Elementwise, 4 floats are one vector load.
HELD_BY_PRODUCT, HELD_ELEMENTWISE = (16, 64), (4, 16)  # a starved SM has registers to spare for warps
LEAST_SHARE = 0.1  # what a kernel with next to no part in the time is tried by: the estimate may be wrong
REPEATED_TILES = 0.75  # how much a second choice of warps or stages for the same tiles is put back
# 128×256×32 with 8 warps and 3 to 4 stages came within 2 % of the best on 6 of 7 matrix products on
# an H100, and a search that changes one number at a time stopped 19 to 36 % short of it.
MATMUL_ANCHORS = ((128, 256, 32, 8, 3), (128, 128, 32, 8, 3), (64, 128, 32, 4, 3), (64, 64, 32, 4, 3))


@dataclass(frozen=True)
class Pressure:
    """What inspection says about a kernel as it runs now.

    Args:
        programs: of one launch; 0 when unknown.
        starved: fewer programs than SMs.
        registers: more registers a thread than the stage warns at, or spills inside a loop.
        why: the same as half a sentence, with its figures; empty when nothing stands out.
    """

    programs: int = 0
    starved: bool = False
    registers: bool = False
    why: str = ""


def pressure(tunable: Tunable, inspection: Inspection | None, gpu: Gpu, stage: Stage) -> Pressure:
    """Read a kernel's pressure off the inspection of its present launches."""
    mine = [r for r in inspection.resources if r.kernel == tunable.name] if inspection else []
    if not mine:
        return Pressure()
    heaviest: Resources = max(mine, key=lambda r: r.count * r.grid_size)
    starved = heaviest.grid_size < gpu.sms
    spilled = heaviest.spills.in_loop
    registers = heaviest.registers_per_thread > stage.registers_warning or spilled > 0
    said = []
    if starved:
        said.append(f"{heaviest.grid_size} programs for {gpu.sms} SMs")
    if spilled:
        said.append(f"{spilled} words spilled in a loop")
    elif registers:
        said.append(f"{heaviest.registers_per_thread} registers a thread")
    return Pressure(heaviest.grid_size, starved, registers, ", ".join(said))


def neighbours(tunable: Tunable, stage: Stage, felt: Pressure, gpu: Gpu, steps: int = 1) -> list[Setting]:
    """Settings near the current one, the most promising first, the current one left out.

    Every tile kept, and halved and doubled up to `steps` times within the stage's sizes, with the stage's
    warps and stages; the file's own configs; and, for a matrix product that fills the GPU with registers
    to spare, known good starting points.
    A second choice of warps or stages for the same tiles comes later than its promise alone would say.
    """
    current = tunable.current
    edges = [_extents(tunable, extent, stage, steps) for _, extent in current.tiles]
    names = [name for name, _ in current.tiles]
    warped = stage.num_warps if tunable.varies("num_warps") else ()
    looped = stage.num_stages if tunable.kernel.loops and tunable.varies("num_stages") else ()
    warps = _options(stage, "num_warps", warped, current.num_warps)
    stages = _options(stage, "num_stages", looped, current.num_stages)
    grid = [
        Setting(tuple(zip(names, extents, strict=True)), w, s)
        for extents in itertools.product(*edges)
        for w in warps
        for s in stages
    ]
    ranked = _spread({setting: _promise(tunable, setting, felt, gpu) for setting in grid})
    roomy = not felt.registers
    first = [s for s in _anchors(tunable, stage, warps, stages) if roomy and _fills(tunable, s, felt, gpu)]
    ordered = dict.fromkeys((*tunable.own[1:], *first, *ranked))
    ordered.pop(current, None)
    return list(ordered)


def combinations(
    tunables: Sequence[Tunable],
    ranked: Sequence[Sequence[Setting]],
    most: int,
    shares: Mapping[str, float] | None = None,
) -> Iterator[dict[str, Setting]]:
    """Settings for the whole file: one kernel's next best alone, each as often as its share of the time says.

    Once each kernel had a turn, all of them at once. One of the last is a fallback: every kernel at the
    smallest setting among those considered.

    Args:
        shares: of the forward's time, by kernel, from 0 to 1; all alike without them.
    """
    made: list[dict[str, Setting]] = []
    together: dict[str, Setting] = {}
    for name, setting in _turns(tunables, ranked, shares or {}):
        fresh = name not in together
        together.setdefault(name, setting)
        alone = [{name: setting}]
        if fresh and len(together) == sum(map(bool, ranked)) > 1:
            alone.append(dict(together))
        for settings in alone:
            joined = _tie(settings, tunables)
            if joined is not None and joined not in made:
                made.append(joined)
        if len(made) >= most:
            break
    chosen = made[:most]
    varied = [tunable for tunable, settings in zip(tunables, ranked, strict=True) if settings]
    if not any(_smaller(settings, varied) for settings in chosen):
        smallest = {
            tunable.name: min(settings, key=lambda setting: setting.size)
            for tunable, settings in zip(tunables, ranked, strict=True)
            if settings
        }
        fallback = _tie(smallest, tunables)
        if fallback and _smaller(fallback, varied):
            chosen = [*chosen[: most - 1], fallback]
    yield from chosen


def _turns(
    tunables: Sequence[Tunable], ranked: Sequence[Sequence[Setting]], shares: Mapping[str, float]
) -> Iterator[tuple[str, Setting]]:
    """A kernel and its next setting at a time, dealt out by share as seats are (D'Hondt's method)."""
    waiting = {tunable.name: list(settings) for tunable, settings in zip(tunables, ranked, strict=True)}
    had = dict.fromkeys(waiting, 0)
    while open_ := [name for name, settings in waiting.items() if settings]:
        name = max(open_, key=lambda one: max(shares.get(one, 1.0), LEAST_SHARE) / (1 + had[one]))
        had[name] += 1
        yield name, waiting[name].pop(0)


def shares_of(inspection: Inspection | None) -> dict[str, float]:
    """Each kernel's part of the estimated time of all launches; empty where there is no estimate."""
    estimate = inspection.estimate if inspection else None
    if inspection is None or estimate is None:
        return {}
    spent: dict[str, float] = {}
    for resources, each_us in zip(inspection.resources, estimate.per_launch_us, strict=True):
        spent[resources.kernel] = spent.get(resources.kernel, 0.0) + resources.count * each_us
    total = sum(spent.values())
    return {name: us / total for name, us in spent.items()} if 0.0 < total < math.inf else {}


def _smaller(settings: dict[str, Setting], tunables: Sequence[Tunable]) -> bool:
    return all(t.name in settings and settings[t.name].size < t.current.size for t in tunables)


def _tie(settings: dict[str, Setting], tunables: Sequence[Tunable]) -> dict[str, Setting] | None:
    """The same with every tile that shares a literal set alike; None when two would differ."""
    known = {tunable.name: tunable for tunable in tunables}
    joined = dict(settings)
    for name, setting in settings.items():
        for tile, others in known[name].tied:
            for other, theirs in others:
                base = joined.get(other, known[other].current)
                if other in settings and base[theirs] != setting[tile]:
                    return None
                tiles = tuple((n, setting[tile] if n == theirs else e) for n, e in base.tiles)
                joined[other] = replace(base, tiles=tiles)
    return joined


def _extents(tunable: Tunable, extent: int, stage: Stage, steps: int) -> list[int]:
    """The extents to try for one tile; the present one is always among them."""
    if "tile" not in stage.tunes:
        return [extent]
    flat = len(tunable.current.tiles) == 1 and not tunable.dots
    allowed = stage.element_sizes if flat else stage.tile_sizes
    least = SMALLEST_DOT if tunable.dots else 1
    reach = {e for step in range(1, steps + 1) for e in (extent >> step, extent << step)}
    near = reach & {size for size in allowed if size >= least}
    return sorted(near | {extent})


def _options(stage: Stage, name: str, allowed: Sequence[int], current: int) -> list[int]:
    return sorted({current, *allowed}) if name in stage.tunes else [current]


def _promise(tunable: Tunable, setting: Setting, felt: Pressure, gpu: Gpu) -> float:
    """How much a setting goes where the evidence points; only its order means anything."""
    current = tunable.current
    held, before = _held(tunable, setting), _held(tunable, current)
    score = -0.5 * len(current.changes(setting)) - 0.1 * abs(setting.num_stages - current.num_stages)
    fewest, most = HELD_BY_PRODUCT if tunable.dots and not felt.starved else HELD_ELEMENTWISE
    score -= 0.6 * max(0.0, math.log2(fewest / held), math.log2(held / most))
    if felt.registers:
        score += math.log2(before / held)
    programs = _programs(tunable, setting, felt)
    if felt.starved:
        score += 1.5 * math.log2(min(programs, gpu.sms) / felt.programs)
    elif programs:
        score -= max(0.0, math.log2(gpu.sms / programs))
    if not felt.starved and not felt.registers:
        score += 0.75 * math.log2(_area(tunable, setting) / _area(tunable, current))
    return score


def _area(tunable: Tunable, setting: Setting) -> int:
    """Elements of the tile that one program keeps: of the output for a product, of all otherwise."""
    kept = {tile.name for tile in tunable.tiles if tile.by_program or not tunable.dots}
    return math.prod(extent for name, extent in setting.tiles if name in kept)


def _held(tunable: Tunable, setting: Setting) -> float:
    """Elements of that tile per thread."""
    return _area(tunable, setting) / (32 * setting.num_warps)


def _programs(tunable: Tunable, setting: Setting, felt: Pressure) -> float:
    """Programs of one launch under a setting, from those of the present one; 0 when unknown."""
    grown = 1.0
    for tile in tunable.tiles:
        if tile.by_program:
            grown *= tunable.current[tile.name] / setting[tile.name]
    return felt.programs * grown


def _anchors(
    tunable: Tunable, stage: Stage, warps: Sequence[int], stages: Sequence[int]
) -> Iterator[Setting]:
    """Known good settings of a matrix product that the stage allows."""
    outer = [tile.name for tile in tunable.tiles if tile.by_program]
    inner = [tile.name for tile in tunable.tiles if not tile.by_program]
    if not tunable.dots or (len(outer), len(inner)) != (2, 1) or "tile" not in stage.tunes:
        return
    for m, n, k, num_warps, num_stages in MATMUL_ANCHORS:
        if {m, n, k} <= set(stage.tile_sizes) and num_warps in warps and num_stages in stages:
            extents = dict(zip((*outer, *inner), (m, n, k), strict=True))
            yield Setting(tuple((t, extents[t]) for t, _ in tunable.current.tiles), num_warps, num_stages)


def _fills(tunable: Tunable, setting: Setting, felt: Pressure, gpu: Gpu) -> bool:
    return _programs(tunable, setting, felt) >= gpu.sms


def _spread(promise: dict[Setting, float]) -> list[Setting]:
    """Settings by promise, each further one with the same tiles put back by a step more."""
    taken: dict[tuple[tuple[str, int], ...], int] = {}
    scored: list[tuple[float, Setting]] = []
    for setting in sorted(promise, key=lambda one: -promise[one]):
        before = taken.get(setting.tiles, 0)
        taken[setting.tiles] = before + 1
        scored.append((promise[setting] - REPEATED_TILES * before, setting))
    return [setting for _, setting in sorted(scored, key=lambda pair: -pair[0])]
