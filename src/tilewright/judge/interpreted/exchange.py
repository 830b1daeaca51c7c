"""The assembly with which CTAs exchange values through global memory: its text, and what it means.

A value that is not published yet has all its bits set. Readers load words of 64 bits, each several values
of 16 or 32 bits, and load again those that lack one. `count` tiles of words are waited for together, `pack`
words of each in one thread: all of a thread's loads are on their way at the same time.

Or a CTA counts its steps in a flag, which it releases once all its threads have stored what they publish;
a thread of a reader for each flag acquires it until it has come far enough, and a barrier follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilewright.judge.interpreted.cooperative import BATON, SPIN, pass_on

WORD_BYTES = 8
PUBLISH = """{{
.reg .pred p;
setp.ne.s32 p, $3, 0;
@p st.relaxed.gpu.global.b{bits} [$1], $2;
mov.b32 $0, 0;
}}"""
PUBLISH_CONSTRAINTS = {16: "=r,l,h,r", 32: "=r,l,r,r"}
TAKE_APART = {16: "mov.b64 {$0, $1, $2, $3}, $4;", 32: "mov.b64 {$0, $1}, $2;"}
TAKE_APART_CONSTRAINTS = {16: "=h,=h,=h,=h,l", 32: "=r,=r,l"}
PAUSE = """{
.reg .u32 start, now;
.reg .pred p;
mov.u32 start, %clock;
more:
mov.u32 now, %clock;
sub.u32 now, now, start;
setp.lt.u32 p, now, $1;
@p bra more;
mov.b32 $0, $1;
}"""
SAME = "{ mov.b32 $0, $1; }"  # does nothing; what the compiler would move across it stays where it is
SAME_CONSTRAINTS = "=r,r"
SAME_FLOAT = "{ mov.f32 $0, $1; }"
SAME_FLOAT_CONSTRAINTS = "=f,f"
# The larger of two, as NaN where either is one: what is missing reads as NaN.
LARGER = {"fp16": "max.NaN.f16x2", "bf16": "max.NaN.bf16x2", "fp32": "max.NaN.f32"}
BITS = {"fp16": 16, "bf16": 16, "fp32": 32}
RELEASE = """{
.reg .pred p;
setp.ne.s32 p, $3, 0;
@p st.release.gpu.global.b32 [$1], $2;
mov.b32 $0, 0;
}"""
ACQUIRE = f"""{{
.reg .pred p;
.reg .b32 seen;
mov.b32 seen, 0;
setp.eq.s32 p, $3, 0;
@p bra there;
{SPIN}
ld.acquire.gpu.global.b32 seen, [$1];
setp.lt.s32 p, seen, $2;
@p bra again;
there:
mov.b32 $0, seen;
}}"""
ACQUIRE_CONSTRAINTS = "=r,l,r,r"
MOST_WORDS = 8  # of a thread, in one wait


def arrived(operand: str, count: int, pack: int) -> tuple[str, str]:
    """The wait's text and constraints: words as they were seen, once none of them lacks a value.

    Operands: `count` tiles of results, of addresses and of words seen before, `pack` of each in a thread.

    A first test asks whether any value is NaN, which is one instruction a pair. Only where one is, each word
    is compared, and loaded again where it lacks a value. A NaN that was published is none that is missing.
    """
    words = count * pack
    lines = ["{", ".reg .pred p, missing;", f".reg .b32 a, b, m<{words}>;"]
    lines += [f"mov.b64 ${i}, ${2 * words + i};" for i in range(words)]
    lines.append(SPIN)
    lines += [f"mov.b64 {{m{i}, b}}, ${i}; {LARGER[operand]} m{i}, m{i}, b;" for i in range(words)]
    apart = 1
    while apart < words:
        pairs = range(0, words - apart, 2 * apart)
        lines += [f"{LARGER[operand]} m{i}, m{i}, m{i + apart};" for i in pairs]
        apart *= 2
    if BITS[operand] == 16:
        lines += [
            "xor.b32 a, m0, 0x7fff7fff; sub.u32 b, a, 0x10001; not.b32 a, a;",
            "and.b32 a, a, b; and.b32 a, a, 0x80008000; setp.eq.u32 p, a, 0;",
        ]
    else:
        lines.append("setp.ne.u32 p, m0, 0x7fffffff;")
    lines += ["@p bra there;", "setp.ne.u32 missing, 0, 0;"]
    for i in range(words):
        lines.append(f"mov.b64 {{a, b}}, ${i};")
        if BITS[operand] == 16:
            lines += [
                "add.u32 m0, a, 0x10001; not.b32 m0, m0; and.b32 a, a, m0;",
                "add.u32 m0, b, 0x10001; not.b32 m0, m0; and.b32 b, b, m0;",
                "or.b32 a, a, b; and.b32 a, a, 0x80008000; setp.ne.u32 p, a, 0;",
            ]
        else:
            lines.append("setp.eq.u32 p, a, 0xffffffff; setp.eq.or.u32 p, b, 0xffffffff, p;")
        lines.append(f"or.pred missing, missing, p; @p ld.relaxed.gpu.global.b64 ${i}, [${words + i}];")
    lines += ["@missing bra again;", "there:", "}"]
    return "\n".join(lines), ",".join(["=&l"] * words + ["l"] * 2 * words)


def lacking(words: Any, bits: int) -> Any:
    """Whether each word lacks a value: int64 of any shape → bool."""
    import numpy as np

    values = np.ascontiguousarray(words).view(np.int16 if bits == 16 else np.int32)
    return (values.reshape(*words.shape, -1) == -1).any(axis=-1)


def mean_arrived(operands: Sequence[Any], bits: int) -> list[Any]:
    """Loads what is missing again and again; other programs run between."""
    import numpy as np

    count = len(operands) // 2
    words = [np.array(tile) for tile in operands[count:]]
    while True:
        missing = [lacking(tile, bits) for tile in words]
        if not any(tile.any() for tile in missing):
            return words
        if BATON.alone:
            return [np.where(lacks, 0, tile) for lacks, tile in zip(missing, words, strict=True)]
        pass_on()
        for tile, address, lacks in zip(words, operands, missing, strict=False):
            tile[lacks] = _loaded(address[lacks], lacks[lacks], np.int64)


def mean_acquire(operands: Sequence[Any], dtype: Any) -> Any:
    """Loads the flags that are wanted until each has come to a step; other programs run between."""
    import numpy as np

    addresses, step, wanted = np.broadcast_arrays(*operands[:3])
    wanted = wanted != 0
    while True:
        seen = _loaded(addresses[wanted], wanted[wanted], np.int32)
        if BATON.alone or (seen >= step[wanted]).all():
            return np.where(wanted, step, 0).astype(dtype)
        pass_on()


def mean_take_apart(operands: Sequence[Any], bits: int) -> list[Any]:
    """The values of each word, the lowest bits first."""
    import numpy as np

    dtype = np.int16 if bits == 16 else np.int32
    return [(operands[0] >> (bits * part)).astype(dtype) for part in range(64 // bits)]


def _loaded(addresses: Any, wanted: Any, dtype: Any) -> Any:
    import numpy as np
    from triton._C.libtriton import interpreter

    places = np.ascontiguousarray(addresses).astype(np.uint64)
    nothing = np.zeros(places.shape, dtype)
    return interpreter.load(places, np.ascontiguousarray(wanted), nothing, nothing.dtype)
