"""Which kernels run the loops of a network: the choice among plans, by the time they are expected to take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tilewright.gpu.model import Gpu
from tilewright.inspect.costs import EAGER_LAUNCH_US
from tilewright.proposers.recurrence import PLANS
from tilewright.proposers.recurrence.emit.emitted import Emitted
from tilewright.proposers.recurrence.ir import Declined, Group, Network
from tilewright.proposers.recurrence.plan.wavefront import (
    depth_of,
    fuse_layers,
    read_outside,
    side_by_side,
    wavefronts,
)
from tilewright.proposers.recurrence.spread import emit as emit_spread
from tilewright.proposers.recurrence.stationary import emit as emit_stationary
from tilewright.proposers.recurrence.stationary import gluon as emit_gluon
from tilewright.proposers.recurrence.stationary.around import around, in_tiles

STATIONARY = {"triton": emit_stationary.emit, "gluon": emit_gluon.emit}


@dataclass(frozen=True)
class Plan:
    """Kernels for every loop of a network.

    Args:
        network: the network as the plan needs it: with products between layers moved into the loops or not.
        groups: every loop is in one of them.
        kinds: of each group, one of PLANS.
        expected_us: of the loops, microseconds, as `step_time` estimates their steps.
        place: of the layouts of spread loops among those that fit, by what is expected of them.
    """

    network: Network
    groups: tuple[tuple[Group, Emitted], ...]
    kinds: tuple[str, ...]
    expected_us: float
    place: int = 0

    @property
    def described(self) -> str:
        """ "6 loops in one kernel, spread"."""
        parts = []
        for (group, _), kind in zip(self.groups, self.kinds, strict=True):
            count, depth = len(group.members), depth_of(group)
            what = "1 loop" if count == 1 else f"{count} loops"
            how = " as a wavefront" if depth == count > 1 else " side by side" if depth == 1 < count else ""
            parts.append(f"{what}{how} in one kernel, weights {kind}")
        counted = {part: parts.count(part) for part in parts}
        text = "; ".join(part if n == 1 else f"{n} times {part}" for part, n in counted.items())
        return f"{text}, in another layout" if self.place else text


def plans(
    network: Network, gpu: Gpu, precision: str, dialect: str = "triton", forced: str | None = None
) -> tuple[list[Plan], list[str]]:
    """Every plan that fits the target, the one expected to be fastest first, and why others do not.

    Where the first spreads loops it comes in two layouts: of those that were timed the first by expectation
    took 5 % longer than the fastest, on average over 11 loops, the better of the first two 1.6 %.

    Args:
        precision: of the operands of matrix products.
        dialect: "triton" or "gluon".
        forced: one of PLANS: take no other.

    Raises:
        Declined: the network has no loop.
    """
    if not network.recurrences:
        raise Declined("forward has no loop that carries a state from step to step")
    kinds = (forced,) if forced else PLANS
    found: dict[tuple[tuple[str, ...], ...], Plan] = {}
    declined: dict[str, list[str]] = {}
    for arranged, groups in _arrangements(network):
        for first in kinds:
            order = (first, *(kind for kind in kinds if kind != first))
            chosen = [_emit(arranged, group, i, len(groups), order, gpu, precision, dialect, declined)
                      for i, group in enumerate(groups)]  # fmt: skip
            taken = [entry for entry in chosen if entry is not None]
            if len(taken) < len(chosen):
                continue
            plan = Plan(
                arranged,
                tuple((group, emitted) for group, (_, emitted) in zip(groups, taken, strict=True)),
                tuple(kind for kind, _ in taken),
                sum(_expected_us(group, emitted) for group, (_, emitted) in zip(groups, taken, strict=True)),
            )
            key = tuple(
                (kind, *(m.name for m in g.members)) for g, kind in zip(groups, plan.kinds, strict=True)
            )
            found.setdefault(key, plan)
    ranked = sorted(found.values(), key=lambda plan: plan.expected_us)
    if ranked and "spread" in ranked[0].kinds:
        with contextlib.suppress(Declined):  # no other fits
            ranked.insert(1, _in_another_layout(ranked[0], gpu, precision))
    return ranked, [f"{reason} ({_some(names)})" for reason, names in declined.items()]


def _in_another_layout(plan: Plan, gpu: Gpu, precision: str) -> Plan:
    """The same plan with the next layout of every loop that is spread.

    Raises:
        Declined: there is no other.
    """
    place = plan.place + 1
    groups: list[tuple[Group, Emitted]] = []
    for (group, emitted), kind in zip(plan.groups, plan.kinds, strict=True):
        if kind == "spread":
            wanted = read_outside(plan.network, group)
            types, name = plan.network.types, emitted.function
            emitted = emit_spread.emit(group, types, gpu, precision, name, wanted, place=place)
        groups.append((group, emitted))
    expected_us = sum(_expected_us(group, emitted) for group, emitted in groups)
    return replace(plan, groups=tuple(groups), expected_us=expected_us, place=place)


def plan(
    network: Network, gpu: Gpu, precision: str, dialect: str = "triton", forced: str | None = None
) -> Plan:
    """The plan expected to be fastest.

    Raises:
        Declined: none fits, with every reason.
    """
    found, reasons = plans(network, gpu, precision, dialect, forced)
    if not found:
        raise Declined("; ".join(reasons))
    return found[0]


def _arrangements(network: Network) -> Iterator[tuple[Network, tuple[Group, ...]]]:
    """Ways to join loops: layers as a wavefront, independent ones side by side, each on its own."""
    fused = fuse_layers(network)
    fronts = wavefronts(fused)
    alone = tuple(Group((recurrence,)) for recurrence in network.recurrences)
    seen: set[tuple[tuple[str, ...], ...]] = set()
    for arranged, groups, together in (
        (fused, fronts, True),
        (fused, fronts, False),
        (network, alone, True),
        (network, alone, False),
    ):
        try:
            groups = side_by_side(arranged, groups) if together else groups
        except Declined:  # joined so, they could not run one after another; another arrangement can
            continue
        key = tuple(tuple(member.name for member in group.members) for group in groups)
        if key not in seen:
            seen.add(key)
            yield arranged, groups


def _emit(
    network: Network,
    group: Group,
    index: int,
    count: int,
    kinds: Sequence[str],
    gpu: Gpu,
    precision: str,
    dialect: str,
    declined: dict[str, list[str]],
) -> tuple[str, Emitted] | None:
    """The first kind of kernel that takes a group; None with the reasons added to `declined`."""
    name = "recurrence" if count == 1 else f"recurrence_{index}"
    for kind in kinds:
        try:
            if kind in ("spread", "streamed"):
                wanted = read_outside(network, group)
                streamed = kind == "streamed"
                made = emit_spread.emit(group, network.types, gpu, precision, name, wanted, streamed=streamed)
                return kind, made
            along = around(network, group, gpu, precision)
            tiled = frozenset[str]() if along else in_tiles(network, group)
            return kind, STATIONARY[dialect](group, network.types, gpu, precision, name, along, tiled)
        except Declined as reason:
            names = declined.setdefault(f"weights {kind}: {reason}", [])
            names += [member.name for member in group.members if member.name not in names]
    return None


def _some(names: Sequence[str]) -> str:
    """ "l0, l1 and 4 more"."""
    return ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _expected_us(group: Group, emitted: Emitted) -> float:
    steps = max(member.steps for member in group.members) + depth_of(group) - 1
    return EAGER_LAUNCH_US + steps * emitted.step_us
