"""How a loop reads its stream from the board and publishes its result there: see `stationary.together`."""

from __future__ import annotations

from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.stationary.around import Around
from tilewright.proposers.recurrence.stationary.plan import TILE
from tilewright.proposers.recurrence.stationary.writer import Writer

SHARED = ("counters", "steps", "epochs", "stream", "result")  # parameters that the launch itself gives


class BoardWriter(Writer):
    """The words of a loop that waits for epochs of its stream.

    Attributes:
        around: what the launch takes along; None where it is the loop alone.
        programs: that run the loop, one for each 8 rows of batch.
    """

    around: Around | None
    programs: int
    _columns: dict[str, int]  # of what is passed contiguous

    @property
    def held_columns(self) -> int:
        """Columns of the published result as the board holds it."""
        assert self.around is not None
        return self.plan.warps * self.plan.rows(self.around.width) if self.around.after else 0

    @property
    def _function(self) -> str:
        return self.name.removesuffix("_loop")

    def _shared_parameters(self) -> list[str]:
        assert self.around is not None
        names = SHARED if self.around.after else SHARED[:-1]
        return [f"{name}: {self._tl}.constexpr" if name in ("steps", "epochs") else name for name in names]

    def _pointer(self, name: str, value: str, columns: int, *axes: str) -> None:
        """A launch with workers takes contiguous tensors: its time on the host grows with its arguments."""
        if self.around is None:
            super()._pointer(name, value, columns, *axes)
        elif name not in self._columns:
            self._columns[name] = columns
            self.parameters.append(name)
            self.arguments.append(f"{value}.contiguous()")

    def _stride(self, name: str, axis: str) -> str:
        if name not in self._columns:
            return super()._stride(name, axis)
        return "1" if axis == "w" else str(self._columns[name])

    def _awaited(self, epoch: str) -> None:
        self._add(f"{self._function}_await(counters, {epoch}, steps)")

    def _epochs(self) -> tuple[str, str]:
        """Begin a loop over epochs that waits for the next one; the first step of each and the end."""
        self._add("for epoch in range(epochs):")
        self._depth += 1
        self._add(f"later = {self._tl}.minimum(epoch + 1, epochs - 1)")
        self._awaited("later")
        end = f"{self._tl}.minimum({self._function}_begin(epoch + 1), steps)"
        return f"{self._function}_begin(epoch)", end

    def _of_tiles(self, name: str, stream: ir.Stream, first: int, width: int, held_as: int, lane: str) -> str:
        """Addresses of columns of the first step of a stream that lies in tiles of 8 rows."""
        rows = self._rows(width, held_as) + (f" + {first}" if first else "")
        offset = f"({rows}) * {TILE} + {lane} + {self._tl}.program_id(0) * {stream.width * TILE}"
        return self._place(name, offset)

    def _place_of_result(self) -> None:
        """Bring the addresses of the published result's first place."""
        if self.around is not None and self.around.after is not None:
            row = self._every_row(self.around.width)
            tile = f"{self._tl}.program_id(0) * {self.held_columns * TILE}"
            self._add(f"result_at = {self._halves('result', f'{row} * {TILE} + {self._lane()} + {tile}')}")

    def _published(self, place: str, value: str) -> str:
        """The line that publishes a value of all columns."""
        size = self.programs * self.held_columns * TILE
        return self._stored_half(f"result_at + {place} * {self._half_bytes(size)}", value)

    # What differs between dialects

    def _lane(self) -> str:
        return self._once("lane", f"tl.arange(0, {TILE})[None, None, :]")

    def _halves(self, pointer: str, offset: str) -> str:
        return f"{pointer}.to(tl.int64) + 2 * ({offset}).to(tl.int64)"

    def _half_bytes(self, elements: int) -> int:
        return 2 * elements

    def _stored_half(self, address: str, value: str) -> str:
        return self._use("store_halves_like", address, f"{value}.to(tl.float16)")
