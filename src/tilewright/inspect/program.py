"""What one program of a launch does, counted off its Triton IR: bytes, matrix products, iterations.

Loop bounds are evaluated with the launch's own scalars and, where they depend on it, for a few
program ids spread over the grid, whose counts are averaged. A bound that depends on loaded data
cannot be known: such a loop counts once, and a note says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tilewright.inspect.ttir import LOADS, STORES, Function, Operation
from tilewright.launches.model import Launch

SAMPLED_PROGRAMS = 5
_TENSOR = re.compile(r"tensor<((?:\d+x)*)(!tt\.ptr<\s*)?([a-z]\w*)")
_PRECISION = re.compile(r"inputPrecision = (\w+)")
_BITS = re.compile(r"(\d+)")
_SLOW = {"math.exp", "math.exp2", "math.log", "math.log2", "math.sqrt", "math.rsqrt", "math.sin", "math.cos"}
_SLOW |= {"arith.divf", "math.erf", "tt.extern_elementwise", "math.tanh"}
_NATURAL = {"math.exp", "math.log"}  # the unit works to base 2: one multiplication more
_WORK = re.compile(
    r"^(?:arith|math)\.(?!constant|ext|trunc|index)|^tt\.(?:reduce|scan|elementwise_inline_asm)"
)


@dataclass(frozen=True)
class Dot:
    """A matrix product of one program: [m, k] · [k, n]. `rate` is a key of Gpu.tflops."""

    m: int
    n: int
    k: int
    rate: str
    operand_bytes: int
    passes: int = 1  # products that one of emulated precision is made of

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k * self.passes


@dataclass
class Block:
    """What lies directly in one loop body (or outside every loop), and how often it runs.

    Args:
        trips: executions in one program, on average.
        depth: loops around it.
        load_bytes, store_bytes: of one execution.
        loads: load operations, each of which is waited for.
        element_ops: elementwise operations × elements; slow_ops: those of the special-function unit.
    """

    trips: float
    depth: int
    load_bytes: int = 0
    store_bytes: int = 0
    loads: int = 0
    element_ops: int = 0
    slow_ops: int = 0
    dots: list[Dot] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """One program of a launch. `notes` says which loop counts are assumed."""

    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    @property
    def load_bytes(self) -> float:
        return sum(block.trips * block.load_bytes for block in self.blocks)

    @property
    def store_bytes(self) -> float:
        return sum(block.trips * block.store_bytes for block in self.blocks)

    @property
    def flops(self) -> dict[str, float]:
        """Operations of its matrix products by the rate they run at, a key of Gpu.tflops."""
        found: dict[str, float] = {}
        for block in self.blocks:
            for dot in block.dots:
                found[dot.rate] = found.get(dot.rate, 0.0) + block.trips * dot.flops
        return found

    @property
    def innermost(self) -> list[Block]:
        """The deepest loop bodies; none in a program without a loop."""
        deepest = max((block.depth for block in self.blocks), default=0)
        return [block for block in self.blocks if block.depth == deepest and deepest]

    @property
    def iterations(self) -> float:
        """Executions of the deepest loop bodies, all together."""
        return sum(block.trips for block in self.innermost)

    @property
    def loops(self) -> int:
        """How many loop bodies those are, at least 1."""
        return max(1, len(self.innermost))


def count(function: Function, launch: Launch) -> Program:
    """Count what one program of a launch does."""
    scalars = {
        f"%{a.name}": int(a.value)
        for a in launch.arguments
        if a.kind == "scalar" and a.value is not None and re.fullmatch(r"-?\d+", a.value)
    }
    blocks: dict[int, Block] = {}
    notes: Counter[str] = Counter()
    samples = _sample(launch.grid)
    for ids in samples:
        counter = _Counter(function, launch, scalars, ids)
        counter.visit(function.body, 1.0, 0, 0, blocks, 1 / len(samples))
        notes.update(counter.notes)
    return Program(tuple(blocks.values()), tuple(sorted(notes)))


def _sample(grid: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Program ids spread evenly over the grid."""
    x, y, z = grid
    total = x * y * z
    some = min(total, SAMPLED_PROGRAMS)
    flat = [round((i + 0.5) * total / some - 0.5) for i in range(some)] or [0]
    return [(i % x, i // x % y, i // (x * y)) for i in flat] if total else [(0, 0, 0)]


class _Counter:
    """Walks a kernel once for one program id."""

    def __init__(
        self, function: Function, launch: Launch, scalars: Mapping[str, int], ids: tuple[int, int, int]
    ) -> None:
        self.known: dict[str, int | None] = dict(scalars)
        self.grid = launch.grid
        self.ids = ids
        self.notes: set[str] = set()
        self.definitions = {name: operation for operation, _ in function.walk() for name in operation.results}

    def visit(
        self,
        body: list[Operation],
        trips: float,
        depth: int,
        key: int,
        blocks: dict[int, Block],
        weight: float,
    ) -> None:
        first = key not in blocks
        block = blocks.setdefault(key, Block(0.0, depth))
        block.trips += trips * weight
        for operation in body:
            if operation.opcode == "scf.for":
                inner = self._trips(operation)
                for region in operation.regions:
                    self.visit(region, trips * inner, depth + 1, id(region), blocks, weight)
            elif operation.opcode == "scf.while":
                self.notes.add("a while loop is assumed to run once")
                for region in operation.regions:
                    self.visit(region, trips, depth + 1, id(region), blocks, weight)
            elif operation.opcode == "scf.if":
                taken = self.value(operation.operands[0])
                for i, region in enumerate(operation.regions):
                    share = 1.0 if taken is None or bool(taken) == (i == 0) else 0.0
                    self.visit(region, trips * share, depth, id(region), blocks, weight)
            elif first:
                _add(block, operation)

    def _trips(self, loop: Operation) -> float:
        low, high, step = (self.value(name) for name in loop.operands[:3])
        if low is None or high is None or not step:
            self.notes.add("a loop whose bounds depend on data is assumed to run once")
            return 1.0
        trips = max(0, -(-(high - low) // step))
        self.known[loop.carried[0]] = low + trips // 2 * step  # inner bounds see the middle iteration
        return float(trips)

    def value(self, name: str) -> int | None:
        """An integer of the program, or None when it is not known."""
        if name in self.known:
            return self.known[name]
        self.known[name] = None  # also what a value that depends on itself gets
        operation = self.definitions.get(name)
        if operation is not None:
            self.known[name] = self._evaluate(operation)
        return self.known[name]

    def _evaluate(self, operation: Operation) -> int | None:
        code = operation.opcode
        if code == "arith.constant":
            match = re.search(r"constant\s+(-?\d+|true|false)\b", operation.text)
            return None if not match else int({"true": "1", "false": "0"}.get(match[1], match[1]))
        if code in ("tt.get_program_id", "tt.get_num_programs"):
            match = re.search(r"get_(?:program_id|num_programs)\s+([xyz])", operation.text)
            axis = "xyz".index(match[1]) if match else 0
            return (self.ids if code == "tt.get_program_id" else self.grid)[axis]
        values = [self.value(name) for name in operation.operands]
        if code == "arith.select" and len(values) == 3 and values[0] is not None:
            return values[1] if values[0] else values[2]
        if None in values or not values:
            return None
        known = [v for v in values if v is not None]
        if code in _CASTS:
            return known[0]
        if code == "arith.cmpi":
            match = re.search(r"cmpi\s+(\w+)", operation.text)
            return _COMPARE[match[1]](*known) if match and match[1] in _COMPARE else None
        if code in _DIVISIONS and known[1] == 0:
            return None
        return int(_ARITHMETIC[code](*known)) if code in _ARITHMETIC else None


_CASTS = {"arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast"}
_DIVISIONS = {
    "arith.divsi",
    "arith.divui",
    "arith.remsi",
    "arith.remui",
    "arith.ceildivsi",
    "arith.floordivsi",
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.divsi": lambda a, b: math.trunc(a / b) if abs(a) < 2**52 else a // b,
    "arith.divui": lambda a, b: a // b,
    "arith.remsi": lambda a, b: int(math.fmod(a, b)),
    "arith.remui": lambda a, b: a % b,
    "arith.ceildivsi": lambda a, b: -(-a // b),
    "arith.floordivsi": lambda a, b: a // b,
    "arith.minsi": min,
    "arith.minui": min,
    "arith.maxsi": max,
    "arith.maxui": max,
    "arith.andi": lambda a, b: a & b,
    "arith.ori": lambda a, b: a | b,
    "arith.xori": lambda a, b: a ^ b,
    "arith.shli": lambda a, b: a << b,
    "arith.shrsi": lambda a, b: a >> b,
    "arith.shrui": lambda a, b: a >> b,
}
_COMPARE: dict[str, Callable[[int, int], int]] = {
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "slt": lambda a, b: int(a < b),
    "sle": lambda a, b: int(a <= b),
    "sgt": lambda a, b: int(a > b),
    "sge": lambda a, b: int(a >= b),
    "ult": lambda a, b: int(a < b),
    "ule": lambda a, b: int(a <= b),
    "ugt": lambda a, b: int(a > b),
    "uge": lambda a, b: int(a >= b),
}


def _add(block: Block, operation: Operation) -> None:
    """Add one operation to what its block does once."""
    tensors = _TENSOR.findall(operation.text[operation.text.find(" : ") :])
    if not tensors:
        if operation.opcode in LOADS | STORES:
            block.loads += operation.opcode in LOADS
        return
    shape, _, element = tensors[0]
    elements = _elements(shape)
    if operation.opcode in LOADS:
        shape, _, element = tensors[-1]
        block.load_bytes += _elements(shape) * _bytes(element)
        block.loads += 1
    elif operation.opcode in STORES:
        block.store_bytes += max(_elements(s) * _bytes(e) for s, _, e in tensors)
    elif operation.opcode in ("tt.dot", "tt.dot_scaled", "ttng.warp_group_dot") and len(tensors) >= 3:
        block.dots.append(_dot(operation, tensors))
    elif _WORK.match(operation.opcode) and element not in ("i1",):
        block.element_ops += elements * (2 if operation.opcode in _NATURAL else 1)
        block.slow_ops += elements if operation.opcode in _SLOW else 0


def _dot(operation: Operation, tensors: list[tuple[str, str, str]]) -> Dot:
    (a_shape, _, a), (b_shape, _, b) = tensors[0], tensors[1]
    m, k = [int(n) for n in a_shape.split("x") if n][-2:]
    n = [int(n) for n in b_shape.split("x") if n][-1]
    batch = _elements(a_shape) // (m * k)
    precision = _PRECISION.search(operation.text)
    named = precision[1].lower() if precision else "ieee"
    rate, passes = _rate(a, named)
    return Dot(m * batch, n, k, rate, (m * k * _bytes(a) + k * n * _bytes(b)) * batch, passes)


def _rate(element: str, precision: str) -> tuple[str, int]:
    """Which of a GPU's rates a product of `element` operands runs at, and in how many products."""
    if element == "f32":
        return {"tf32": ("tf32", 1), "tf32x3": ("tf32", 3), "bf16x3": ("bf16", 3), "bf16x6": ("bf16", 6)}.get(
            precision, ("fp32", 1)
        )
    if element.startswith("f8"):
        return "fp8", 1
    return {"f16": ("fp16", 1), "bf16": ("bf16", 1), "i8": ("int8", 1)}.get(element, ("fp32", 1))


def _elements(shape: str) -> int:
    return math.prod(int(n) for n in shape.split("x") if n)


def _bytes(element: str) -> int:
    if element.startswith("f8"):
        return 1
    bits = _BITS.search(element)
    return max(1, int(bits[1]) // 8) if bits else 4
