"""The small functions that spread kernels call: taking tiles apart, publishing, waiting."""

from __future__ import annotations

from textwrap import indent

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


def arrived_helper(name: str, operand: str, count: int) -> str:
    """The wait: loads that bypass L1, again and again, until no word is missing."""
    places = [f"place_{i}" for i in range(count)] if count > 1 else ["place"]
    words = [f"words_{i}" for i in range(count)] if count > 1 else ["words"]
    load = "\n".join(
        f"{word} = tl.load({place}, volatile=True)" for word, place in zip(words, places, strict=True)
    )
    missing = " | ".join(f"({word} == -1)" for word in words)
    returned = ", ".join(f"{name}_operand({word})" for word in words)
    return (
        f"@triton.jit\ndef {name}_arrived_{count}({', '.join(places)}):\n"
        '    """What other CTAs publish there, once all of it is there: all bits set means not yet."""\n'
        f"{indent(load, '    ')}\n"
        f"    while tl.max(({missing}).to(tl.int32)) != 0:\n"
        f"{indent(load, '        ')}\n"
        f"    return {returned}\n"
    )


def words_helpers(name: str, operand: str) -> tuple[str, str]:
    """Values to the words that are published, which never have all bits set, and back."""
    to, width = TRITON[operand], BITS[operand]
    if operand == "fp32":
        made = "word = value.to(tl.int32, bitcast=True)"
        back = "return word.to(tl.float32, bitcast=True)"
        doc = "Each value is a word"
    else:
        made = f"""\
bits = value.to({to}).to({width}, bitcast=True)
    low, high = tl.split(bits.reshape(2, bits.shape[0] // 2, bits.shape[1]).permute(1, 2, 0))
    word = (low.to(tl.int32) & 0xFFFF) | (high.to(tl.int32) << 16)"""
        back = f"""\
bits = tl.join(word.to({width}), (word >> 16).to({width})).permute(2, 0, 1)
    return bits.reshape(2 * word.shape[0], word.shape[1]).to({to}, bitcast=True)"""
        doc = "A word is a value of the tile's upper half of rows and the one as far down its lower half"
    publish = f'''\
@triton.jit
def {name}_publish(place, value):
    """{doc}; a NaN of all bits set becomes another NaN."""
    {made}
    publish_word(place.to(tl.int64), tl.where(word == -1, -2, word))
'''
    operand_of = f'''\
@triton.jit
def {name}_operand(word):
    """The values of published words, as an operand of a product."""
    {back}
'''
    return publish, operand_of
