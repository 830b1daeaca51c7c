"""Which launch constants of a file may be varied, and why the others are left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tilewright.inspect.model import Inspection
from tilewright.kernelfile import Kernel, KernelFile, LaunchSite, Passed, Place, Tile
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.meaning import bodies_of, meaning
from tilewright.proposers.tune.setting import DEFAULT_STAGES, DEFAULT_WARPS, OPTIONS, Setting

SMALLEST_TIED = 8  # smaller literals (0, 1, 2 dimensions) appear everywhere and mean nothing


@dataclass(frozen=True)
class Tunable:
    """A kernel and what may be varied about it.

    Args:
        kernel: as parsed.
        tiles: those of its tiles that may be varied.
        current: what it runs with now; for an autotuned kernel the first of its own configs.
        own: all configs of an autotuned kernel, and what those meant that put an option where Triton
            ignores it.
        dots: whether it, or a helper of it, multiplies tiles.
        tied: tiles that one variable feeds to several kernels: tile name to (kernel, tile) pairs.
    """

    kernel: Kernel
    tiles: tuple[Tile, ...]
    current: Setting
    own: tuple[Setting, ...] = ()
    dots: bool = False
    tied: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    @property
    def name(self) -> str:
        return self.kernel.name

    def varies(self, option: str) -> bool:
        """Whether a launch option may be varied: not where a parameter of that name takes its value."""
        return option not in {parameter.name for parameter in self.kernel.parameters}


class LeftAlone(Exception):
    """A kernel or a constant cannot be varied safely; the message says why."""


def find_tunables(
    file: KernelFile, inspection: Inspection | None
) -> tuple[tuple[Tunable, ...], tuple[str, ...]]:
    """The kernels that can be tuned, and a note for whatever is left alone.

    Args:
        inspection: tells the value of constants that the text leaves open; None without.
    """
    found: list[Tunable] = []
    notes: list[str] = []
    for kernel in file.require_kernels():
        if kernel.helper:
            continue
        try:
            tunable, remarks = _tunable(file, kernel, inspection)
        except LeftAlone as reason:
            notes.append(f"{kernel.name} is left alone: {reason}")
            continue
        found.append(tunable)
        notes.extend(remarks)
    return tuple(_untied(tunable, found, notes) for tunable in found), tuple(notes)


def _untied(tunable: Tunable, found: Sequence[Tunable], notes: list[str]) -> Tunable:
    """The tunable without tiles that share their literal with something that is left alone."""
    free = {(other.name, tile.name) for other in found for tile in other.tiles}
    bound = {name for name, others in tunable.tied if not set(others) <= free}
    if not bound:
        return tunable
    notes.append(f"{tunable.name}: {', '.join(sorted(bound))} shares its literal with a constant left alone")
    return replace(
        tunable,
        tiles=tuple(tile for tile in tunable.tiles if tile.name not in bound),
        current=replace(
            tunable.current, tiles=tuple((n, e) for n, e in tunable.current.tiles if n not in bound)
        ),
        tied=tuple((name, others) for name, others in tunable.tied if name not in bound),
    )


def _tunable(file: KernelFile, kernel: Kernel, inspection: Inspection | None) -> tuple[Tunable, list[str]]:
    sites = file.sites(kernel.name)
    if not sites:
        raise LeftAlone("nothing in the file launches it")
    if kernel.gluon:
        raise LeftAlone("its layouts are written for one configuration")
    for site in sites:
        if site.reason:
            raise LeftAlone(f"in line {site.line}, {site.reason}")
        if site.cooperative:
            raise LeftAlone(f"line {site.line} launches programs that wait for one another")
        if site.rivals:
            raise LeftAlone(f"line {site.line} may also launch {', '.join(site.rivals)}")
    if kernel.autotune is not None and kernel.autotune.reason:
        raise LeftAlone(kernel.autotune.reason)
    notes: list[str] = []
    bodies = bodies_of(file, kernel)
    tiles: list[Tile] = []
    extents: list[tuple[str, int]] = []
    for tile in kernel.tiles:
        try:
            extent = _extent(kernel, tile, sites, inspection)
            _check_agreement(kernel, tile, sites, extent)
            _check_free(kernel, tile, bodies)
        except LeftAlone as reason:
            notes.append(f"{kernel.name}: {tile.name} is left alone: {reason}")
        else:
            tiles.append(tile)
            extents.append((tile.name, extent))
    extra = [c for c in kernel.constexprs if c not in {t.name for t in kernel.tiles}]
    if extra:
        notes.append(f"{kernel.name}: {', '.join(extra)} set{'s' * (len(extra) == 1)} no tile, left alone")
    names = tuple(name for name, _ in extents)
    own = _own(kernel, names, notes)
    current = own[0] if own else Setting(tuple(extents), *_options(kernel.name, sites, inspection))
    dots = bool(kernel.dots) or any(file.kernel(helper).dots for helper in kernel.calls)
    return Tunable(kernel, tuple(tiles), current, own, dots, _ties(file, kernel, names)), notes


def _extent(kernel: Kernel, tile: Tile, sites: Sequence[LaunchSite], inspection: Inspection | None) -> int:
    """The value that a tile has now, the same at every launch."""
    if tile.covers:
        raise LeftAlone("one tile spans the whole extent, a smaller one would leave work undone")
    if tile.name in kernel.heuristics:
        raise LeftAlone("@triton.heuristics computes it")
    if kernel.autotune is not None:
        tuned = [dict(config.constants).get(tile.name) for config in kernel.autotune.configs]
        if None not in tuned and tuned:
            extents = [_power_of_two(value) for value in tuned]
            return extents[0]
        if any(value is not None for value in tuned):
            raise LeftAlone("only some of the configs set it")
        raise LeftAlone("the configs do not set it")
    values = {_passed_value(kernel, tile.name, site, inspection) for site in sites}
    if len(values) > 1:
        raise LeftAlone(f"launches disagree on it: {', '.join(map(str, sorted(values)))}")
    return values.pop()


def _passed_value(kernel: Kernel, name: str, site: LaunchSite, inspection: Inspection | None) -> int:
    passed = site.passed(name)
    if passed is None:
        default = next((p.default for p in kernel.parameters if p.name == name), None)
        if default is None or not default.isdigit():
            raise LeftAlone(f"line {site.line} does not pass it")
        return _power_of_two(int(default))
    if passed.value.known:
        return _power_of_two(passed.value.literal)
    if passed.value.origin == "choice" and passed.how in ("keyword", "position"):
        if passed.elsewhere:
            raise LeftAlone(f"{passed.value.reason}, and is also read outside the launch")
        recorded = _recorded(kernel.name, name, inspection)
        choices = [c for c in passed.value.choices if isinstance(c, int)]
        if recorded is not None:
            return _power_of_two(recorded)
        if choices:
            return _power_of_two(max(choices))
    if passed.value.origin == "bounded":
        recorded = _recorded(kernel.name, name, inspection)
        if recorded in (None, passed.value.literal):
            return _power_of_two(passed.value.literal)
        raise LeftAlone(
            f"in line {site.line}, {passed.value.text} is {recorded}, which its bound does not set"
        )
    raise LeftAlone(f"in line {site.line}, {passed.value.reason}")


def mirrored(kernel: Kernel, tile: str, site: LaunchSite) -> Place | None:
    """The literal of the grid that counts a tile's programs, as in `kernel[(cdiv(n, 256),)](…, BLOCK=256)`.

    None unless the tile's value is a literal at the launch, and one cdiv of the grid and no other tile of the
    launch's programs has the same one.
    """
    passed = site.passed(tile)
    if passed is None or passed.value.origin != "here" or tile in site.grid.meta:
        return None
    value = passed.value.literal
    places = [place for literal, place in site.grid.counted if literal == value]
    rivals = [
        other.name
        for other in kernel.tiles
        if other.by_program and (p := site.passed(other.name)) is not None and p.value.literal == value
    ]
    return places[0] if len(places) == 1 and rivals == [tile] else None


def _recorded(kernel: str, name: str, inspection: Inspection | None) -> int | None:
    """The value that a constant has in the recorded launches, when they agree."""
    if inspection is None:
        return None
    seen = {launch.constants.get(name) for launch in inspection.recording.launches if launch.kernel == kernel}
    only = seen.pop() if len(seen) == 1 else None
    return int(only) if only is not None and only.isdigit() else None


def _power_of_two(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value & (value - 1):
        raise LeftAlone(f"{value!r} is not a power of two")
    return value


def _check_agreement(kernel: Kernel, tile: Tile, sites: Sequence[LaunchSite], extent: int) -> None:
    """Insist that whatever the wrapper computes from a tile's extent follows it."""
    for site in sites:
        passed = site.passed(tile.name)
        movable = passed is not None and (passed.value.known or passed.value.origin == "bounded")
        variable = bool(movable and passed is not None and passed.value.names)
        mirror = mirrored(kernel, tile.name, site)
        followed = tile.name in site.grid.meta or (
            passed is not None and variable and bool(set(passed.value.names) & set(site.grid.names))
        )
        if tile.by_program and not tile.persistent and not followed and mirror is None:
            raise LeftAlone(
                f"the grid in line {site.line}, {site.grid.text or 'not written there'}, does not follow it"
            )
        for value in {extent, *_config_values(kernel, tile.name)}:
            written = [*site.literals, *(v for v in site.grid.literals if v not in site.literals)]
            if value >= SMALLEST_TIED and written.count(value) > (mirror is not None) and not variable:
                raise LeftAlone(
                    f"{value} is also written out in the arithmetic of {site.function or 'the file'}"
                )


