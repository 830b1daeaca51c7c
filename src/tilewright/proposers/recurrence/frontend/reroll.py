"""Finds the loops of an unrolled trace: runs of calls that repeat, and what each repetition reads.

A call's token is its operator, its constants other than numbers, the shapes of what it reads, and which
parameters. A run of tokens with period p is a loop if, call by call, every operand of every repetition is

    Local        a value of the same step
    Carried      a value of an earlier step; before the loop, some value of the same shape
    Varying      at step k a value from outside: another one each step, or a moving view of one
    a name       the same value from outside at every step
    Counter      a number a + b·k
    a constant

Worker side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.proposers.recurrence.frontend.simplify import JOINS
from tilewright.proposers.recurrence.frontend.tape import binds, is_random, reads
from tilewright.proposers.recurrence.frontend.views import Views
from tilewright.proposers.recurrence.ir import Argument, Call, Declined, Name, Network, Scalar

MOST_ATTEMPTS = 200  # runs looked at; the longest come first
LEAST_UNEVEN = 4  # repetitions from which a run is said to be a loop but for its numbers
LEAST_MAPPED = 8  # repetitions from which a run without carried values is worth a loop


@dataclass(frozen=True)
class Local:
    """A view of the result of call `call` (result `result` of several) of the same step."""

    call: int
    result: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Carried:
    """A view of a result `lag` steps back; `initials` are what the first `lag` steps read."""

    source: Local
    lag: int
    initials: tuple[str, ...]


@dataclass(frozen=True)
class Varying:
    """One value from outside for each step, in the order the steps ran."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Counter:
    """start + slope·k at step k."""

    start: float
    slope: float


Operand: TypeAlias = "Local | Carried | Varying | Counter | Name | Scalar | tuple[Operand, ...]"


@dataclass(frozen=True)
class Step:
    """One call of the body."""

    target: str
    args: tuple[Operand, ...]
    kwargs: tuple[tuple[str, Operand], ...]
    results: int
    line: int | None


@dataclass(frozen=True)
class Loop:
    """A run of `count` repetitions of `body`.

    Args:
        calls: the calls it stands for, step by step; `calls[k][j]` is call j of step k.
    """

    count: int
    body: tuple[Step, ...]
    calls: tuple[tuple[Call, ...], ...]


def find_loops(network: Network, views: Views) -> list[Loop]:
    """The loops of a network of calls, in program order; they do not overlap.

    Raises:
        Declined: what repeats most would be a loop, were it not for a number that changes unevenly.
    """
    calls = [
        c
        for c in network.statements
        if isinstance(c, Call) and not views.is_view(c.name) and any(reads(c)) and not is_random(c)
    ]
    calls = _joins_late(calls, views)
    taken = np.zeros(len(calls), dtype=bool)
    found: list[tuple[int, Loop]] = []
    uneven: list[tuple[int, int | None]] = []  # calls of such a run, the line of the number
    for exact in (True, False):
        tokens: dict[object, int] = {}
        text = np.array([tokens.setdefault(_token(c, network, views, exact), len(tokens)) for c in calls])
        for period, start, stop in _runs(text):
            for first, last in _free(taken, start, stop):
                loop = _longest(calls, first, last, period, taken, network, views, uneven)
                if loop is not None:
                    begin = loop[0]
                    taken[begin : begin + loop[1].count * period] = True
                    found.append(loop)
    covered, line = max(uneven, key=lambda run: run[0], default=(0, None))
    if covered > taken.sum():
        reason = "a number changes from step to step, not by the same amount: read it from a tensor [T]"
        raise Declined(reason, line)
    return [loop for _, loop in sorted(found, key=lambda item: item[0])]


def _joins_late(calls: list[Call], views: Views) -> list[Call]:
    """The calls with each stack and cat right before what reads it first: a buffer that the steps fill is
    finished in the middle of the last one."""
    first: dict[str, int] = {}
    for index, call in enumerate(calls):
        for name in reads(call):
            first.setdefault(views[name].root, index)
    place = [
        first.get(call.name, len(calls)) - 0.5 if call.target in JOINS else index
        for index, call in enumerate(calls)
    ]
    return [calls[index] for index in sorted(range(len(calls)), key=place.__getitem__)]


def _token(call: Call, network: Network, views: Views, exact: bool) -> tuple[object, ...]:
    """Equal for calls that may be the same call of two steps.

    `exact` tells places in a parameter apart: layers of a stacked weight are, rows read one a step are not.
    """

    def sign(argument: Argument) -> object:
        match argument:
            case Name(name=name):
                view = views[name]
                if view.root not in network.parameters:
                    return network.types[name]
                return view.root, *view.pattern, view.offset if exact else 0
            case tuple():
                return tuple(sign(item) for item in argument)
            case bool() | str() | None:
                return argument
            case _:
                return "number" if call.target.split(".")[1] not in SHAPED else argument

    kinds = tuple(network.types[n] for n in binds(call))
    return call.target, sign(call.args), tuple((k, sign(v)) for k, v in call.kwargs), kinds


# Operators whose numbers are dimensions, not values: equal from step to step.
SHAPED = {"cat", "stack", "sum", "mean", "reshape", "native_layer_norm", "softmax", "_softmax"}


