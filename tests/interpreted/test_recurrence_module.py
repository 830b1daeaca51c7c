"""Whole ModelNew files written from a network, run by the judge under Triton's interpreter."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tilewright.contract import breaches
from tilewright.gpu.catalogue import find
from tilewright.judge.api import check
from tilewright.judge.means.findings import Kind
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit.emitted import Emitted, Packed
from tilewright.proposers.recurrence.emit.module import module
from tilewright.proposers.recurrence.frontend.passes import compile_network
from tilewright.proposers.recurrence.ir import (
    Call,
    Group,
    Name,
    Network,
    Node,
    Product,
    Recurrence,
    Result,
    State,
    Stream,
    Tensor,
)
from tilewright.proposers.recurrence.stationary import emit as emit_stationary

sys.path.append(str(Path(__file__).parents[1] / "data" / "recurrence"))
from reference_cells import CELLS

pytestmark = pytest.mark.interpreted

T, B, I, H, O = 5, 3, 20, 12, 7  # noqa: E741
SOURCE = f'''import torch
import torch.nn as nn
from math import sqrt

SCALE = 0.5


def start(linear):
    nn.init.uniform_(linear.weight, -SCALE / sqrt(4), SCALE)


class Model(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        """x [T, B, inputs] -> y [T, B, outputs] and the last state."""
        super(Model, self).__init__()
        self.i2h = nn.Linear(inputs + hidden, hidden)
        self.h2o = nn.Sequential(nn.Linear(hidden, outputs), nn.ReLU())
        self.begin()

    def begin(self):
        start(self.i2h)

    def forward(self, x, initial=None):
        h = torch.zeros(x.shape[1], self.i2h.out_features)
        seen = []
        for step in x:
            h = torch.tanh(self.i2h(torch.cat((step, h), dim=1)))
            seen.append(self.h2o(h))
        return torch.stack(seen), h


def get_inputs():
    return [torch.randn({T}, {B}, {I})]


def get_init_inputs():
    return [{I}, {H}, {O}]
'''

KERNEL = '''
@triton.jit
def loop_kernel(pre_ptr, h0_ptr, w_ptr, out_ptr, steps, stride_t, stride_b, stride_h,
                B: tl.constexpr, H: tl.constexpr, BLOCK: tl.constexpr):
    """h = tanh(pre[t] + h @ w.T), every step of one row of the batch."""
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    h = tl.load(h0_ptr + row * H + i, mask=i < H, other=0.0)
    w = tl.load(w_ptr + i[:, None] * BLOCK + i[None, :])
    for t in range(steps):
        pre = tl.load(pre_ptr + t * stride_t + row * stride_b + i * stride_h, mask=i < H, other=0.0)
        h = tanh(pre + tl.sum(w.to(tl.float32) * h[None, :], axis=1))
        tl.store(out_ptr + (t * B + row) * H + i, h, mask=i < H)
'''
WRAPPER = '''
def loop(pre, h0, w):
    """pre [T, B, H], h0 [B, H], w [16, 16] padded -> every state [T, B, H] and the last."""
    steps, batch, hidden = pre.shape
    out = torch.empty((steps, batch, hidden), device=pre.device)
    loop_kernel[(batch,)](pre, h0.contiguous(), w, out, steps, *pre.stride(), B=batch, H=hidden, BLOCK=16)
    return out, out[-1]
'''


def network() -> Network:
    """What partitioning the loop above gives, written by hand."""
    shapes: dict[str, tuple[int, ...]] = {
        "x": (T, B, I), "w": (H, I + H), "b": (H,), "v": (O, H), "c": (O,), "w_x": (H, I), "w_h": (H, H),
        "w_t": (I, H), "flat": (T * B, I), "product": (T * B, H), "pre": (T, B, H), "h0": (B, H),
        "states": (T, B, H), "last": (B, H), "v_t": (H, O), "rows": (T * B, H), "y_flat": (T * B, O),
        "y_rows": (T, B, O), "y": (T, B, O),
    }  # fmt: skip
    loop = Recurrence(
        "loop", T, B, False,
        states=(State("h", H, "h0"),),
        streams=(Stream("p", H, "pre"),),
        operands=(),
        body=(
            Product("u", "h", "w_h", H, H),
            Node("s", "add", (Name("p"), Name("u")), H),
            Node("h_next", "tanh", (Name("s"),), H),
        ),
        following=(("h", "h_next"),),
        results=(Result("states", "h_next", True), Result("last", "h_next", False)),
    )  # fmt: skip
    return Network(
        inputs=("x",),
        parameters={"w": "i2h.weight", "b": "i2h.bias", "v": "h2o.0.weight", "c": "h2o.0.bias"},
        types={name: Tensor(shape) for name, shape in shapes.items()},
        statements=(
            Call("w_x", "aten.slice.Tensor", (Name("w"), 1, 0, I)),
            Call("w_h", "aten.slice.Tensor", (Name("w"), 1, I, 2**63 - 1)),
            Call("w_t", "aten.t.default", (Name("w_x"),)),
            Call("flat", "aten.view.default", (Name("x"), (T * B, I))),
            Call("product", "aten.addmm.default", (Name("b"), Name("flat"), Name("w_t"))),
            Call("pre", "aten.view.default", (Name("product"), (T, B, H))),
            Call("h0", "aten.zeros.default", ((B, H),), (("device", "cpu"), ("pin_memory", False))),
            loop,
            Call("v_t", "aten.t.default", (Name("v"),)),
            Call("rows", "aten.view.default", (Name("states"), (T * B, H))),
            Call("y_flat", "aten.addmm.default", (Name("c"), Name("rows"), Name("v_t"))),
            Call("y_rows", "aten.view.default", (Name("y_flat"), (T, B, O))),
            Call("y", "aten.relu.default", (Name("y_rows"),)),
        ),
        outputs=(Name("y"), Name("last")),
    )


def emitted(tiled: bool) -> Emitted:
    """The loop above; one that is given its stream in tiles puts it together again."""
    together = f"    pre = pre.permute(0, 1, 3, 2).reshape(-1, {8 * -(-B // 8)}, {H})[:, :{B}]\n"
    wrapper = WRAPPER.replace("    steps, batch", f"{together}    steps, batch") if tiled else WRAPPER
    padded = f"torch.nn.functional.pad(w_h.to(torch.float16), (0, {16 - H}, 0, {16 - H}))"
    return Emitted(
        KERNEL, wrapper, "loop", ("pre", "h0", "weight"), ("states", "last"), 1.0, ("tanh",),
        notes=("Plan: one program a row.",), packed=(Packed("weight", ("w_h",), padded),),
        tiled=frozenset({"pre"} if tiled else ()),
    )  # fmt: skip


def written(tiled: bool = False, precision: str = "tf32") -> str:
    whole = network()
    groups = [(Group(whole.recurrences), emitted(tiled))]
    problem = Problem.from_source(SOURCE)
    return module(whole, problem, groups, find("h100"), precision, ("One loop of 5 steps.",))


@pytest.mark.parametrize("tiled", [False, True])
def test_the_file_computes_what_the_reference_computes(tiled: bool) -> None:
    verdict = check(Problem.from_source(SOURCE), written(tiled), precision="float16")
    assert verdict.correct, verdict.reason


def test_the_file_keeps_the_contract() -> None:
    assert breaches(KernelFile.parse(written(), "best.py"), SOURCE) == ()


def test_a_wrong_size_is_named() -> None:
    other = Problem.from_source(SOURCE.replace(f"randn({T}, ", f"randn({T + 1}, "))
    verdict = check(other, written(), precision="float16")
    assert "planned for float32 [5, 3, 20]" in verdict.reason
    assert "x is torch.float32 [6, 3, 20]" in verdict.reason


def test_products_over_the_sequence_run_in_the_kernel_with_their_epilogue() -> None:
    forward = written(tiled=True).split("def forward")[1]
    assert forward.count("project(") == 2
    assert "tiled=True" in forward and 'activation="relu"' in forward
    assert "addmm" not in forward and "relu(" not in forward
    ast.parse(written(tiled=True))


def test_weights_are_prepared_again_when_one_changes(tmp_path) -> None:
    """A second forward after a change must not use what was packed for the first."""
    twice = SOURCE.replace(
        "def forward(self, x, initial=None):", "def forward(self, x, initial=None):\n        self.touch()"
    ).replace("    def begin(self):", "    def touch(self):\n        pass\n\n    def begin(self):")
    source = written().replace(
        "    @torch.no_grad()\n    def forward(self, x, initial=None):",
        "    def forward(self, x, initial=None):\n"
        "        with torch.no_grad():\n"
        "            self.i2h.weight.mul_(4)\n"
        "            self.run(x)\n"
        "            self.i2h.weight.div_(4)\n"
        "            return self.run(x)\n\n"
        "    def run(self, x, initial=None):",
    )
    # what this test adds to the file works on the weights with PyTorch
    verdict = check(Problem.from_source(twice), source, precision="float16", allow=(Kind.LIBRARY,))
    assert verdict.correct, verdict.reason


def test_inputs_of_other_kinds_than_float32() -> None:
    """Token numbers and a mask go in as they are; bfloat16 comes in, and goes out again."""
    text = CELLS["tokens, a mask, and weights of half precision"]
    whole = compile_network(text, "problem.py")
    group = Group(whole.recurrences)
    kernel = emit_stationary.emit(group, whole.types, find("h100"), "float32", "recurrence")
    problem = Problem.from_source(text)
    source = module(whole, problem, [(group, kernel)], find("h100"), "float32", ("One loop of 6 steps.",))
    verdict = check(problem, source)
    assert verdict.correct, verdict.reason
