"""Checks a network between passes: names, shapes, widths. Worker side, and for tests."""

from __future__ import annotations

from tilewright.proposers.recurrence.frontend.tape import binds, names_in, reads
from tilewright.proposers.recurrence.ir import Call, Name, Network, Node, Product, Recurrence, Tensor
from tilewright.proposers.recurrence.ops import OPS

ROW_OPERATIONS = ("row_mean", "row_var", "row_max")


class VerifyError(AssertionError):
    """A pass broke the network: a mistake in the compiler, not in the user's file."""


def verify(network: Network) -> Network:
    """The network itself, if it holds together.

    Raises:
        VerifyError: a name bound twice or read before it is bound, a value without a type, a width or
            shape that does not fit, a state that becomes nothing.
    """
    bound: set[str] = set()

    def bind(name: str) -> None:
        _insist(name not in bound, f"{name} is bound twice")
        _insist(name in network.types, f"{name} has no type")
        bound.add(name)

    for name in (*network.inputs, *network.parameters):
        bind(name)
    loops: set[str] = set()
    for statement in network.statements:
        for name in reads(statement):
            _insist(name in bound, f"{name} is read before it is bound")
        for name in binds(statement):
            bind(name)
        if isinstance(statement, Recurrence):
            _insist(statement.name not in loops, f"two loops are called {statement.name}")
            loops.add(statement.name)
            _Loop(statement, network.types).check()
        else:
            _check_call(statement)
    for name in names_in(network.outputs):
        _insist(name in bound, f"output {name} is never bound")
    return network


def _insist(holds: bool, broken: str) -> None:
    if not holds:
        raise VerifyError(broken)


def _check_call(call: Call) -> None:
    _insist(call.target.count(".") == 2, f"{call.name}: {call.target} names no operator")


class _Loop:
    def __init__(self, loop: Recurrence, types: dict[str, Tensor]) -> None:
        self._loop = loop
        self._types = types
        self._widths: dict[str, int] = {}

    def check(self) -> None:
        loop = self._loop
        self._insist(loop.steps > 0 and loop.batch > 0, "no steps or no rows")
        for state in loop.states:
            self._bind(state.name, state.width)
            self._shape(state.initial, (loop.batch, state.width))
        for stream in loop.streams:
            self._bind(stream.name, stream.width)
            self._shape(stream.value, (loop.steps, loop.batch, stream.width))
        for operand in loop.operands:
            self._bind(operand.name, operand.shape[-1] if operand.shape else 1)
            self._shape(operand.value, operand.shape)
            fits = len(operand.shape) < 2 or operand.shape[0] == loop.batch
            fits = fits and len(operand.shape) <= 2
            self._insist(fits, f"operand {operand.name} has shape {operand.shape}")
        for item in loop.body:
            self._product(item) if isinstance(item, Product) else self._node(item)
            self._bind(item.name, item.width)
        self._following()
        for result in loop.results:
            self._insist(result.source in self._widths, f"result {result.name} reads unknown {result.source}")
            steps = (loop.steps,) if result.every_step else ()
            self._shape(result.name, (*steps, loop.batch, self._widths[result.source]))

    def _insist(self, holds: bool, broken: str) -> None:
        _insist(holds, f"{self._loop.name}: {broken}")

    def _bind(self, name: str, width: int) -> None:
        self._insist(name not in self._widths, f"{name} is bound twice")
        self._insist(width > 0, f"{name} has no columns")
        self._widths[name] = width

    def _shape(self, name: str, shape: tuple[int, ...]) -> None:
        kind = self._types[name]
        self._insist(kind.shape == shape, f"{name} has shape {kind.shape}, not {shape}")
        self._insist(kind.dtype == "float32", f"{name} is {kind.dtype}")

    def _product(self, product: Product) -> None:
        fits = self._widths.get(product.left) == product.inner
        self._insist(fits, f"{product.name}: {product.left} does not fit")
        self._shape(product.weight, (product.width, product.inner))

    def _node(self, node: Node) -> None:
        widths = []
        for argument in node.args:
            if isinstance(argument, Name):
                self._insist(argument.name in self._widths, f"{node.name} reads unknown {argument.name}")
                widths.append(self._widths[argument.name])
        self._insist(bool(widths), f"{node.name} reads no value")
        if node.op == "slice":
            _, first, width = node.args
            fits = (
                isinstance(first, int) and isinstance(width, int) and 0 <= first < first + width <= widths[0]
            )
            self._insist(fits, f"{node.name} cuts outside")
            self._insist(node.width == width, f"{node.name} is {node.width} wide")
        elif node.op in ROW_OPERATIONS:
            self._insist(len(node.args) == 1 and node.width == 1, f"{node.name} is no reduction")
        else:
            self._insist(node.op in OPS, f"{node.name}: no operation {node.op}")
            self._insist(OPS[node.op].arguments == len(node.args), f"{node.name}: wrong number of arguments")
            self._insist(set(widths) <= {1, node.width}, f"{node.name}: widths {widths} beside {node.width}")

    def _following(self) -> None:
        loop = self._loop
        states = {state.name: state.width for state in loop.states}
        self._insist(sorted(states) == sorted(n for n, _ in loop.following), "following misses a state")
        for state, source in loop.following:
            self._insist(self._widths.get(source) == states[state], f"{source} cannot become {state}")
