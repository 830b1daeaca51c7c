"""The calls of a network written as PyTorch that people read.

A target with no entry here is called through `torch.ops`, which every operator has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from tilewright.proposers.recurrence.ir import Argument, Call, Name

FACTORIES = frozenset({
    "aten.randn.default", "aten.rand.default", "aten.zeros.default", "aten.ones.default",
    "aten.empty.memory_format", "aten.full.default", "aten.arange.default", "aten.arange.start",
    "aten.arange.start_step", "aten.randint.default", "aten.randint.low", "aten.eye.default",
    "aten.scalar_tensor.default", "aten.normal.float_float",
})  # fmt: skip
RANDOM = (
    "aten.rand", "aten.normal", "aten.bernoulli", "aten.dropout", "aten.native_dropout", "aten.multinomial",
    "aten.uniform", "aten.exponential",
)  # fmt: skip
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
FUNCTIONS = {
    f"aten.{name}.default": name
    for name in (
        "mm", "addmm", "bmm", "matmul", "tanh", "sigmoid", "relu", "exp", "neg", "abs", "sqrt", "zeros_like",
        "ones_like", "randn", "rand", "zeros", "ones", "full", "arange", "flip",
    )
} | {"aten.where.self": "where"}  # fmt: skip
METHODS = {
    "aten.t.default": "t", "aten.view.default": "reshape", "aten._unsafe_view.default": "reshape",
    "aten.reshape.default": "reshape", "aten.permute.default": "permute", "aten.transpose.int": "transpose",
    "aten.expand.default": "expand", "aten.unsqueeze.default": "unsqueeze", "aten.squeeze.dim": "squeeze",
    "aten.contiguous.default": "contiguous", "aten.sum.dim_IntList": "sum", "aten.mean.dim": "mean",
}  # fmt: skip
DTYPES = frozenset({
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
})  # fmt: skip
DROPPED = frozenset({"layout", "pin_memory", "memory_format"})  # nothing that these change is read here
Sizes: TypeAlias = Mapping[tuple[int, ...], str]
NO_SIZES: Sizes = MappingProxyType({})


def is_random(call: Call) -> bool:
    """Whether a call draws random numbers: such calls keep their order."""
    return call.target.startswith(RANDOM)


@dataclass(frozen=True)
class Writer:
    """Writes calls.

    Args:
        name: how a value of the network is written.
        device: an expression for the device that new tensors are made on.
    """

    name: Callable[[str], str]
    device: str

    def statement(self, call: Call, sizes: Sizes = NO_SIZES) -> str:
        """One line that binds the call's results.

        Args:
            sizes: expressions instead of the integers found along these paths of positions in `args`.
        """
        targets = ", ".join(self.name(name) for name in (call.name, *call.more))
        return f"{targets} = {self.expression(call, sizes)}"

    def expression(self, call: Call, sizes: Sizes = NO_SIZES) -> str:
        args = [self.argument(value, sizes, (i,)) for i, value in enumerate(call.args)]
        kwargs = [
            f"{key}={self._keyword(key, value)}"
            for key, value in call.kwargs
            if key not in DROPPED and not (value is None and key != "dim")
        ]
        if call.target in FACTORIES and not any(
            key == "device" and value is not None for key, value in call.kwargs
        ):
            kwargs.append(f"device={self.device}")
        readable = None if kwargs and call.target not in FACTORIES else self._readable(call, args)
        if readable is not None:
            return readable
        if call.target in FUNCTIONS:
            return f"torch.{FUNCTIONS[call.target]}({', '.join([*args, *kwargs])})"
        if call.target in METHODS:
            return f"{args[0]}.{METHODS[call.target]}({', '.join([*args[1:], *kwargs])})"
        return f"torch.ops.{call.target}({', '.join([*args, *kwargs])})"

    def argument(self, value: Argument, sizes: Sizes = NO_SIZES, path: tuple[int, ...] = ()) -> str:
        """An argument: names as the file calls them, sequences in brackets."""
        if path in sizes:
            return sizes[path]
        match value:
            case Name(name=name):
                return self.name(name)
            case tuple():
                return (
                    f"[{', '.join(self.argument(item, sizes, (*path, i)) for i, item in enumerate(value))}]"
                )
            case float():
                return f'float("{value}")' if value != value or abs(value) == float("inf") else repr(value)
            case _:
                return repr(value)

    def _keyword(self, key: str, value: Argument) -> str:
        if key == "device":
            return self.device
        if key == "dtype" and isinstance(value, str):
            dtype = value.removeprefix("torch.")
            assert dtype in DTYPES, dtype
            return f"torch.{dtype}"
        return self.argument(value)

    def _readable(self, call: Call, args: list[str]) -> str | None:
        """Infix operators, indexing and sequences; None for everything else."""
        operator = call.target.split(".")[1]
        if operator in INFIX and len(args) == 2:
            return f"{args[0]} {INFIX[operator]} {args[1]}"
        match call.target, args:
            case "aten.select.int", [source, _, index]:
                return self._indexed(call, source, index)
            case "aten.slice.Tensor", [source, *_]:
                bounds = [*args[2:], *["None"] * 3][:3]
                return self._indexed(call, source, _slice(*bounds))
            case "aten.cat.default" | "aten.stack.default", [tensors, *dim]:
                function = operator
                return f"torch.{function}({tensors}, dim={dim[0] if dim else 0})"
            case "aten.clone.default", [source]:
                return f"{source}.contiguous()"
            case "aten.linear.default", _:
                return f"nn.functional.linear({', '.join(args)})"
            case _:
                return None

    def _indexed(self, call: Call, source: str, index: str) -> str | None:
        dim = call.args[1] if len(call.args) > 1 else 0
        if not isinstance(dim, int) or isinstance(dim, bool) or dim < 0:
            return None
        return f"{source}[{':, ' * dim}{index}]"


def _slice(start: str, end: str, step: str) -> str:
    start = "" if start in ("None", "0") else start
    end = "" if end == "None" or end == str(2**63 - 1) else end
    return f"{start}:{end}" + ("" if step in ("None", "1") else f":{step}")
