"""Writes launch configurations into a file: in place, or as an @triton.autotune."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tilewright.kernelfile import Kernel, KernelFile, LaunchSite, Passed, Place, Scalar
from tilewright.proposers.edit import ArgumentEdit, Edits, PlaceNotFound, edit
from tilewright.proposers.tune.setting import DEFAULT_STAGES, DEFAULT_WARPS, OPTIONS, Setting, Settings
from tilewright.proposers.tune.tunables import mirrored

DEFAULTS = {"num_warps": DEFAULT_WARPS, "num_stages": DEFAULT_STAGES}
Demands = dict[Place, tuple[int, Scalar]]  # a literal's place: what it has to be, and what it is


class RewriteDeclined(Exception):
    """A rewrite could change what the file computes, so it is not made; the message says why."""


def apply_settings(source: str, settings: Settings) -> str:
    """Let each kernel named run with its setting; all else keeps its text, byte for byte.

    Constants are changed where their literal is written, launch options at the launch. An autotuned
    kernel gets its list of configs replaced by the one setting. Settings a file already has change
    nothing.

    Raises:
        KernelFileError: a kernel is not in the file.
        RewriteDeclined: a constant has no literal that could be changed, or one literal would need two
            values.
    """
    file = _parsed(source)
    edits, demands = Edits(), Demands()
    for name, setting in settings.items():
        kernel = file.kernel(name)
        if kernel.autotune is not None:
            _replace_configs(file, kernel, [setting], edits)
        else:
            for site in file.sites(name):
                _set_launch(kernel, site, setting, edits, demands)
    edits.expressions |= {place: str(value) for place, (value, now) in demands.items() if value != now}
    return _edited(source, edits)


def install_autotune(source: str, kernel_name: str, configs: Sequence[Setting], key: Sequence[str]) -> str:
    """Make a kernel choose among configs by itself: `kernel[grid](…, BLOCK=64)` → @triton.autotune.

    The constants and launch options that the configs set disappear from its launches. Safe only when
    every grid follows the constants through its argument, META["BLOCK"], or does not depend on them,
    and when the kernel can be run again and again while Triton times it. A kernel that is already
    autotuned gets its list of configs replaced.

    Args:
        configs: the first is the favourite.
        key: parameters whose values select a configuration; a change of theirs tunes anew.

    Raises:
        KernelFileError: there is no such kernel.
        RewriteDeclined: any of the conditions does not hold.
    """
    file = _parsed(source)
    kernel = file.kernel(kernel_name)
    edits = Edits()
    _check_repeatable(file, kernel)
    if kernel.autotune is not None:
        _replace_configs(file, kernel, configs, edits)
        return _edited(source, edits)
    shadowed = sorted({p.name for p in kernel.parameters} & set(OPTIONS))
    if shadowed:
        raise RewriteDeclined(f"{kernel_name} has a parameter named {shadowed[0]}, which a config would set")
    unknown = set(key) - {p.name for p in kernel.parameters}
    if unknown:
        raise RewriteDeclined(f"{kernel_name} has no parameter {', '.join(sorted(unknown))}")
    if not any(one.module == "triton" and one.name == "triton" for one in file.imports):
        raise RewriteDeclined("the file does not import triton under its own name")
    tiles = {name for config in configs for name, _ in config.tiles}
    for site in file.sites(kernel_name):
        edits.calls[site.place] = ArgumentEdit(drop=_removable(kernel, site, tiles))
    names = ", ".join(f'"{name}"' for name in key)
    edits.decorators[kernel_name] = (
        f"triton.autotune(\n    configs={_list(configs, '    ')},\n    key=[{names}],\n)"
    )
    return _edited(source, edits)


@lru_cache(maxsize=2)  # one file is rewritten many times over
def _parsed(source: str) -> KernelFile:
    return KernelFile.parse(source)


def _edited(source: str, edits: Edits) -> str:
    if not edits:
        return source
    try:
        return edit(source, edits)
    except PlaceNotFound as error:
        raise RewriteDeclined(str(error)) from None


def _set_launch(kernel: Kernel, site: LaunchSite, setting: Setting, edits: Edits, demands: Demands) -> None:
    if site.reason or site.rivals:
        raise RewriteDeclined(f"the launch in line {site.line} is not understood")
    added: dict[str, str] = {}
    for name, extent in setting.tiles:
        passed = site.passed(name)
        if passed is None:
            default = next((p.default for p in kernel.parameters if p.name == name), None)
            if default != str(extent):
                added[name] = str(extent)
        elif passed.value.known or passed.value.origin == "bounded":
            _set_literal(passed, extent, site, demands)
            if (mirror := mirrored(kernel, name, site)) is not None:
                demands[mirror] = (extent, passed.value.literal)
        elif (
            passed.value.origin == "choice" and passed.how in ("keyword", "position") and not passed.elsewhere
        ):
            edits.expressions[passed.place] = str(extent)
        else:
            raise RewriteDeclined(f"{name} in line {site.line}: {passed.value.reason}")
    for name in OPTIONS:
        if any(parameter.name == name for parameter in kernel.parameters):
            continue  # the launch would pass it to the kernel's own parameter
        value = getattr(setting, name)
        option = site.option(name)
        if option is None:
            if value != DEFAULTS[name]:
                added[name] = str(value)
        elif option.how == "keyword" and not (option.value.known and option.value.literal == value):
            edits.expressions[option.place] = str(value)
        elif option.value.known:
            _set_literal(option, value, site, demands)
        else:
            raise RewriteDeclined(f"{name} in line {site.line}: {option.value.reason}")
    if added:
        edits.calls[site.place] = ArgumentEdit(set=added)


def _set_literal(passed: Passed, value: int, site: LaunchSite, demands: Demands) -> None:
    place = passed.value.place
    if place is None:
        raise RewriteDeclined(f"{passed.parameter} in line {site.line} has no literal")
    wanted, _ = demands.setdefault(place, (value, passed.value.literal))
    if wanted != value:
        raise RewriteDeclined(
            f"the literal in line {place.line} would have to be {wanted} and {value} at once"
        )


def _replace_configs(file: KernelFile, kernel: Kernel, configs: Sequence[Setting], edits: Edits) -> None:
    autotune = kernel.autotune
    if autotune is None or autotune.reason or autotune.configs_place is None:
        reason = autotune.reason if autotune else "it is not autotuned"
        raise RewriteDeclined(f"the configs of {kernel.name} cannot be replaced: {reason}")
    _carry_fixed(kernel, configs)
    before = [(dict(c.constants), c.num_warps, c.num_stages, bool(c.ignored)) for c in autotune.configs]
    fixed = _fixed(kernel, configs)
    after = [({**fixed, **dict(s.tiles)}, s.num_warps, s.num_stages, False) for s in configs]
    if before == after:
        return
    shared = any(
        other.autotune is not None and other.autotune.configs_place == autotune.configs_place
        for other in file.kernels
        if other.name != kernel.name
    )
    place = autotune.argument_place if shared and autotune.argument_place else autotune.configs_place
    line = file.source.splitlines()[place.line - 1]
    indent = line[: len(line) - len(line.lstrip())]
    edits.expressions[place] = _list(configs, indent, fixed)


def _fixed(kernel: Kernel, configs: Sequence[Setting]) -> dict[str, object]:
    """Constants of the kernel's own configs that the settings say nothing about."""
    told = {name for config in configs for name, _ in config.tiles}
    first = kernel.autotune.configs[0] if kernel.autotune and kernel.autotune.configs else None
    return {name: value for name, value in first.constants if name not in told} if first else {}


