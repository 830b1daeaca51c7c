"""Looks at a side's readings for time that its own clock left out. Judge's side.

Every side is sent the same bytes by the same code, so what a command takes beside its forward is the same for
all, and a side cannot make that of another process larger. More than the least of them is work done outside
the clock: before it, after it, or by a clock that was tampered with. But processes differ by luck too, such
as which memory theirs is far from: copies of 8 MB took 10 ms in one process and 18 in the next of the same
file (H200, 16 cores of a shared machine). So what looks like hidden time is confirmed in processes started
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.lane import Lane

SHARE = 0.05  # of its own time, or of that of the transfers, that a side could hide and not be found out
LEAST_US = 50.0  # hidden time that the noise of two clocks in two processes cannot tell from none
# Of each side, to confirm. That all of one lie above all of the other is chance once in 252 times.
FRESH_PROCESSES = 5

# A new process of each side, after calls on the same inputs; see `timing.again`.
Again = Callable[[Sequence[Lane]], Sequence[Lane]]


@dataclass(frozen=True)
class Suspicion:
    """What a side's clock seems to leave out.

    Args:
        hidden_us: more than beside the forward of `other`, the side where that is least.
        allowed_us: what may be chance.
        own_us: what its own clock shows of the forward.
    """

    hidden_us: float
    allowed_us: float
    own_us: float
    other: Lane

    def __str__(self) -> str:
        return f"{self.hidden_us:.0f} µs beside the {self.own_us:.0f} µs that its own clock shows"


def clock_fault(lane: Lane, others: Sequence[Lane], again: Again) -> str:
    """What a side's own clock does not show, as a finding in words; empty where it tells the truth.

    Raises:
        CandidateFailure: the side failed in a process started to confirm it.
    """
    suspicion = hidden_time(lane, others)
    if suspicion is not None and confirmed(suspicion, lane, again):
        return f"{Kind.HIDDEN_TIME}: {suspicion}"
    if unwaited := unwaited_time(lane):
        return f"{Kind.STREAM}: {unwaited}"
    return ""


def hidden_time(lane: Lane, others: Sequence[Lane]) -> Suspicion | None:
    """What a side's readings suggest that its own clock left out.

    Shortest times are compared, which other processes on the machine move least, and medians, in case a side
    is honest now and then; both as far as they stand out from their own spread.
    """
    own = median(reading.own for reading in lane.cold + lane.warm)
    mine = lane.beside()
    low, middle, high = quantiles(mine, n=4)
    other = min([lane, *others], key=lambda one: min(one.beside()))
    least = other.beside()
    allowed = max(LEAST_US, SHARE * own, SHARE * min(least))
    for hidden, spread in ((min(mine) - min(least), low - min(mine)), (middle - median(least), high - low)):
        if hidden > allowed + 3.0 * spread:
            return Suspicion(hidden, allowed, own, other)
    return None


def confirmed(suspicion: Suspicion, lane: Lane, again: Again) -> bool:
    """Whether every new process of the side takes more beside its forward than all of the other's.

    Raises:
        CandidateFailure: the side failed in one of them.
    """
    mine: list[float] = []
    others: list[float] = []
    while len(mine) < FRESH_PROCESSES:
        fresh, other = again((lane, suspicion.other))
        if fresh.failure:
            raise fresh.failure
        if other.failure:
            return False
        mine.append(median(fresh.beside()))
        others.append(median(other.beside()))
        if min(mine) <= max(others):
            return False
    return median(mine) - median(others) > suspicion.allowed_us


def unwaited_time(lane: Lane) -> str:
    """Device work that goes on after the caller's stream is done, if any: "300 µs after 20"."""
    readings = lane.cold + lane.warm
    device = median(reading.device for reading in readings)
    after = median(reading.drained - reading.device for reading in readings)
    if after <= max(LEAST_US, SHARE * device) * 2:
        return ""
    return f"{after:.0f} µs on other streams after the {device:.0f} µs of the caller's"
