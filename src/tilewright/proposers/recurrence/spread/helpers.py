"""The small functions that spread kernels call: taking tiles apart, publishing, waiting."""

from __future__ import annotations

from textwrap import dedent, indent

TRITON = {"fp16": "tl.float16", "bf16": "tl.bfloat16", "fp32": "tl.float32"}
BITS = {"fp16": "tl.int16", "bf16": "tl.int16", "fp32": "tl.int32"}


def gates_helper(name: str, count: int) -> str:
    """Takes a tile apart; in the order in which packing puts gates, every thread already holds its own."""
    if count == 2:
        body = "return tl.split(tile.reshape(tile.shape[0], tile.shape[1] // 2, 2))"
        order = "unit, gate"
    else:
        high = count // 2
        parts = f"tile.shape[0], {high}, tile.shape[1] // {count}, 2"
        body = f"even, odd = tl.split(tile.reshape({parts}))\n    "
        order = "gate // 2, unit, gate % 2"
        lines = []
        for half in ("even", "odd"):
            lines += _halved(half, high)
        names = [f"{half}_{i}" for i in range(high) for half in ("even", "odd")]
        body += "\n    ".join(lines) + f"\n    return {', '.join(names)}"
    return (
        f"@triton.jit\ndef {name}_gates_{count}(tile):\n"
        f'    """[rows, ({order})] → {count} gates [rows, units]."""\n    {body}\n'
    )


def _halved(value: str, count: int) -> list[str]:
    """[rows, count, units] → `count` values [rows, units]: the first axis halved again and again."""
    if count == 2:
        return [f"{value}_0, {value}_1 = tl.split({value}.permute(0, 2, 1))"]
    half = count // 2
    lines = [
        f"{value}_low, {value}_high = tl.split({value}.reshape({value}.shape[0], 2, {half}, {value}.shape[2])"
        ".permute(0, 2, 3, 1))"
    ]
    for side, offset in (("low", 0), ("high", half)):
        inner = _halved(f"{value}_{side}", half)
        lines += [_renamed(line, f"{value}_{side}", value, offset, half) for line in inner]
    return lines


def _renamed(line: str, inner: str, outer: str, offset: int, count: int) -> str:
    targets, _, expression = line.partition(" = ")
    for i in reversed(range(count)):
        if f"{inner}_{i}" in targets.split(", "):
            targets = targets.replace(f"{inner}_{i}", f"{outer}_{offset + i}")
    return f"{targets} = {expression}"


def arrived_helper(name: str, operand: str, count: int, axes: int) -> str:
    """The wait: loads that bypass L1, again and again, until no element is missing.

    Args:
        count: of the tiles loaded. axes: of each tile.
    """
    places = [f"place_{i}" for i in range(count)] if count > 1 else ["place"]
    values = [f"bits_{i}" for i in range(count)] if count > 1 else ["bits"]
    load = "\n".join(
        f"{value} = tl.load({place}, mask=live, other=0, volatile=True)"
        for value, place in zip(values, places, strict=True)
    )
    missing = " | ".join(f"({value} == -1)" if count > 1 else f"{value} == -1" for value in values)
    any_missing = f"({missing}).to(tl.int32)"
    for axis in reversed(range(axes)):
        any_missing = f"tl.max({any_missing}, axis={axis})"
    returned = ", ".join(f"{value}.to({TRITON[operand]}, bitcast=True)" for value in values)
    return (
        f"@triton.jit\ndef {name}_arrived_{count}({', '.join(places)}, live):\n"
        '    """What other CTAs publish there, once all of it is there: all bits set means not yet."""\n'
        f"{indent(load, '    ')}\n"
        f"    while {any_missing} != 0:\n"
        f"{indent(load, '        ')}\n"
        f"    return {returned}\n"
    )


def bits_helper(name: str, operand: str) -> str:
    """What is published: never the pattern that stands for a missing value."""
    return dedent(f'''\
        @triton.jit
        def {name}_bits(value):
            """A value as it is published; a NaN of all bits set becomes another NaN."""
            bits = value.to({TRITON[operand]}).to({BITS[operand]}, bitcast=True)
            return tl.where(bits == -1, -2, bits).to({BITS[operand]})
        ''')
