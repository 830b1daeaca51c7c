"""The small functions that spread kernels call: taking tiles apart, publishing, waiting."""

from __future__ import annotations

from textwrap import dedent

from tilewright.judge.interpreted import exchange
from tilewright.judge.interpreted.assembly import FORMS, arrived
from tilewright.proposers.recurrence.emit.assembly import helper

TRITON = {"fp16": "tl.float16", "bf16": "tl.bfloat16", "fp32": "tl.float32"}
BITS = {"fp16": "tl.int16", "bf16": "tl.int16", "fp32": "tl.int32"}


def gates_helper(name: str, count: int) -> str:
    """Takes a tile apart; in the order in which packing puts gates, a thread already holds two of its own.

    Pairs are told apart before the two of a pair: where a thread does not hold them all, they move once.
    """
    pair = f"tile.shape[0], tile.shape[1] // {count}, 2"
    order = "unit, gate"
    body = f"return tl.split(tile.reshape({pair}))"
    if count > 2:
        order = "gate // 2, unit, gate % 2"
        high = count // 2
        lines = [f"pair = tile.reshape(tile.shape[0], {high}, tile.shape[1] // {high})"]
        lines += _halved("pair", high)
        lines += [f"gate_{2 * i}, gate_{2 * i + 1} = tl.split(pair_{i}.reshape({pair}))" for i in range(high)]
        lines.append(f"return {', '.join(f'gate_{i}' for i in range(count))}")
        body = "\n    ".join(lines)
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


def arrived_helper(name: str, operand: str, count: int, pack: int) -> str:
    """The wait for `count` tiles of words, `pack` of each in a thread."""
    addresses = [f"address_{i}" for i in range(count)] if count > 1 else ["address"]
    words = [f"words_{i}" for i in range(count)] if count > 1 else ["words"]
    dtype = f"({', '.join(['tl.int64'] * count)})" if count > 1 else "tl.int64"
    doc = "Words once none of them lacks a value: loaded again until then."
    form = arrived(operand, count, pack)
    return helper(f"{name}_arrived_{count}x{pack}", form, ", ".join([*addresses, *words]), doc, dtype)


def kept_helper(name: str, operand: str) -> str:
    """Weights as a step multiplies by them. The assembly does nothing; see `FORMS`."""
    doc = "Weights in registers; the compiler would leave them in shared memory and read them every step."
    form = FORMS[f"keep_{exchange.BITS[operand]}"]
    return helper(f"{name}_kept", form, "weights", doc, TRITON[operand])


def row_helper(name: str, operand: str, axes: int) -> str:
    """Words taken apart into the values of a product's left operand.

    The last assembly does nothing. Its layout is that of the loads, so that a single conversion, of whole
    rows, stands between them and the product.
    """
    bits = exchange.BITS[operand]
    parts = ["a", "b", "c", "d"][: 64 // bits]
    joined = "tl.join(tl.join(a, c), tl.join(b, d))" if bits == 16 else "tl.join(a, b)"
    shape = ", ".join(
        [*(f"words.shape[{axis}]" for axis in range(axes - 1)), f"{len(parts)} * words.shape[{axes - 1}]"]
    )
    apart, hold = FORMS[f"take_apart_{bits}"], FORMS[f"hold_{bits}"]
    return (
        f"@triton.jit\ndef {name}_row(words):\n"
        f'    """Words [rows, n] as the {len(parts)}n values of {bits} bits that they hold."""\n'
        f"    {', '.join(parts)} = tl.inline_asm_elementwise(\n"
        f'        "{apart.asm}", "{apart.constraints}", [words], dtype=({f"tl.int{bits}, " * len(parts)}),\n'
        f"        is_pure=True, pack=1,\n    )\n"
        f"    values = {joined}.reshape({shape})\n"
        f'    values = tl.inline_asm_elementwise(\n        "{hold.asm}", "{hold.constraints}", [values],'
        f" dtype=tl.int{bits}, is_pure=False, pack={hold.pack},\n    )\n"
        f"    return values.to({TRITON[operand]}, bitcast=True)\n"
    )


def pause_helper(name: str) -> str:
    """A short wait, where there is nothing else to do before others' values can be there."""
    return helper(f"{name}_pause", FORMS["pause"], "cycles", "Waits so many cycles.", "tl.int32")


def publish_helper(name: str, operand: str) -> str:
    """Stores of what other CTAs wait for."""
    doc = "Stores values where wanted is not 0, in the layout they have."
    form = FORMS[f"publish_{exchange.BITS[operand]}"]
    return helper(f"{name}_publish", form, "address, bits, wanted", doc, "tl.int32")


def flag_helpers(name: str) -> list[str]:
    """A CTA's word that it has published a step, and the wait for such words."""
    said = "Tells, where wanted is not 0, that everything this program has stored can be read."
    seen = "Returns once every flag, where wanted is not 0, has come to a step."
    return [
        helper(f"{name}_release", FORMS["release"], "flag, step, wanted", said, "tl.int32"),
        helper(f"{name}_acquire", FORMS["acquire"], "flags, step, wanted", seen, "tl.int32"),
    ]


def apart_helper(name: str) -> str:
    """Keeps a sum of two products from becoming one chain."""
    doc = "x; the compiler would have one product wait for the other and accumulate onto it."
    return helper(f"{name}_apart", FORMS["keep_32"], "x", doc, "tl.float32")


def bits_helper(name: str, operand: str) -> str:
    """What is published: never the pattern that stands for a missing value."""
    return dedent(f'''\
        @triton.jit
        def {name}_bits(value):
            """A value as it is published; a NaN of all bits set becomes another NaN."""
            bits = value.to({TRITON[operand]}).to({BITS[operand]}, bitcast=True)
            return tl.where(bits == -1, -2, bits).to({BITS[operand]})
        ''')
