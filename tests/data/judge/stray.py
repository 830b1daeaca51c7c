"""Kernels that stay within their tensors and kernels that do not, run under the interpreter with the watch on.

Prints one JSON object: for each case the lines that the watch has noted.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from tilewright.judge.interpreted import assembly, cooperative, memory
from tilewright.judge.interpreted.interpreter import ConfigChoice, Tally, repair

BLOCK_POINTERS = hasattr(interpreter.InterpreterBuilder, "create_tensor_pointer_load")  # gone in triton 3.9


@triton.jit
def copy(src, dst, total, limit, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(src + at, mask=at < limit)
    tl.store(dst + at, value, mask=at < total)


@triton.jit
def at_offset(src, dst, offset):
    tl.store(dst + offset, tl.load(src))


@triton.jit
def count(total, offset):
    tl.atomic_add(total + offset, 1.0)


@triton.jit
def swap(lock, offset):
    tl.atomic_cas(lock + offset, 0, 1)


@triton.jit
def block_pointer(src, dst, rows, CHECK: tl.constexpr):
    tile = tl.make_block_ptr(src, (rows, 16), (16, 1), (0, 0), (16, 16), (1, 0))
    if CHECK:
        value = tl.load(tile, boundary_check=(0, 1))
    else:
        value = tl.load(tile)
    out = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(dst + out, value)


@triton.jit
def described(src, dst, rows):
    tile = tl.make_tensor_descriptor(src, [rows, 16], [16, 1], [16, 16])
    out = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(dst + out, tile.load([0, 0]))


@triton.jit
def inline(src, dst, total, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    like = tl.zeros((BLOCK,), tl.float32)
    value = tl.inline_asm_elementwise(
        "ld.global.f32 $0, [$1];", "=f,l,f", [src.to(tl.int64) + at * 4, like], tl.float32, False, 1
    )
    tl.store(dst + at, value, mask=at < total)


@triton.jit
def through_pointer(addresses, dst):
    pointer = tl.load(addresses).to(tl.pointer_type(tl.float32))
    tl.store(dst, tl.load(pointer))


@triton.autotune(configs=[triton.Config({"BLOCK": 8}), triton.Config({"BLOCK": 16})], key=[])
@triton.jit
def tuned(dst, total, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(dst + at, at.to(tl.float32), mask=at < total)


@triton.jit
def helper(dst, at):
    tl.store(dst + at, 1.0)


@triton.jit
def calls_helper(dst, offset):
    helper(dst, offset)


def inside():
    x, y = torch.randn(50), torch.empty(50)
    copy[(4,)](x, y, 50, 50, BLOCK=16)
    assert torch.equal(x, y)
    copy[(1,)](x[10:], y[5:], 8, 16, BLOCK=16)
    count[(3,)](y, 49)
    swap[(1,)](torch.zeros(4, dtype=torch.int32), 3)
    if BLOCK_POINTERS:
        block_pointer[(1,)](torch.randn(10, 16), torch.empty(16, 16), 10, CHECK=True)
    inline[(1,)](torch.randn(16), y, 16, BLOCK=16)
    copy[(1,)](x, y, 0, 0, BLOCK=16)
    hidden = torch.ones(3)
    through_pointer[(1,)](torch.tensor([hidden.data_ptr()]), y)
    assert y[0] == 1
    tally = Tally()
    with tally.applied():
        copy[(4,)](x, y, 50, 50, BLOCK=16)
    choice = ConfigChoice()
    choice.index = 1
    with choice.applied():
        tuned[(1,)](torch.empty(12), 12)
    calls_helper[(1,)](y, 49)


def descriptor():
    described[(1,)](torch.randn(10, 16), torch.empty(16, 16), 10)


CASES = {
    "inside": inside,
    "inside a descriptor": descriptor,
    "load past the end": lambda: copy[(4,)](torch.randn(50), torch.empty(64), 64, 64, BLOCK=16),
    "store past the end": lambda: copy[(4,)](torch.randn(64), torch.empty(50), 64, 64, BLOCK=16),
    "before the start": lambda: at_offset[(1,)](torch.ones(1), torch.empty(1000), -3),
    "atomic": lambda: count[(1,)](torch.zeros(4), 4),
    "exchange": lambda: swap[(1,)](torch.zeros(4, dtype=torch.int32), 5),
    "assembly": lambda: inline[(1,)](torch.randn(10), torch.empty(16), 10, BLOCK=16),
    "wild": lambda: at_offset[(1,)](torch.ones(1), torch.empty(4), 2**40),
    "helper": lambda: calls_helper[(1,)](torch.empty(4), 4),
}

if BLOCK_POINTERS:
    CASES["block pointer"] = lambda: block_pointer[(1,)](
        torch.randn(10, 16), torch.empty(16, 16), 10, CHECK=False
    )


def main():
    repair()
    cooperative.install()
    assembly.enable()
    watch = memory.install()
    found = {}
    for name, case in CASES.items():
        watch.strays.clear()
        try:
            case()
            raised = ""
        except Exception as error:
            while error.__cause__ is not None:
                error = error.__cause__
            raised = type(error).__name__
        found[name] = [raised, *watch.strays]
    json.dump(found, sys.stdout)


main()
