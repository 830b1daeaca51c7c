"""The values of a speed verdict: what is sampled, by which rules it is decided, and the answer.

Imports neither numpy nor scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Protocol

CONDITIONS = {  # name → which clock, and whether the L2 cache is overwritten before each sample
    f"{clock} time, {cache} L2": (clock, cache == "cold")
    for clock in ("device", "wall")
    for cache in ("cold", "warm")
}


@dataclass(frozen=True)
class Block:
    """Samples of two sides taken side by side, in random order, on fresh instances. Microseconds.

    Two instances of one binary differ by where their memory lies, and all samples of an instance
    share that. So the block, never the sample, is what counts as one observation.
    """

    before_us: tuple[float, ...]
    after_us: tuple[float, ...]


class Sampler(Protocol):
    """Takes blocks. Each block must draw anew whatever can favour a side and is not its code: instances,
    memory, the order of building and of running. What it cannot draw anew must be the same in both
    kinds of block, so that `same_block` shows it.
    """

    def pair_block(self) -> Block:
        """Both sides, each a fresh instance."""
        ...

    def same_block(self) -> Block:
        """Two fresh instances of the first side, taken in exactly the way of `pair_block`."""
        ...


class SpeedOutcome(StrEnum):
    """What the samples say of the second side against the first."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no-difference"  # none was shown; that there is none is not claimed


@dataclass(frozen=True)
class Ratio:
    """How many times as long one side takes as the other, with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rules:
    """By what a difference is called. Fixed before the first sample is taken.

    Args:
        false_alarm: the most that the chance may be of calling a difference where there is none, over
            all looks together.
        looks: after how many blocks the samples are looked at; the last is where sampling ends.
        noise_blocks: blocks of the first side against itself, taken first.
        noise_confidence: of the interval of these.
        resolution: sampling ends once the whole interval of the ratio is closer to 1 than this.

    Raises:
        ValueError: not probabilities, looks not increasing, or too few blocks to ever show anything.
    """

    false_alarm: float = 0.01
    looks: tuple[int, ...] = (10, 20, 40, 80)
    noise_blocks: int = 16
    noise_confidence: float = 0.95
    resolution: float = 0.003

    def __post_init__(self) -> None:
        if not (0.0 < self.false_alarm < 1.0 and 0.0 < self.noise_confidence < 1.0):
            raise ValueError("false_alarm and noise_confidence are probabilities between 0 and 1")
        if self.resolution < 0.0:
            raise ValueError(f"a resolution of {self.resolution} is negative")
        if not self.looks or list(self.looks) != sorted({n for n in self.looks if n > 0}):
            raise ValueError(f"looks at {self.looks} blocks do not increase")
        for blocks, level in (
            (self.looks[-1], self.level),
            (self.noise_blocks, 1.0 - self.noise_confidence),
        ):
            if blocks < 1 or 2.0 ** (1 - blocks) > level:
                raise ValueError(f"{blocks} blocks show nothing at a level of {level:g}; take more")

    @property
    def level(self) -> float:
        """The chance of a false alarm that one look may spend (Bonferroni: their sum is `false_alarm`)."""
        return self.false_alarm / len(self.looks)


@dataclass(frozen=True)
class SpeedVerdict:
    """Whether the second side is faster than the first, and all that the answer rests on.

    Args:
        outcome: the answer.
        ratio: time of the first side over that of the second, above 1 where the second is faster; the
            interval holds at every look at once, with a confidence of 1 − rules.false_alarm.
        noise: the same of the first side over itself; its interval is what this machine shows where
            there is no difference.
        condition: what was timed: "device time, cold L2".
        rules: by which it was decided.
        pairs: every block of the two sides, in the order taken.
        noise_pairs: every block of the first side against itself, in the order taken.
    """

    outcome: SpeedOutcome
    ratio: Ratio
    noise: Ratio
    condition: str
    rules: Rules
    pairs: tuple[Block, ...]
    noise_pairs: tuple[Block, ...]

    @property
    def before_us(self) -> float:
        """The first side's time: the median of its blocks' medians, microseconds."""
        return median(median(block.before_us) for block in self.pairs)

    @property
    def after_us(self) -> float:
        """The second side's time: the median of its blocks' medians, microseconds."""
        return median(median(block.after_us) for block in self.pairs)

    @property
    def finding(self) -> str:
        """The answer in a few words: "1.250× as fast"."""
        return {
            SpeedOutcome.FASTER: f"{self.ratio.value:.3f}× as fast",
            SpeedOutcome.SLOWER: f"{1.0 / self.ratio.value:.3f}× as slow",
            SpeedOutcome.NO_DIFFERENCE: "no difference shown",
        }[self.outcome]

    @property
    def statement(self) -> str:
        """The verdict in one line: what, in which range, and what that rests on."""
        interval = f"{self.ratio.low:.4f} to {self.ratio.high:.4f}"
        return f"{self.finding} (ratio {interval}; {self.basis})"

    @property
    def basis(self) -> str:
        """What the ratio rests on: what was timed, against which noise, how often, how sure."""
        return (
            f"{self.condition}, against itself {self.noise.low:.4f} to {self.noise.high:.4f}, "
            f"{len(self.pairs)} blocks, chance of a false alarm below {100.0 * self.rules.false_alarm:g} %"
        )