def _check_free(kernel: Kernel, tile: Tile, bodies: Mapping[str, Body]) -> None:
    """Insist that a tile's extent is no part of what the kernel computes; configs that vary it say so."""
    if len(set(_config_values(kernel, tile.name))) < 2 and (why := meaning(kernel, tile, bodies)):
        raise LeftAlone(f"another extent would compute something else: {why}")


def _config_values(kernel: Kernel, name: str) -> Iterator[int]:
    for config in kernel.autotune.configs if kernel.autotune else ():
        value = dict(config.constants).get(name)
        if isinstance(value, int):
            yield value


def _options(kernel: str, sites: Sequence[LaunchSite], inspection: Inspection | None) -> tuple[int, int]:
    """num_warps and num_stages of the launches: as written, as recorded, or Triton's defaults."""
    chosen = []
    for name, default in zip(OPTIONS, (DEFAULT_WARPS, DEFAULT_STAGES), strict=True):
        launches = inspection.recording.launches if inspection else ()
        recorded = {getattr(launch, name) for launch in launches if launch.kernel == kernel}
        values: set[int] = set()
        for site in sites:
            option = site.option(name)
            if option is None:
                values.add(default)
            elif option.value.known and isinstance(option.value.literal, int):
                values.add(option.value.literal)
            elif len(recorded) == 1:
                values |= recorded
            else:
                raise LeftAlone(f"{name} in line {site.line}: {option.value.reason}")
        if len(values) > 1:
            raise LeftAlone(f"launches disagree on {name}: {', '.join(map(str, sorted(values)))}")
        chosen.append(values.pop())
    return chosen[0], chosen[1]