def _runs(text: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(period, start, stop) of the runs that repeat at least twice, those that cover most first."""
    found = []
    for period in range(1, len(text) // 2 + 1):
        same = np.flatnonzero(text[period:] != text[:-period])
        edges = np.concatenate(([-1], same, [len(text) - period]))
        lengths = np.diff(edges) - 1
        for at in np.flatnonzero(lengths >= period):
            start = int(edges[at]) + 1
            found.append((period, start, start + int(lengths[at]) + period))
    found.sort(key=lambda run: (-((run[2] - run[1]) // run[0] * run[0]), run[0]))
    return found[:MOST_ATTEMPTS]


def _free(taken: npt.NDArray[np.bool_], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The stretches of a run that no loop has taken yet."""
    edges = np.concatenate(([start - 1], start + np.flatnonzero(taken[start:stop]), [stop]))
    for left, right in pairwise(edges):
        if right - left > 1:
            yield int(left) + 1, int(right)


def _longest(
    calls: list[Call],
    start: int,
    stop: int,
    period: int,
    taken: npt.NDArray[np.bool_],
    network: Network,
    views: Views,
    uneven: list[tuple[int, int | None]],
) -> tuple[int, Loop] | None:
    """The loop of a run with most steps, and where it begins; runs with uneven numbers go to `uneven`.

    It may begin later than the run, where calls before it only look alike, or up to a step earlier, where
    the first step reads its state from a parameter.
    """
    before = np.flatnonzero(taken[:start])
    earliest = max(start - period, int(before[-1]) + 1 if len(before) else 0)
    begins = sorted(
        range(earliest, min(start + period, stop)), key=lambda b: (-((stop - b) // period), b < start, b)
    )
    best: tuple[int, Loop] | None = None
    for begin in begins:
        count = (stop - begin) // period
        if count < 2 or best is not None:
            break
        matcher = _Matcher(calls[begin : begin + count * period], period, network, views)
        loop = matcher.loop()
        if loop is not None and matcher.uneven is None:
            best = (begin, loop)
        elif loop is not None and count >= LEAST_UNEVEN:
            uneven.append((count * period, matcher.uneven))
    return best


class _Matcher:
    def __init__(self, calls: list[Call], period: int, network: Network, views: Views) -> None:
        self._steps = [tuple(calls[i : i + period]) for i in range(0, len(calls), period)]
        self._types = network.types
        self._views = views
        self._made = {
            name: (k, j, r)
            for k, step in enumerate(self._steps)
            for j, call in enumerate(step)
            for r, name in enumerate(binds(call))
        }
        self._carries = False
        self.uneven: int | None = None  # the line of a number that changes unevenly

    def loop(self) -> Loop | None:
        """The loop these calls are, None if they are none."""
        body = []
        for j in range(len(self._steps[0])):
            column = [step[j] for step in self._steps]
            if len({(c.target, tuple(self._types[n] for n in binds(c))) for c in column}) != 1:
                return None
            args = self._operand(j, [c.args for c in column])
            if isinstance(args, _Different):
                return None
            kwargs = []
            for at, (key, _) in enumerate(column[0].kwargs):
                value = self._operand(j, [c.kwargs[at][1] for c in column])
                if isinstance(value, _Different):
                    return None
                kwargs.append((key, value))
            assert isinstance(args, tuple)
            body.append(Step(column[0].target, args, tuple(kwargs), len(binds(column[0])), column[0].line))
        if not self._carries and len(self._steps) < LEAST_MAPPED:
            return None
        return Loop(len(self._steps), tuple(body), tuple(self._steps))

    def _operand(self, j: int, column: list[Argument]) -> Operand | _Different:
        first = column[0]
        if isinstance(first, tuple):
            items = []
            for at in range(len(first)):
                item = self._operand(j, [c[at] for c in column if isinstance(c, tuple)])
                if isinstance(item, _Different):
                    return item
                items.append(item)
            return tuple(items)
        if isinstance(first, Name):
            return self._value(j, [c.name for c in column if isinstance(c, Name)])
        if all(type(c) is type(first) and c == first for c in column):
            return first
        counter = _counter(column)
        if isinstance(counter, _Different) and all(type(c) in (int, float) for c in column):
            self.uneven = self._steps[0][j].line or 0
            return 0.0
        return counter

    def _value(self, j: int, names: list[str]) -> Operand | _Different:
        views = [self._views[name] for name in names]
        last = self._made.get(views[-1].root)
        if last is None:
            if any(view.root in self._made for view in views):
                return _Different()
            if all(view == views[0] for view in views):
                return Name(names[0])
            return Varying(tuple(names))
        lag = len(names) - 1 - last[0]
        for k in range(lag, len(names)):
            if self._made.get(views[k].root) != (k - lag, *last[1:]) or views[k].pattern != views[-1].pattern:
                return _Different()
            if views[k].offset != views[-1].offset:
                return _Different()
        source = Local(*last[1:], *views[-1].pattern, views[-1].offset)
        if lag == 0:
            return source if last[1] < j else _Different()
        kinds = {self._types[name] for name in names}
        if any(view.root in self._made for view in views[:lag]) or len(kinds) != 1 or lag >= len(names):
            return _Different()
        self._carries = True
        return Carried(source, lag, tuple(names[:lag]))


@dataclass(frozen=True)
class _Different:
    """The steps do not agree on this operand."""


def _counter(column: Iterable[Argument]) -> Operand | _Different:
    values = list(column)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return _Different()
    numbers = [float(v) for v in values]  # type: ignore[arg-type]
    slope = numbers[1] - numbers[0]
    scale = max(abs(n) for n in numbers)
    if any(abs(n - (numbers[0] + slope * k)) > 1e-12 * scale for k, n in enumerate(numbers)):
        return _Different()
    if all(isinstance(v, int) for v in values):
        return Counter(int(numbers[0]), int(slope))
    return Counter(numbers[0], slope)
