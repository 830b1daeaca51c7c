"""The order of a forward's steps: calls, products over sequences, and groups of loops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tilewright.proposers.recurrence.emit.dense import Dense, products
from tilewright.proposers.recurrence.emit.emitted import Emitted
from tilewright.proposers.recurrence.emit.projections import Projection, binds, names_in, projections, reads
from tilewright.proposers.recurrence.emit.pytorch import is_random
from tilewright.proposers.recurrence.ir import Call, Declined, Group, Name, Network


@dataclass(frozen=True)
class Launch:
    """One group of recurrences as a step of the forward."""

    group: Group
    emitted: Emitted


Step: TypeAlias = Call | Projection | Dense | Launch


def step_reads(step: Step) -> list[str]:
    """Every value of the network that a step needs, the weights that are packed for a loop among them."""
    match step:
        case Projection(left=left, weight=weight, bias=bias):
            return [left, weight, *([bias] if bias else [])]
        case Dense():
            return step.reads
        case Launch(group=group, emitted=emitted):
            inside = {result.name for member in group.members for result in member.results}
            packed = {p.name for p in emitted.packed}
            weights = [name for p in emitted.packed for name in p.weights]
            return [*(name for name in emitted.arguments if name not in inside | packed), *weights]
        case _:
            return reads(step)


def step_binds(step: Step) -> tuple[str, ...]:
    """Every value of the network that a step gives."""
    match step:
        case Projection(name=name) | Dense(name=name):
            return (name,)
        case Launch(emitted=emitted):
            return emitted.results
        case _:
            return binds(step)


def ordered(network: Network, launches: Sequence[Launch]) -> list[Step]:
    """Every step of the forward in an order in which values are made before they are read.

    Otherwise in the network's order; random draws keep theirs. What nothing reads is left out, unless
    it draws random numbers.

    Raises:
        Declined: a group reads, outside its loop, what it makes itself.
    """
    found: Sequence[Projection | Dense] = projections(network) if launches else products(network)
    covered = {name: product for product in found for name in product.covers}
    taken_along = {name: launch for launch in launches for name in launch.emitted.covers}
    of_result = {
        result.name: launch
        for launch in launches
        for member in launch.group.members
        for result in member.results
    }
    steps: list[Step] = []
    for statement in network.statements:
        step: Step
        if isinstance(statement, Call):
            step = covered.get(statement.name, statement)
            step = taken_along.get(statement.name, step)
            if isinstance(step, Projection) and step.transposed:
                rows = Call(f"{step.weight}_rows", "aten.t.default", (Name(step.weight),))
                step = replace(step, weight=rows.name, transposed=False)
                steps += [rows] if rows not in steps else []
        else:
            step = of_result[statement.results[0].name]
        if step not in steps:
            steps.append(step)
    steps = _needed(steps, network)
    made_by = {name: i for i, step in enumerate(steps) for name in step_binds(step)}
    waits = [{made_by[name] for name in step_reads(step) if name in made_by} for step in steps]
    draws = [i for i, step in enumerate(steps) if isinstance(step, Call) and is_random(step)]
    for before, after in itertools.pairwise(draws):
        waits[after].add(before)
    ordered: list[int] = []
    while len(ordered) < len(steps):
        ready = [i for i in range(len(steps)) if i not in ordered and waits[i] <= set(ordered)]
        if not ready:
            raise Declined("a group of loops waits for its own results")
        ordered.append(ready[0])
    return [steps[i] for i in ordered]


def _needed(steps: list[Step], network: Network) -> list[Step]:
    """Steps whose results reach an output, and random draws."""
    wanted = set(names_in(network.outputs))
    kept: list[Step] = []
    changed = True
    while changed:
        changed = False
        for step in steps:
            drawn = isinstance(step, Call) and is_random(step)
            if step not in kept and (drawn or wanted & set(step_binds(step))):
                kept.append(step)
                wanted.update(step_reads(step))
                changed = True
    return [step for step in steps if step in kept]