def _own(kernel: Kernel, names: Sequence[str], notes: list[str]) -> tuple[Setting, ...]:
    """An autotuned kernel's configs; those with misplaced options a second time, as they were meant."""
    own: dict[Setting, None] = {}
    meant: dict[Setting, None] = {}
    for config in kernel.autotune.configs if kernel.autotune else ():
        constants = dict(config.constants)
        tiles = tuple((name, _power_of_two(constants[name])) for name in names)
        own[Setting(tiles, config.num_warps, config.num_stages)] = None
        ignored = dict(config.ignored)
        if ignored:
            warps, stages = (ignored.get(o, getattr(config, o)) for o in OPTIONS)
            if isinstance(warps, int) and isinstance(stages, int):
                meant[Setting(tiles, warps, stages)] = None
            notes.append(
                f"{kernel.name}: {', '.join(ignored)} inside the dict of the config in line "
                f"{config.place.line} has no effect; tried both ways"
            )
    return (*own, *(setting for setting in meant if setting not in own))


def _ties(
    file: KernelFile, kernel: Kernel, names: Sequence[str]
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Other kernels' tiles that take their value from the same literal as one of these."""
    found = []
    for name in names:
        places = {p.value.place for p in _passings(file, kernel.name, name)} - {None}
        others = {
            (site.kernel, passed.parameter)
            for site in file.launches
            for passed in site.arguments
            if passed.value.place in places and (site.kernel, passed.parameter) != (kernel.name, name)
        }
        if others:
            found.append((name, tuple(sorted(others))))
    return tuple(found)


def _passings(file: KernelFile, kernel: str, name: str) -> Iterator[Passed]:
    for site in file.sites(kernel):
        passed = site.passed(name)
        if passed is not None:
            yield passed