def _carry_fixed(kernel: Kernel, configs: Sequence[Setting]) -> None:
    """Decline when a constant that is not a tile varies from config to config."""
    told = {name for config in configs for name, _ in config.tiles}
    own = kernel.autotune.configs if kernel.autotune else ()
    kept = {tuple((n, v) for n, v in config.constants if n not in told) for config in own}
    if len(kept) > 1:
        raise RewriteDeclined(f"the configs of {kernel.name} also vary constants that are no tiles")


def _list(configs: Sequence[Setting], indent: str, fixed: dict[str, object] | None = None) -> str:
    rows = []
    for config in configs:
        constants = {**(fixed or {}), **dict(config.tiles)}
        entries = ", ".join(f'"{name}": {value!r}' for name, value in constants.items())
        rows.append(
            f"{indent}    triton.Config({{{entries}}}, "
            f"num_warps={config.num_warps}, num_stages={config.num_stages}),\n"
        )
    return f"[\n{''.join(rows)}{indent}]"


def _check_repeatable(file: KernelFile, kernel: Kernel) -> None:
    """Decline a kernel whose second run would see what its first one wrote."""
    both = sorted(set(kernel.reads) & set(kernel.writes))
    if both:
        raise RewriteDeclined(
            f"{kernel.name} reads and writes {', '.join(both)}, and autotuning runs it many times"
        )
    for site in file.sites(kernel.name):
        written = {p.storage: p.parameter for p in site.arguments if p.parameter in kernel.writes}
        for passed in site.arguments:
            if passed.parameter in kernel.reads and passed.storage in written:
                raise RewriteDeclined(
                    f"line {site.line} passes {passed.storage} both as {passed.parameter}, which is read, "
                    f"and as {written[passed.storage]}, which is written; autotuning runs it many times"
                )


def _removable(kernel: Kernel, site: LaunchSite, tiles: set[str]) -> frozenset[Place]:
    """Places of the arguments that the configs will supply."""
    if site.reason or site.rivals:
        raise RewriteDeclined(f"the launch in line {site.line} is not understood")
    uses = {tile.name: tile for tile in kernel.tiles}
    gone: list[Passed] = [o for o in site.options if o.parameter in OPTIONS]
    for name in sorted(tiles):
        passed = site.passed(name)
        tile = uses.get(name)
        if tile is not None and tile.by_program and not tile.persistent and name not in site.grid.meta:
            raise RewriteDeclined(f'the grid in line {site.line} does not read META["{name}"]')
        if passed is None:
            continue
        if passed.value.names and (passed.elsewhere or set(passed.value.names) & set(site.grid.names)):
            raise RewriteDeclined(
                f"{passed.value.names[0]} is also read outside the launch in line {site.line}"
            )
        gone.append(passed)
    places = {passed.place for passed in gone}
    for passed in (*site.arguments, *site.options):
        if passed.how == "splat" and passed.place in places and passed not in gone:
            raise RewriteDeclined(f"** in line {site.line} also passes {passed.parameter}")
        if passed.how == "partial" and passed in gone:
            raise RewriteDeclined(f"{passed.parameter} is bound before the launch in line {site.line}")
    positional = [a for a in site.arguments if a.how in ("position", "star")]
    last_kept = max((i for i, a in enumerate(positional) if a not in gone), default=-1)
    if any(a in gone for a in positional[:last_kept]):
        raise RewriteDeclined(f"line {site.line} passes other arguments by position after the constants")
    return frozenset(places)
