"""Which sizes a file may be called with besides those it was planned for.

The network is traced again at other sizes of the inputs. Where it is the same network, every integer that
changed with them (the shape of a view, say) is written as an expression over the inputs' shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from tilewright.errors import ProblemError
from tilewright.judge.inputs.constants import size_constants, with_sizes
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit.module import Sizes
from tilewright.proposers.recurrence.ir import Argument, Call, Declined, Network, Recurrence

OTHERS = ((7, 11, 17, 23), (13, 5, 19, 29))  # of the free constants, in two more traces; few steps trace fast
Path = tuple[int, ...]


def free_sizes(problem: Problem, network: Network, network_of: Callable[[Problem], Network]) -> Sizes:
    """The sizes that may differ; none where the problem's text does not tell, or its network changes.

    Free are the module's integer constants that get_inputs uses and get_init_inputs does not: those of
    the model's parameters are not.

    Args:
        network_of: traces and partitions a problem.
    """
    fixed = size_constants(problem.source, ("get_init_inputs",))
    free = [name for name in size_constants(problem.source, ("get_inputs",)) if name not in fixed]
    if not free or len(free) > len(OTHERS[0]):
        return Sizes()
    others = []
    for values in OTHERS:
        text = with_sizes(problem.source, dict(zip(free, values, strict=False)))
        try:
            others.append(network_of(Problem(text, problem.path)))
        except (Declined, ProblemError):
            return Sizes()
    return compared(network, others)


def limited(sizes: Sizes, network: Network, free: Collection[str]) -> Sizes:
    """The sizes without those of the symbols "steps" and "batch" that the kernels do not leave free."""
    fixed = {
        place
        for symbol, place in sizes.symbols.items()
        if symbol in ("steps", "batch") and symbol not in free
    }
    values = {network.types[name].shape[dimension] for name, dimension in fixed}
    inputs = {
        name: tuple(
            full if size is None and full in values else size
            for size, full in zip(shape, network.types[name].shape, strict=True)
        )
        for name, shape in sizes.inputs.items()
    }
    return replace(sizes, inputs=inputs)


def compared(network: Network, others: Sequence[Network]) -> Sizes:
    """The sizes in which several traces of one network differ; none where they are not one network."""
    traces = [network, *others]
    if not _same(traces):
        return Sizes()
    symbols, inputs = _symbols(traces)
    values = {name: tuple(t.types[i].shape[d] for t, i in zip(traces, names, strict=True))
              for name, (names, d) in symbols.items()}  # fmt: skip
    literals: dict[str, dict[Path, str]] = {}
    for statements in zip(*(t.statements for t in traces), strict=True):
        first = statements[0]
        if not isinstance(first, Call):
            continue
        calls = [s for s in statements if isinstance(s, Call)]
        for path, integers in _integers([call.args for call in calls]):
            if len(set(integers)) == 1:
                continue
            expression = _expression(integers, values)
            if expression is None:
                return Sizes()
            literals.setdefault(first.name, {})[path] = expression
    return Sizes({name: (names[0], d) for name, (names, d) in symbols.items()}, inputs, literals)


def _same(traces: Sequence[Network]) -> bool:
    """Whether several traces are one network but for sizes: same operators, same loops, same parameters."""

    def form(network: Network) -> list[object]:
        parameters = [(network.parameters[n], network.types[n].shape) for n in network.parameters]
        kinds: list[object] = [len(network.inputs), parameters]
        for statement in network.statements:
            if isinstance(statement, Recurrence):
                widths = [
                    [state.width for state in statement.states],
                    [stream.width for stream in statement.streams],
                ]
                body = [
                    *((product.width, product.inner) for product in statement.products),
                    *((node.op, node.width) for node in statement.nodes),
                ]
                results = [(r.every_step) for r in statement.results]
                kinds.append((statement.reverse, widths, body, results))
            else:
                kinds.append((statement.target, [key for key, _ in statement.kwargs]))
        return kinds

    forms = [form(network) for network in traces]
    return all(other == forms[0] for other in forms[1:])


def _symbols(
    traces: Sequence[Network],
) -> tuple[dict[str, tuple[list[str], int]], dict[str, tuple[int | None, ...]]]:
    """A name for each size of the inputs that differs, and the inputs' shapes with None there."""
    named: dict[tuple[int, ...], str] = {}
    symbols: dict[str, tuple[list[str], int]] = {}
    inputs: dict[str, tuple[int | None, ...]] = {}
    known: dict[tuple[int, ...], str] = {}
    for recurrences in zip(*(t.recurrences for t in traces), strict=True):
        known.setdefault(tuple(r.steps for r in recurrences), "steps")
        known.setdefault(tuple(r.batch for r in recurrences), "batch")
    for names in zip(*(t.inputs for t in traces), strict=True):
        shapes = [t.types[name].shape for t, name in zip(traces, names, strict=True)]
        shape: list[int | None] = list(shapes[0])
        for dimension, found in enumerate(zip(*shapes, strict=True)):
            if len(set(found)) > 1:
                shape[dimension] = None
                if found not in named:
                    named[found] = known.get(found, f"size_{len(named)}")
                    symbols[named[found]] = (list(names), dimension)
        inputs[names[0]] = tuple(shape)
    return symbols, inputs


def _integers(arguments: Sequence[Argument], path: Path = ()) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """The integers at equal places of several arguments."""
    first = arguments[0]
    if isinstance(first, tuple):
        for i in range(len(first)):
            yield from _integers([a[i] for a in arguments if isinstance(a, tuple)], (*path, i))
    elif isinstance(first, int) and not isinstance(first, bool):
        yield path, tuple(a for a in arguments if isinstance(a, int))


def _expression(integers: tuple[int, ...], values: Mapping[str, tuple[int, ...]]) -> str | None:
    """An expression over the symbols that gives these integers in each trace; None when none is found."""
    for name, sizes in values.items():
        offsets = {n - size for n, size in zip(integers, sizes, strict=True)}
        if len(offsets) == 1:
            offset = offsets.pop()
            return f"{name} {'+' if offset > 0 else '-'} {abs(offset)}" if offset else name
    pairs = itertools.combinations_with_replacement(values, 2)
    for names in (*((name,) for name in values), *pairs):
        products = [1] * len(integers)
        for name in names:
            products = [p * size for p, size in zip(products, values[name], strict=True)]
        ratios = {n / p for n, p in zip(integers, products, strict=True)}
        if len(ratios) == 1 and (ratio := ratios.pop()).is_integer() and ratio > 0:
            return " * ".join([*names, *([str(int(ratio))] if ratio != 1 else [])])
    return None
