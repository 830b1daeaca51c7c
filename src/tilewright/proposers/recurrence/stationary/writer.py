"""How a stationary kernel's text is put together: lines, parameters, and what differs between dialects."""

from __future__ import annotations

import re

from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.stationary.plan import TILE, Plan


class Writer:
    """The words of one kernel in Triton; a subclass may say the same in another dialect.

    Attributes:
        parameters: pointers and strides, in the order the kernel takes them.
        arguments: what the wrapper passes for each.
        helpers: that the text calls.
    """

    def __init__(self, member: ir.Recurrence, plan: Plan, name: str) -> None:
        self.member = member
        self.plan = plan
        self.name = name
        self.parameters: list[str] = []
        self.arguments: list[str] = []
        self.helpers: set[str] = set()
        self._made: set[str] = set()
        self._lines: list[str] = []
        self._depth = 1

    dialect = "triton"
    _tl = "tl"
    _decorator = "triton.jit"
    _takes_any_steps = True
    _prefetches = True
    _stores_late = False  # whether a state is stored in the next step, while that step's products run

    def _axes(self) -> None:
        self._add(f"warp = tl.arange(0, {self.plan.warps})[:, None, None]")
        self._add(f"column = tl.program_id(0) * {TILE} + tl.arange(0, {TILE})[None, None, :]")

    def _bytes(self, elements: str) -> str:
        """A distance in what addresses are counted in."""
        return f"(4 * {elements})"

    def _add(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    def _once(self, name: str, expression: str) -> str:
        """A variable of the prologue, written when it is first needed."""
        if name not in self._made:
            self._made.add(name)
            self._add(f"{name} = {expression}")
        return name

    def _rows(self, width: int, held_as: int) -> str:
        """Column that each row of a value holds in the layout of another width; beyond its own the last."""
        held = self._every_row(held_as)
        if width == held_as and self._full(width):
            return held
        return self._once(f"{held}_of_{width}", f"{self._tl}.minimum({held}, {width - 1})")

    def _every_row(self, width: int) -> str:
        rows = self.plan.rows(width)
        return self._once(f"row{rows}", self._row_numbers(rows))

    def _row_numbers(self, rows: int) -> str:
        return f"warp * {rows} + tl.arange(0, {rows})[None, :, None]"

    def _full(self, width: int) -> bool:
        return self.plan.rows(width) * self.plan.warps == width

    def _like(self, width: int, inner: int = TILE) -> str:
        """A product of zeros: nothing but the layout of an accumulator."""
        warps, rows = self.plan.warps, self.plan.rows(width)
        dtype = "float32" if inner == TILE else "float16"
        return self._once(
            f"like{rows}_{inner}",
            f"tl.dot(tl.zeros(({warps}, {rows}, 16), tl.float16), "
            f"tl.zeros(({warps}, 16, {inner}), tl.float16), out_dtype=tl.{dtype})",
        )

    def _use(self, helper: str, *arguments: str) -> str:
        self.helpers.add(helper)
        return f"{helper}({', '.join(arguments)})"

    def _read(self) -> str:
        return "read" if self.member.batch % TILE else "column"

    def _parameter(self, name: str, argument: str, *, constant: bool = False) -> str:
        parameter = f"{name}: {self._tl}.constexpr" if constant else name
        if parameter not in self.parameters:
            self.parameters.append(parameter)
            self.arguments.append(argument)
        return name

    def _pointer(self, name: str, value: str, columns: int, *axes: str) -> None:
        """A pointer and its strides, `axes` naming the dimensions ("t", "b", "w") of the tensor."""
        if name not in self.parameters:
            self.parameters += [name, *(f"{name}_{axis}: {self._tl}.constexpr" for axis in axes)]
            self.arguments += [value, f"*{value}.stride()"]

    def _stride(self, name: str, axis: str) -> str:
        """How far apart neighbours along an axis of a pointer's tensor lie."""
        return f"{name}_{axis}"

    def _address(self, name: str, width: int, first: int, held_as: int, *, batch: bool) -> str:
        """Addresses of columns first … first + width of a [B, W] or [W] tensor."""
        rows, along = self._rows(width, held_as), self._stride(name, "w")
        offset = f"({rows} + {first}) * {along}" if first else f"{rows} * {along}"
        if batch:
            offset += f" + {self._read()} * {self._stride(name, 'b')}"
        return self._place(name, offset)

    def _place(self, pointer: str, offset: str) -> str:
        return f"{pointer}.to(tl.int64) + 4 * ({offset}).to(tl.int64)"

    def _loaded(self, address: str, like: str, *, paired: bool = False) -> str:
        """float32 at addresses; `paired` where each thread's come in pairs of neighbours."""
        return self._use("load_pair_like" if paired else "load_like", address, like)

    def _one_row(self, text: str) -> str:
        """Any row of a value whose rows are all the same."""
        return f"tl.max({text}, 1, keep_dims=True)"

    def _over_columns(self, kind: str, text: str) -> str:
        """tl.sum or tl.max over all columns."""
        return f"tl.{kind}(tl.{kind}({text}, 1, keep_dims=True), 0, keep_dims=True)"

    def _stored(self, pointer: str, offset: str, value: str, wanted: str) -> str:
        address = self._place(pointer, offset)
        if wanted:
            return self._use("store_like_if", address, value, f"({wanted}).to(tl.int32)")
        return self._use("store_like", address, value)


def plain(name: str) -> str:
    """The name as an identifier."""
    return re.sub(r"\W", "_", name)
