"""The whole recurrence in one program per batch tile, its weights stationary in registers (Gluon).

The same kernel as `stationary.emit` writes, with layouts said instead of steered: a value [B, W] of a
step is [W, 8] in the accumulator's layout of mma.sync, weights are loaded into the left operand's
layout, and the exchanged value goes through one of two shared buffers [K, 8] in turn, so that one
barrier a step suffices: the other buffer's barrier lies between the last read of this one and its next
write. Weights and the exchanged value are held in slices of K, so that the first products start while
later slices still come from shared memory, and a product accumulates onto the value it is added to.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.emit.emitted import Emitted
from tilewright.proposers.recurrence.stationary import gluon_workers
from tilewright.proposers.recurrence.stationary.around import Around
from tilewright.proposers.recurrence.stationary.emit import assembled
from tilewright.proposers.recurrence.stationary.kernel import Kernel
from tilewright.proposers.recurrence.stationary.plan import TILE, Block
from tilewright.proposers.recurrence.stationary.writer import plain

_SLICE = 64  # of K, loaded from shared memory at a time
_IMPORTS = (
    "from triton.experimental import gluon",
    "from triton.experimental.gluon import language as gl",
    "from triton.experimental.gluon.language.nvidia.ampere import mma_v2",
)


def emit(
    group: ir.Group,
    types: dict[str, ir.Tensor],
    gpu: Gpu,
    precision: str,
    name: str,
    around: Around | None = None,
    tiled: frozenset[str] = frozenset(),
) -> Emitted:
    """One kernel; see `stationary.emit`.

    Raises:
        ir.Declined: as `stationary.emit`.
    """
    imports = (*_IMPORTS, *gluon_workers.IMPORTS) if around else _IMPORTS
    templates = gluon_workers.TEMPLATES
    return assembled(GluonKernel, group, gpu, precision, name, around, tiled, templates, imports)


class GluonKernel(Kernel):
    """`Kernel` in Gluon's words."""

    dialect = "gluon"
    _tl = "gl"
    _decorator = "gluon.jit"
    _takes_any_steps = False  # two steps a round, one for each buffer
    _prefetches = False
    _stores_late = True

    def _axes(self) -> None:
        warps = self.plan.warps
        self._add("accumulator: gl.constexpr = gl.NVMMADistributedLayout(")
        self._add(f"    version=[2, 0], warps_per_cta=[{warps}, 1], instr_shape=[16, 8]")
        self._add(")")
        for side, index in (("left", 0), ("right", 1)):
            self._add(f"{side}: gl.constexpr = gl.DotOperandLayout({index}, accumulator, k_width=2)")
        self._add("plain: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, order=[1, 0])")
        self._add(f"across = gl.arange(0, {TILE}, layout=gl.SliceLayout(0, accumulator))[None, :]")
        self._add(f"column = gl.program_id(0) * {TILE} + across")
        self._turn = 0

    def _lane(self) -> str:
        return "across"

    def _halves(self, pointer: str, offset: str) -> str:
        return f"{pointer} + ({offset})"

    def _half_bytes(self, elements: int) -> int:
        return elements

    def _stored_half(self, address: str, value: str) -> str:
        return f"gl.store({address}, {value}.to(gl.float16))"

    def _row_numbers(self, rows: int) -> str:
        return f"gl.arange(0, {self.plan.warps * rows}, layout=gl.SliceLayout(1, accumulator))[:, None]"

    def _bytes(self, elements: str) -> str:
        return elements

    def _place(self, pointer: str, offset: str) -> str:
        return f"{pointer} + ({offset})"

    def _like(self, width: int, inner: int = TILE) -> str:
        return ""

    def _address(self, name: str, width: int, first: int, held_as: int, *, batch: bool) -> str:
        """Of what all rows of the batch share, an address for each of them: products accumulate onto it."""
        address = super()._address(name, width, first, held_as, batch=batch)
        return address if batch else f"{address} + across * 0"

    def _loaded(self, address: str, like: str, *, paired: bool = False) -> str:
        return f"gl.load({address})"

    def _stored(self, pointer: str, offset: str, value: str, wanted: str) -> str:
        mask = f", mask={wanted}" if wanted else ""
        return f"gl.store({pointer} + ({offset}), {value}{mask})"

    def _weight(self, number: int, block: Block) -> str:
        name, argument = self._packed(number, block)
        warps = self.plan.warps
        height, inner = warps * self.plan.rows(block.width), warps * self.plan.rows(block.product.inner)
        row = self._once(
            f"left_row{height}", f"gl.arange(0, {height}, layout=gl.SliceLayout(1, left))[:, None]"
        )
        length = min(_SLICE, inner)
        depth = self._once(
            f"left_at{length}", f"gl.arange(0, {length}, layout=gl.SliceLayout(0, left))[None, :]"
        )
        for part in range(block.format.parts):
            for first in range(0, inner, length):
                offset = part * height * inner + first
                place = f"{argument} + {row} * {inner} + {depth}" + (f" + {offset}" if offset else "")
                self._add(f"{name}_{part}_{first} = gl.load({place})")
        return name

    def _loop(self) -> None:
        """Two steps a round, one for each buffer, and the last one alone where T is odd."""
        steps = self.member.steps
        for block in self.blocks:
            inner = self.plan.warps * self.plan.rows(block.product.inner)
            for part in range(block.format.parts):
                for turn in (0, 1):
                    self._once(
                        f"{plain(block.product.left)}_{block.format.dtype}_{part}_shared{turn}",
                        f"gl.allocate_shared_memory(gl.{block.format.dtype}, [{inner}, {TILE}], plain)",
                    )
        if self.around:
            first, end = self._epochs()
            self._add(f"for pair in range({first} // 2, {end} // 2):")
        else:
            self._add(f"for pair in range({steps // 2}):")
        self._depth += 1
        for self._turn in (0, 1):
            self._step(f"(pair * 2 + {self._turn}).to(gl.int64)")
        self._depth = 1
        if self.around:
            self._add("if steps % 2 == 1:")
            self._depth = 2
        if self.around or steps % 2:
            self._turn = 0
            self._step(f"gl.to_tensor({self._last}).to(gl.int64)")
        self._depth = 1

    def _exchange(self, names: list[str], width: int) -> None:
        inner = self.plan.warps * self.plan.rows(width)
        for name in names:
            self._add(f"{name}_shared{self._turn}.store({name})")
        length = min(_SLICE, inner)
        for name in names:
            for first in range(0, inner, length):
                source = f"{name}_shared{self._turn}.slice({first}, {length}, 0)"
                self._add(f"{name}_{first} = {source}.load(right)")

    def _multiply(self, result: str, weight: str, value: str, onto: str | None, block: Block) -> None:
        height = self.plan.warps * self.plan.rows(block.width)
        inner = self.plan.warps * self.plan.rows(block.product.inner)
        onto = onto or f"gl.zeros([{height}, {TILE}], gl.float32, accumulator)"
        for first in range(0, inner, min(_SLICE, inner)):
            self._add(f"{result} = mma_v2({weight}_{first}, {value}_{first}, {onto})")
            onto = result

    def _one_row(self, text: str) -> str:
        return f"gl.max({text}, 0)[None, :]"

    def _over_columns(self, kind: str, text: str) -> str:
        return f"gl.{kind}({text}, 0)[None, :]"

    def _use(self, helper: str, *arguments: str) -> str:
        self.helpers.add(f"gluon_{helper}")
        return f"gluon_{helper}({', '.join(arguments)})"
