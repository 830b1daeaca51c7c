"""How a step reads what other CTAs publish: looks at words, waits for them, multiplies them.

A look is a load that does not wait. All looks of a value are on their way at the same time, so that a wait
finds its words there, as a rule, and loads again only what it lacks. Rows of the member below are looked at a
step early, those of the own member as late as other work allows: a look in vain costs a whole trip to L2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from tilewright.judge.interpreted.exchange import MOST_WORDS, WORD_BYTES
from tilewright.proposers.recurrence.spread.helpers import (
    TRITON,
    apart_helper,
    arrived_helper,
    kept_helper,
    pause_helper,
    publish_helper,
    row_helper,
)
from tilewright.proposers.recurrence.spread.plan import BYTES, Layout, chunks


@dataclass
class Reading:
    """Writes the lines that bring the rows of a value, and remembers which helpers they call.

    Args:
        name: what helpers' names begin with.
        operand: Triton type of the published values: "fp16", "bf16", "fp32".
        waits: (tiles, words of each in a thread) of the waits written.
        chains: whether products were written as two chains.
        pauses: whether a pause was written.
    """

    name: str
    layout: Layout
    operand: str
    waits: set[tuple[int, int]] = field(default_factory=set)
    chains: bool = False
    pauses: bool = False

    @property
    def per_word(self) -> int:
        return WORD_BYTES // BYTES[self.operand]

    def helpers(self) -> list[str]:
        """The helpers of all lines written."""
        axes = 3 if self.layout.split > 1 else 2
        parts = [arrived_helper(self.name, self.operand, *wait) for wait in sorted(self.waits)]
        parts += [row_helper(self.name, self.operand, axes)] if self.waits else []
        parts += [apart_helper(self.name)] if self.chains else []
        parts += [pause_helper(self.name)] if self.pauses else []
        parts += [] if self.layout.piece else [kept_helper(self.name, self.operand)]
        return [*parts, publish_helper(self.name, self.operand)] if self.layout.split == 1 else parts

    def addresses(self, value: str, region: str, inner: int) -> list[str]:
        """Addresses of a value's words at time 0, and which of them there are."""
        lines: list[str] = []
        words, split = inner // self.per_word, self.layout.split
        for part, (first, count) in enumerate(chunks(inner, split)):
            column = self.along(first // self.per_word, count // self.per_word)
            place = f"{region}.to(tl.pointer_type(tl.int64)) + ({self._each('row')} * {words} + {column})"
            beyond = f" & ({column} < {words})" if first + count > inner else ""
            lines += [
                f"{value}_at_{part} = {place}",
                f"{value}_wanted_{part} = {self._each('live')}{beyond}",
            ]
        return lines

    def pause(self) -> str:
        """A line that lets the time pass which others need to publish."""
        self.pauses = True
        return f"{self.name}_pause(tl.full([{self.layout.rows}, 1], {self.layout.pause}, tl.int32))"

    def look(self, value: str, inner: int, time: str) -> list[str]:
        """Lines that load a value's words of a time, as they are."""
        lines = [f"{value}_time = tl.cast({time}, tl.int64) * (batch * {inner // self.per_word})"]
        return lines + [
            f"{value}_words_{part} = tl.load("
            f"{value}_at_{part} + {value}_time, mask={value}_wanted_{part}, other=0, volatile=True)"
            for part in range(len(chunks(inner, self.layout.split)))
        ]

    def arrive(self, value: str, inner: int) -> list[str]:
        """Lines that wait until the words looked at last are all there."""
        lines: list[str] = []
        parts = enumerate(chunks(inner, self.layout.split))
        for count, group in groupby(parts, key=lambda part: part[1][1]):
            pack = max(1, self.layout.rows * count // self.per_word // (32 * self.layout.warps))
            same = [part for part, _ in group]
            most = max(1, MOST_WORDS // pack)
            for some in (same[i : i + most] for i in range(0, len(same), most)):
                self.waits.add((len(some), pack))
                targets = ", ".join(f"{value}_words_{i}" for i in some)
                places = ", ".join(f"({value}_at_{i} + {value}_time).to(tl.int64)" for i in some)
                lines.append(f"{targets} = {self.name}_arrived_{len(some)}x{pack}({places}, {targets})")
        return lines

    def rows(self, value: str, inner: int) -> list[str]:
        """Lines that make operands of words."""
        count = len(chunks(inner, self.layout.split))
        return [f"{value}_row_{part} = {self.name}_row({value}_words_{part})" for part in range(count)]

    def start(self, value: str, source: str, inner: int, hidden: int) -> list[str]:
        """Lines that make operands of the state that a loop starts from: [batch, hidden] of float32."""
        lines: list[str] = []
        row, live = self._each("row"), self._each("live")
        for part, (first, count) in enumerate(chunks(inner, self.layout.split)):
            columns = self.along(first, count)
            mask = live if first + count <= hidden else f"{live} & ({columns} < {hidden})"
            start = f"tl.load({source} + {row} * {hidden} + {columns}, mask={mask}, other=0.0)"
            lines.append(f"{value}_row_{part} = {start}.to({TRITON[self.operand]})")
        return lines

    def product(self, name: str, left: str, inner: int, option: str) -> list[str]:
        """Lines that multiply rows by stationary weights: two chains side by side, where there are two parts.

        Args:
            option: of tl.dot, with its comma.
        """
        parts = range(len(chunks(inner, self.layout.split)))
        if self.layout.split > 1:
            lines = self._chain(f"{name}_parts", name, left, parts, option)
            return [*lines, f"{name} = tl.sum({name}_parts, axis=0)  # of the parts that the warps computed"]
        if len(parts) == 1:
            return self._chain(name, name, left, parts, option)
        self.chains = True
        even = self._chain(f"{name}_even", name, left, parts[::2], option)
        odd = self._chain(f"{name}_odd", name, left, parts[1::2], option)
        both = f"{name} = {self.name}_apart({name}_even) + {self.name}_apart({name}_odd)"
        return [*even, *odd, both]

    def _chain(self, total: str, name: str, left: str, parts: range, option: str) -> list[str]:
        lines: list[str] = []
        for part in parts:
            onto = f", {total}" if lines else ""
            lines.append(f"{total} = tl.dot({left}_row_{part}, {name}_stationary_{part}{onto}{option})")
        return lines

    def along(self, first: int, count: int, axis: str = "") -> str:
        """Columns first … first + count of a state, shared among warps where they are split.

        Args:
            axis: an index that makes them an axis of a tile; the last one where not given.
        """
        split = self.layout.split
        text = f"tl.arange(0, {count // split})" + (axis or ("[None, None, :]" if split > 1 else "[None, :]"))
        if split > 1:
            text = f"tl.arange(0, {split})[:, None, None] * {count // split} + {text}"
        return f"{first} + {text}" if first else text

    def _each(self, name: str) -> str:
        """A [rows, 1] value as the rows of a tile of the left operand."""
        return f"{name}[None, :, :]" if self.layout.split > 1 else name
