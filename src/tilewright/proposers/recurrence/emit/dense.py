"""A network without a loop: its matrix products, each with what is joined before it and applied after it.

A library multiplies well. What it does not do is take an operand in parts (PyTorch writes the concatenation
to memory first) or apply an activation to the sum before it leaves the registers. Where products make up most
of the forward and there is such work to fold in, one kernel a product can gain; elsewhere it would only stand
in for the library.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.emit.projections import TRANSPOSES, VIEWS, Finder
from tilewright.proposers.recurrence.emit.pytorch import FACTORIES
from tilewright.proposers.recurrence.frontend.elementwise import RULES
from tilewright.proposers.recurrence.ir import Call, Declined, Name, Network

CONCATENATION = "aten.cat.default"
MOVES = frozenset(
    {"slice", "select", "expand", "unsqueeze", "squeeze", "cat", "stack", "sum", "mean", "amax"}
)
MOST_ELSEWHERE = 0.5  # of the time that the forward takes at the GPU's peak rates
REACHED = 0.7  # of the peak of the tensor cores, by any kernel
OPERATION_US = 2.0  # a kernel's start


@dataclass(frozen=True)
class Dense:
    """result = activation(cat(lefts) @ weight.T + bias), the parts of the left operand never joined.

    Args:
        name: the value it gives, [..., width].
        lefts: [..., inner] each, the same leading sizes; joined along the last axis.
        weight: [width, sum of inner], or the other way round when `transposed`.
        bias: [width].
        activation: "tanh", "sigmoid" or "relu".
        covers: names of the calls that it stands for.
    """

    name: str
    lefts: tuple[str, ...]
    weight: str
    transposed: bool
    bias: str | None
    activation: str | None
    covers: frozenset[str]

    @property
    def reads(self) -> list[str]:
        return [*self.lefts, self.weight, *([self.bias] if self.bias else [])]


def products(network: Network) -> tuple[Dense, ...]:
    """The products of a network, in the order of their calls."""
    finder = Finder(network)
    found: list[Dense] = []
    for call in network.statements:
        product = finder.match(call) if isinstance(call, Call) else None
        if product:
            lefts = _parts(product.left, network, finder)
            fields = (product.weight, product.transposed, product.bias, product.activation, product.covers)
            found.append(Dense(product.name, lefts, *fields))
    return tuple(found)


def worthwhile(network: Network, gpu: Gpu, precision: str) -> tuple[Dense, ...]:
    """The products of a network that one kernel each may run faster than PyTorch does.

    Raises:
        Declined: forward does other heavy work, products are the smaller part of it, or there is nothing to
            fold into them.
    """
    found = products(network)
    if not found:
        raise Declined("forward has neither a loop that carries a state nor a matrix product")
    folded = {name for product in found for name in product.covers}
    joined = {part for product in found for part in product.lefts if len(product.lefts) > 1}
    others = [s for s in network.statements if isinstance(s, Call) and s.name not in folded]
    for call in others:
        if not _light(call):
            raise Declined(f"{call.target} is left to its library, and forward has no loop", call.line)
    if not joined and not any(product.activation for product in found):
        raise Declined("forward has no loop, and its products have nothing to fold in: no activation follows")
    within = math.fsum(_product_us(product, network, gpu, precision) for product in found)
    elsewhere = math.fsum(
        _moved_us(call, network, gpu)
        for call in others
        if call.target not in VIEWS | TRANSPOSES | {CONCATENATION}
    )
    if elsewhere > MOST_ELSEWHERE * (within + elsewhere):
        whole = within + elsewhere
        raise Declined(
            f"forward has no loop, and products are {within:.0f} of its {whole:.0f} us (estimated)"
        )
    return found


def sizes_of(product: Dense, network: Network) -> tuple[int, int, int]:
    """Rows, columns and inner size."""
    types = network.types
    rows = math.prod(types[product.name].shape[:-1])
    return rows, types[product.name].shape[-1], sum(types[left].shape[-1] for left in product.lefts)


def _parts(left: str, network: Network, finder: Finder) -> tuple[str, ...]:
    call = finder.made_by.get(left)
    axes = len(network.types[left].shape)
    match call:
        case Call(target="aten.cat.default", args=(tuple(parts), int(axis))) if axis % axes == axes - 1:
            names = tuple(part.name for part in parts if isinstance(part, Name))
            if len(names) == len(parts) and all(network.types[n].dtype == "float32" for n in names):
                return names
        case _:
            pass
    return (left,)


def _light(call: Call) -> bool:
    """Whether PyTorch runs a call at the speed of memory."""
    name = call.target.split(".")[1]
    return call.target in VIEWS | TRANSPOSES | FACTORIES or name in RULES or name in MOVES


def _product_us(product: Dense, network: Network, gpu: Gpu, precision: str) -> float:
    rows, columns, inner = sizes_of(product, network)
    rate = gpu.tflops.get({"float16": "fp16", "bfloat16": "bf16"}.get(precision, "tf32"), gpu.tflops["fp32"])
    computing = 2 * rows * columns * inner / (rate * REACHED * 1e6)
    moving = 4 * (rows * inner + columns * inner + rows * columns) / (gpu.memory_bandwidth_gbs * 1e3)
    return OPERATION_US + max(computing, moving)


def _moved_us(call: Call, network: Network, gpu: Gpu) -> float:
    names = [call.name, *(a.name for a in call.args if isinstance(a, Name))]
    elements = sum(math.prod(network.types[name].shape) for name in names)
    return OPERATION_US + 4 * elements / (gpu.memory_bandwidth_gbs * 1e3)
