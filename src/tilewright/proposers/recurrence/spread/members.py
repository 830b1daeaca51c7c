"""The members of a group, checked, and grouped into runs that share one piece of code."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.proposers.recurrence.ir import (
    Declined,
    Group,
    Name,
    Node,
    Product,
    Recurrence,
    Result,
    Tensor,
)
from tilewright.proposers.recurrence.spread.bounds import bounded
from tilewright.proposers.recurrence.spread.plan import BYTES, hidden_of

OPERANDS = {"float32": "fp32", "tf32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
INPUT_PRECISION = {"float32": "tf32x3", "tf32": "tf32"}


@dataclass(frozen=True)
class Follows:
    """A stream that follows another member: which member, and which of its published values."""

    member: int
    published: int


@dataclass(frozen=True)
class Member:
    """One recurrence of the group.

    Args:
        published: names of its step that products read, its own or those of the member above.
        own: for each product of a state, the published value it reads.
        follows: stream → what it follows.
        results: those that are read outside the group.
    """

    loop: Recurrence
    hidden: int
    published: tuple[str, ...]
    own: dict[str, int]
    follows: dict[str, Follows]
    results: tuple[Result, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """Streams that come from outside the group."""
        return tuple(stream.name for stream in self.loop.streams if stream.name not in self.follows)


@dataclass(frozen=True)
class Run:
    """Members first … first + count - 1, which differ only in the values they are given.

    Each follows the one before it; so only the first may read streams from outside, and then it is alone.
    """

    first: int
    count: int


@dataclass(frozen=True)
class Members:
    """A group, ready to be laid out.

    Args:
        operand: Triton type of the products' operands: "fp16", "bf16", "fp32".
        input_precision: of tl.dot, for float32 operands.
        approximate: whether tanh and sigmoid may err by 2^-11, as much as the operands of the products.
    """

    all: tuple[Member, ...]
    runs: tuple[Run, ...]
    types: dict[str, Tensor]
    operand: str
    input_precision: str | None
    approximate: bool

    @property
    def copies(self) -> int:
        """Of an operand in registers: tf32x3 multiplies its large and its small part apart."""
        return 2 if self.input_precision == "tf32x3" else 1

    def operand_bytes(self, loop: Recurrence, product: Product) -> int:
        return BYTES[self.operand]


def network(group: Group, types: dict[str, Tensor], precision: str, wanted: frozenset[str] | None) -> Members:
    """Check a group.

    Raises:
        Declined: see `spread.emit`.
    """
    members = _members(group, wanted)
    operand = OPERANDS[precision]
    if precision == "tf32" and all(_fits_fp16(member) for member in members):
        operand = "fp16"
    return Members(
        members,
        _runs(members, types),
        types,
        operand,
        INPUT_PRECISION[precision] if operand == "fp32" else None,
        precision != "float32",
    )


def _members(group: Group, wanted: frozenset[str] | None) -> tuple[Member, ...]:
    loops = group.members
    first = loops[0]
    if any((loop.steps, loop.batch) != (first.steps, first.batch) for loop in loops):
        raise Declined("the loops differ in their steps or in their batch")
    makers = {
        result.name: (index, result)
        for index, loop in enumerate(loops)
        for result in loop.results
        if result.every_step
    }
    published: list[list[str]] = [[] for _ in loops]
    follows: list[dict[str, Follows]] = [{} for _ in loops]
    own: list[dict[str, int]] = [{} for _ in loops]
    for index, loop in enumerate(loops):
        following = dict(loop.following)
        streams = {stream.name: stream for stream in loop.streams}
        if not loop.products:
            raise Declined("a loop without a matrix product has no weights to spread", loop.line)
        for product in loop.products:
            if product.left in following:
                own[index][product.left] = _publish(published[index], following[product.left])
            elif product.left not in streams:
                raise Declined(
                    f"a product in the middle of a step ({product.left}) needs a second exchange", loop.line
                )
            elif streams[product.left].value not in makers:
                raise Declined("a product of an input belongs before the loop", loop.line)
        for stream in loop.streams:
            if stream.value not in makers:
                continue
            maker, result = makers[stream.value]
            if loops[maker].reverse != loop.reverse or maker >= index:
                raise Declined("a layer follows one that runs the other way", loop.line)
            if any(Name(stream.name) in node.args for node in loop.nodes):
                raise Declined("a step reads the layer below elementwise", loop.line)
            source = dict(loops[maker].following).get(result.source, result.source)
            follows[index][stream.name] = Follows(maker, _publish(published[maker], source))
    return tuple(
        Member(
            loop,
            hidden_of(loop),
            tuple(published[index]),
            own[index],
            follows[index],
            tuple(r for r in loop.results if wanted is None or r.name in wanted),
        )
        for index, loop in enumerate(loops)
    )


def _publish(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


def _fits_fp16(member: Member) -> bool:
    following = {name for pair in member.loop.following for name in pair}
    return bounded(member.loop, set(member.published) & (following | {n.name for n in member.loop.nodes}))


def _runs(members: tuple[Member, ...], types: dict[str, Tensor]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for index, member in enumerate(members):
        last = runs[-1] if runs else None
        alone = bool(member.outside) or any(f.member != index - 1 for f in member.follows.values())
        if last and not alone and form(members[last.first], types) == form(member, types):
            head = members[last.first]
            lower = members[last.first - 1]  # evenly spaced in the published buffer, like those that follow
            even = (lower.hidden, len(lower.published)) == (head.hidden, len(head.published))
            where = [follow.published for follow in member.follows.values()]
            same = where == [follow.published for follow in head.follows.values()]
            if member.follows and not head.outside and even and same:
                runs[-1] = Run(last.first, last.count + 1)
                continue
        runs.append(Run(index, 1))
    return tuple(runs)


def form(member: Member, types: dict[str, Tensor]) -> tuple[object, ...]:
    """What two members must have in common to run the same code: everything but names."""
    loop = member.loop
    numbers: dict[str, int] = {}

    def short(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    def item(entry: Product | Node) -> tuple[object, ...]:
        if isinstance(entry, Product):
            return ("product", short(entry.name), short(entry.left), entry.width, entry.inner)
        args = tuple(
            ("name", short(a.name)) if isinstance(a, Name) else ("number", repr(a)) for a in entry.args
        )
        return (entry.op, short(entry.name), args, entry.width)

    return (
        loop.reverse,
        tuple((short(s.name), s.width) for s in loop.states),
        tuple(
            (
                short(s.name),
                s.width,
                s.name in member.follows,
                types[s.value].dtype if s.value in types else "",
            )
            for s in loop.streams
        ),
        tuple((short(o.name), o.shape) for o in loop.operands),
        tuple(item(entry) for entry in loop.body),
        tuple((short(a), short(b)) for a, b in loop.following),
        tuple((short(r.source), r.every_step) for r in member.results),
        tuple(short(name) for name in member.published),
    )
