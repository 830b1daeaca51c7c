"""Writes the ModelNew file of a network whose loops have kernels."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from tilewright.errors import ProblemError
from tilewright.gpu.model import Gpu
from tilewright.kernelfile.constructor import Constructor, attribute, read_constructor
from tilewright.problem import Problem
from tilewright.proposers.recurrence import ops
from tilewright.proposers.recurrence.emit import assembly
from tilewright.proposers.recurrence.emit.dense import Dense
from tilewright.proposers.recurrence.emit.emitted import Emitted, Packed
from tilewright.proposers.recurrence.emit.layout import fit, fitted
from tilewright.proposers.recurrence.emit.names import identifiers
from tilewright.proposers.recurrence.emit.products import Products
from tilewright.proposers.recurrence.emit.projections import VIEWS, Projection, binds, names_in, reads
from tilewright.proposers.recurrence.emit.pytorch import Writer, is_random
from tilewright.proposers.recurrence.emit.schedule import Launch, Step, ordered, step_reads
from tilewright.proposers.recurrence.ir import Argument, Call, Declined, Group, Name, Network

IMPORTS = ("import torch", "import torch.nn as nn", "import triton", "import triton.language as tl")
HELPERS = ops.HELPERS | assembly.HELPERS
EXPECT = '''def expect(name, tensor, shape, dtype=torch.float32):
    """Raise unless the tensor has the dtype and shape that this file was planned for; None is any size."""
    fits = len(shape) == tensor.dim() and all(w in (None, h) for w, h in zip(shape, tensor.shape))
    if not fits or tensor.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"{name} is {tensor.dtype} {list(tensor.shape)}, and this file was planned for {kind} [{wanted}]"
        )
'''
# The first launch waits for it: four weights by their attributes took 6.2 us, so 1.9 us (measured on a CPU).
HELD = '''def held(module, *path):
    """A parameter or buffer by its path, without the detour that nn.Module makes for attributes."""
    for name in path[:-1]:
        module = module._modules[name]
    found = module._parameters.get(path[-1])
    return module._buffers[path[-1]] if found is None else found
'''


@dataclass(frozen=True)
class Sizes:
    """Which sizes of the inputs are free, and what follows from them.

    Args:
        symbols: name → (input, dimension) that it is read from.
        inputs: input → its shape, None where any size is taken.
        literals: (call, path of positions in its arguments) → expression over the symbols.
    """

    symbols: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    literals: Mapping[str, Mapping[tuple[int, ...], str]] = field(default_factory=dict)


def module(
    network: Network,
    problem: Problem,
    groups: Sequence[tuple[Group, Emitted]],
    gpu: Gpu,
    precision: str,
    facts: Sequence[str],
    sizes: Sizes | None = None,
) -> str:
    """The text of a ModelNew file.

    Args:
        groups: every recurrence of the network is a member of one of them; none where it has no loop.
        precision: of the operands of the products outside the loops.
        facts: lines for the header: what was found, the plan, its budget.
        sizes: what may differ from the sizes that the network was traced at; by default nothing.

    Raises:
        Declined: the reference's constructor or forward cannot be carried over.
    """
    return _File(network, problem, groups, gpu, precision, facts, sizes or Sizes()).text()


class _File:
    def __init__(
        self,
        network: Network,
        problem: Problem,
        groups: Sequence[tuple[Group, Emitted]],
        gpu: Gpu,
        precision: str,
        facts: Sequence[str],
        sizes: Sizes,
    ) -> None:
        self.network, self.gpu, self.precision, self.facts, self.sizes = network, gpu, precision, facts, sizes
        self.constructor = _constructor(problem)
        self.launches = [Launch(group, emitted) for group, emitted in groups]
        self.inputs = _forward_inputs(network, self.constructor.forward)
        self.steps = ordered(network, self.launches)
        self.names = identifiers(self.steps, network, self.inputs, sizes.symbols)
        self.same_as = self._drop_views_that_change_nothing()
        tiled = frozenset(value for launch in self.launches for value in launch.emitted.tiled)
        if not tiled <= {step.name for step in self.steps if isinstance(step, Projection)}:
            raise Declined("a stream that a loop reads in tiles is given by no product")
        calls, known = self._of_parameters()
        products = tuple(step for step in self.steps if isinstance(step, Projection | Dense))
        self.products = Products(products, network, gpu, precision, frozenset(known), tiled, self.value)
        self.prepared = [*calls, *self.products.prepared, *self._packed(known)]
        self.writer = Writer(
            self.value, f"{self.inputs[network.inputs[0]]}.device" if network.inputs else '"cuda"'
        )

    def _drop_views_that_change_nothing(self) -> dict[str, str]:
        """Take views of a value in its own shape out of the steps; each goes by the name of that value."""
        same: dict[str, str] = {}
        for step in list(self.steps):
            match step:
                case Call(target=target, args=(Name(name=source), *_)) if target in VIEWS:
                    if self.network.types[source].shape == self.network.types[step.name].shape:
                        same[step.name] = same.get(source, source)
                        self.names[step.name] = self.value(source)
                        self.steps.remove(step)
                case _:
                    pass
        return same

    def text(self) -> str:
        parts = [self._header(), self._imports(), *self.constructor.constants]
        kernels, wrappers = self._kernels(), self._wrappers()
        body = "\n\n\n".join([*kernels, *wrappers, *self.constructor.definitions, self._class()])
        return "\n\n".join(parts) + "\n\n\n" + body + "\n"

    def _header(self) -> str:
        free = {
            place: symbol
            for symbol, place in self.sizes.symbols.items()
            if self.sizes.inputs[place[0]][place[1]] is None
        }
        lines = [*self.facts, *self.products.facts]
        for launch in self.launches:
            lines += launch.emitted.notes
        for name in self.network.inputs:
            shape = list(map(str, self.network.types[name].shape))
            shape = [free.get((name, i), size) for i, size in enumerate(shape)]
            lines.append(f"Planned for {self.inputs[name]} [{', '.join(shape)}].")
        for (name, dimension), symbol in free.items():
            lines.append(f"{symbol} was {self.network.types[name].shape[dimension]} and may differ.")
        if self.prepared:
            lines.append(
                "Weights are prepared at the first call and again when one changes, by address or version:"
                " a write through .data goes unseen. Inference only."
            )
        text = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
        return f'"""{text}\n"""'

    def _imports(self) -> str:
        more = [line for launch in self.launches for line in launch.emitted.imports]
        more += self.products.imports
        if any(launch.emitted.functions for launch in self.launches):
            more.insert(0, "import functools")
        return "\n".join(dict.fromkeys([*IMPORTS, *more, *self.constructor.imports]))

    def _kernels(self) -> list[str]:
        helpers = {name for launch in self.launches for name in launch.emitted.helpers}
        helpers |= self.products.helpers
        texts = [HELPERS[name] for name in HELPERS if name in helpers]
        texts += self.products.kernels()
        texts += [launch.emitted.kernels for launch in self.launches]
        return [text.strip("\n") for text in dict.fromkeys(texts)]

    def _wrappers(self) -> list[str]:
        texts = [EXPECT, *([HELD] if self.prepared else [])]
        texts += self.products.wrappers()
        texts += [text for launch in self.launches for text in launch.emitted.functions]
        texts += [launch.emitted.wrapper for launch in self.launches]
        return [text.strip("\n") for text in dict.fromkeys(texts)]

    def _class(self) -> str:
        methods = list(self.constructor.methods)
        if self.prepared:
            if not any(text.startswith("def __init__") for text in methods):
                methods.append("def __init__(self):\n    super().__init__()")
            first = next(i for i, text in enumerate(methods) if text.startswith("def __init__"))
            methods[first] += "\n    self._versions = None"
            methods.append(self._prepare())
        methods.append(self._forward())
        return "class ModelNew(nn.Module):\n" + indent("\n\n".join(methods), "    ")

    def _prepare(self) -> str:
        """The method that makes what depends on parameters alone, once and again when one changes."""
        made, outside = [], set[str]()
        for step in self.prepared:
            if isinstance(step, Call):
                made.append(self.writer.statement(step))
                outside.update(reads(step))
            elif isinstance(step, Projection | Dense):
                made.append(f"{self.products.weight_name(step)} = {self.products.made(step)}")
                outside.add(step.weight)
            else:
                made += self._pack(*step)
                outside.update(step[1].weights)
        outside |= {self.same_as[name] for name in outside if name in self.same_as}
        paths = [path.split(".") for name, path in self.network.parameters.items() if name in outside]
        weights = ["held(self, " + ", ".join(f'"{part}"' for part in path) + ")" for path in paths]
        body = indent(fitted(made, 16), " " * 12)
        watched = fit(f"    weights = ({', '.join(weights)},)", 4)
        kept = fit(f"        self._prepared = ({', '.join(self._handed_over())},)", 4)
        return (
            "def prepared(self):\n"
            '    """What the kernels read of the parameters, made again when one of them changes."""\n'
            f"{watched}\n"
            "    versions = [(weight.data_ptr(), weight._version) for weight in weights]\n"
            "    if versions != self._versions:\n"
            "        with torch.no_grad():\n"
            f"{body}\n"
            f"{kept}\n"
            "        self._versions = versions\n"
            "    return self._prepared"
        )

    def _pack(self, launch: Launch, packed: Packed) -> list[str]:
        """The lines that pack weights whose sizes are part of the kernel."""
        types = self.network.types
        checks = [self._expected(self.value(name), name, types[name].shape) for name in packed.weights]
        tree = ast.parse(packed.expression, mode="eval")
        values = {name: self.value(name) for name in packed.weights}
        name = self._packed_name(launch, packed.name)
        text = ast.unparse(_Renamed(values).visit(tree))
        lines = [*checks, f"{name} = {text}"]
        if re.search(r"float16|\.half\(", packed.expression):
            lines.append(f'torch._assert(torch.isfinite({name}).all(), "{name}: beyond float16\'s range")')
        return lines

    def _packed_name(self, launch: Launch, name: str) -> str:
        function = launch.emitted.function
        return name if name.startswith(function) else f"{function}_{name}"

    def _of_parameters(self) -> tuple[list[Call], set[str]]:
        """Calls that read parameters alone, which leave the forward, and all values known beforehand.

        A call whose result nothing reads outside of them stays a local of what prepares them.
        """
        known = set(self.network.parameters)
        known |= {name for name, source in self.same_as.items() if source in known}
        calls: list[Call] = []
        for step in list(self.steps):
            if (
                isinstance(step, Call)
                and not is_random(step)
                and reads(step)
                and known.issuperset(reads(step))
            ):
                calls.append(step)
                known.update(binds(step))
                known |= {name for name, source in self.same_as.items() if source in known}
                self.steps.remove(step)
        return calls, known

    def _packed(self, known: set[str]) -> list[tuple[Launch, Packed]]:
        """Weights as the loops want them.

        Raises:
            Declined: one is not among the values known beforehand.
        """
        packed = [(launch, weights) for launch in self.launches for weights in launch.emitted.packed]
        if not all(known.issuperset(weights.weights) for _, weights in packed):
            raise Declined("a weight of the loop is computed from the inputs")
        return packed

    def _handed_over(self) -> list[str]:
        """What the forward reads of what was prepared."""
        wanted: set[str] = set()
        for step in self.steps:
            wanted.update(step.emitted.arguments if isinstance(step, Launch) else step_reads(step))
        wanted |= set(names_in(self.network.outputs))
        wanted |= {self.same_as[name] for name in wanted if name in self.same_as}
        found: list[str] = []
        for made in self.prepared:
            if isinstance(made, Call):
                found += [self.value(name) for name in binds(made) if name in wanted]
            elif isinstance(made, Projection | Dense):
                found.append(self.products.weight_name(made))
            else:
                found.append(self._packed_name(made[0], made[1].name))
        return found

    def _forward(self) -> str:
        lines = [*self._checks()]
        steps = [self._step(step) for step in self.steps]
        for symbol, (name, dimension) in self.sizes.symbols.items():
            if any(re.search(rf"\b{symbol}\b", line) for line in steps):
                lines.append(f"{symbol} = {self.inputs[name]}.shape[{dimension}]")
        if handed := self._handed_over():
            lines.append(f"{', '.join(handed)}{',' if len(handed) == 1 else ''} = self.prepared()")
        lines += steps
        lines.append(f"return {self._outputs(self.network.outputs)}")
        arguments = ast.unparse(self.constructor.forward)
        # Launches record no gradients; entering no_grad costs 1.3 us before the first (measured on a CPU).
        decorator = "@torch.no_grad()\n" if any(isinstance(step, Call) for step in self.steps) else ""
        return f"{decorator}def forward({arguments}):\n" + indent(fitted(lines, 8), "    ")

    def _checks(self) -> list[str]:
        lines = []
        for name in self.network.inputs:
            shape = self.sizes.inputs.get(name, self.network.types[name].shape)
            lines.append(self._expected(self.inputs[name], name, shape))
        given = set(self.inputs.values())
        arguments = self.constructor.forward
        positional = [*arguments.posonlyargs, *arguments.args]
        padded = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        for argument, default in zip(positional, padded, strict=True):
            if default is not None and argument.arg not in given:
                value = ast.unparse(default)
                test = (
                    f"{argument.arg} is not {value}"
                    if value in ("None", "True", "False")
                    else (f"{argument.arg} != {value}")
                )
                lines.append(f'if {test}:\n    raise ValueError("planned for {argument.arg}={value}")')
        return lines

    def _expected(self, written: str, name: str, shape: Sequence[int | None]) -> str:
        """The line that refuses a value of another shape or dtype."""
        dtype = self.network.types[name].dtype
        other = "" if dtype == "float32" else f", torch.{dtype}"
        return f'expect("{written.removeprefix("self.")}", {written}, {tuple(shape)}{other})'

    def _step(self, step: Step) -> str:
        if isinstance(step, Call):
            return self.writer.statement(step, self.sizes.literals.get(step.name, {}))
        if isinstance(step, Projection | Dense):
            return self.products.line(step)
        function, packed = step.emitted.function, {p.name for p in step.emitted.packed}
        arguments = [
            self._packed_name(step, name) if name in packed else self.value(name)
            for name in step.emitted.arguments
        ]
        results = [self.value(name) for name in step.emitted.results]
        return f"{', '.join(results)}{',' if len(results) == 1 else ''} = {function}({', '.join(arguments)})"

    def _outputs(self, value: Argument) -> str:
        if isinstance(value, Name):
            return self.value(value.name)
        if isinstance(value, tuple):
            inner = ", ".join(self._outputs(item) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        return repr(value)

    def value(self, name: str) -> str:
        """How a value of the network is written in the file."""
        if name in self.names:
            return self.names[name]
        return attribute(self.network.parameters[name])


class _Renamed(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.values:
            return ast.parse(self.values[node.id], mode="eval").body
        return node


def _constructor(problem: Problem) -> Constructor:
    try:
        return read_constructor(problem)
    except ProblemError as error:
        raise Declined(error.what, error.where.line if error.where else None) from error


def _forward_inputs(network: Network, forward: ast.arguments) -> dict[str, str]:
    """Each tensor input of the network with the parameter of forward it stands for."""
    if forward.vararg or forward.kwarg or forward.kwonlyargs:
        raise Declined("forward takes *args, **kwargs or keyword-only arguments")
    parameters = [a.arg for a in [*forward.posonlyargs, *forward.args]][1:]
    if set(network.inputs) <= set(parameters):
        return {name: name for name in network.inputs}
    if len(network.inputs) > len(parameters):
        raise Declined("forward is given more tensors than it has parameters")
    return dict(zip(network.inputs, parameters, strict=False))
