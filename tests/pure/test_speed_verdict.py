"""Speed verdicts on simulated sides: how often they are wrong, what they find, and what changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tilewright.judge.speed.decision import decide, recompute
from tilewright.judge.speed.model import Block, Rules, SpeedOutcome, SpeedVerdict
from tilewright.serial import structure
from tilewright.worker import plain

CONDITION = "device time, cold L2"
FASTER, SLOWER, NO_DIFFERENCE = SpeedOutcome.FASTER, SpeedOutcome.SLOWER, SpeedOutcome.NO_DIFFERENCE
RUNS = 1000


class Machine:
    """Two simulated sides around 100 µs. All standard deviations are relative.

    Args:
        slower: how much longer the second side takes.
        samples: per side and block.
        jitter: of one sample, Student's t with 3 degrees of freedom.
        stalls: the share of samples that take 100 times as long.
        instance: of what all samples of an instance share.
        kept: the correlation of that with the block before, 0 where instances are independent.
        place: of an advantage that the second place has over the first, throughout.
        drift: how much slower the clock gets from one block to the next.
        shared: of what both sides of a block share.
    """

    def __init__(
        self,
        seed: int,
        *,
        slower: float = 0.0,
        samples: int = 7,
        jitter: float = 0.01,
        stalls: float = 0.01,
        instance: float = 0.005,
        kept: float = 0.0,
        place: float = 0.0,
        drift: float = 0.0005,
        shared: float = 0.003,
    ) -> None:
        self.draw = np.random.default_rng(seed)
        self.samples, self.jitter, self.stalls = samples, jitter, stalls
        self.instance, self.kept, self.drift, self.shared = instance, kept, drift, shared
        self.places = math.exp(self.draw.normal(0.0, place))
        self.second = (1.0 + slower) * self.places
        self.instances = self.draw.normal(0.0, instance, 2)
        self.blocks = 0
        self.ahead: list[list[list[float]]] = []

    def pair_block(self) -> Block:
        return self._block(self.second)

    def same_block(self) -> Block:
        return self._block(self.places)

    def _block(self, second: float) -> Block:
        if not self.ahead:
            self.ahead = self._many(32)
        before, after = self.ahead.pop()
        return Block(tuple(before), tuple(second * sample for sample in after))

    def _many(self, count: int) -> list[list[list[float]]]:
        """The next blocks, the first of them last: drawn at once, which is faster than one by one."""
        fresh = self.draw.normal(0.0, self.instance, (count, 2)) * math.sqrt(1.0 - self.kept**2)
        for block in range(count):
            self.instances = fresh[block] = self.kept * self.instances + fresh[block]
        level = self.drift * np.arange(self.blocks, self.blocks + count)
        level += self.draw.normal(0.0, self.shared, count)
        self.blocks += count
        size = (count, 2, self.samples)
        # Student's t with 3 degrees of freedom has a variance of 3.
        logs = self.jitter * self.draw.standard_t(3, size) / math.sqrt(3.0)
        logs += math.log(100.0) * (self.draw.random(size) < self.stalls)
        logs += fresh[:, :, None] + level[:, None, None]
        return list((100.0 * np.exp(logs[::-1])).tolist())


def verdicts(count: int, rules: Rules | None = None, **machine: float) -> list[SpeedVerdict]:
    return [
        decide(Machine(seed, **machine), rules or Rules(), CONDITION)  # type: ignore[arg-type]
        for seed in range(count)
    ]


def share(found: list[SpeedVerdict], outcome: SpeedOutcome) -> float:
    return sum(verdict.outcome is outcome for verdict in found) / len(found)


def false_alarms(found: list[SpeedVerdict]) -> int:
    return sum(verdict.outcome is not NO_DIFFERENCE for verdict in found)


def most_alarms(runs: int, false_alarm: float = 0.01) -> int:
    """What a true rate of `false_alarm` exceeds once in a thousand times."""
    return int(stats.binom.ppf(0.999, runs, false_alarm))


@pytest.mark.parametrize(
    "machine",
    [
        {},
        {"samples": 1, "stalls": 0.1},
        {"drift": 0.01, "jitter": 0.05},
        {"place": 0.01},
        {"kept": 0.8},
        {"instance": 0.0, "jitter": 1e-6, "stalls": 0.0},
    ],
    ids=lambda machine: ", ".join(f"{key} {value}" for key, value in machine.items()) or "usual",
)
def test_a_side_against_itself_is_rarely_called_different(machine: dict[str, float]) -> None:
    assert false_alarms(verdicts(RUNS, **machine)) <= most_alarms(RUNS)


@pytest.mark.parametrize(("false_alarm", "at_least"), [(0.01, 0.001), (0.2, 0.05)])
def test_the_looks_alone_keep_the_rate(false_alarm: float, at_least: float) -> None:
    """Where the first side against itself shows nothing at all; and it is no test that never calls."""

    class Exact(Machine):
        def same_block(self) -> Block:
            return Block((1.0,), (1.0,))

    rules = Rules(false_alarm=false_alarm, resolution=0.0)
    alarms = false_alarms([decide(Exact(seed), rules, CONDITION) for seed in range(RUNS)])
    assert at_least * RUNS <= alarms <= most_alarms(RUNS, false_alarm)


@pytest.mark.parametrize(
    ("slower", "found_at_least", "blocks_at_most"),
    [(0.05, 0.99, 10), (0.02, 0.9, 20), (0.01, 0.3, 80)],
)
def test_what_is_slower_is_found(slower: float, found_at_least: float, blocks_at_most: int) -> None:
    found = verdicts(200, slower=slower)
    assert share(found, SLOWER) >= found_at_least
    assert share(found, FASTER) == 0.0
    assert np.median([len(verdict.pairs) for verdict in found]) <= blocks_at_most


def test_half_a_percent_is_found_where_instances_differ_little() -> None:
    found = verdicts(200, slower=0.005, instance=0.001, jitter=0.003)
    assert share(found, SLOWER) >= 0.95


def test_the_interval_holds_the_true_ratio() -> None:
    misses = [v for v in verdicts(500, slower=0.02) if not v.ratio.low <= 1.0 / 1.02 <= v.ratio.high]
    assert len(misses) <= most_alarms(500)


def test_a_clear_answer_ends_early() -> None:
    found = verdicts(200, slower=0.3)
    assert share(found, SLOWER) == 1.0
    assert Counter(len(verdict.pairs) for verdict in found)[10] >= 195


def test_sampling_ends_where_any_difference_is_within_the_resolution() -> None:
    calm = Machine(1, instance=0.0002, jitter=0.0005, stalls=0.0)
    verdict = decide(calm, Rules(), CONDITION)
    assert verdict.outcome is NO_DIFFERENCE
    assert len(verdict.pairs) == 10
    assert 1.0 / 1.003 <= verdict.ratio.low <= 1.0 <= verdict.ratio.high <= 1.003


def test_a_difference_inside_what_the_machine_shows_against_itself_is_none() -> None:
    class Noisy(Machine):
        def same_block(self) -> Block:
            return loud.same_block()

    loud = Machine(4, instance=0.03)
    calm = Noisy(3, slower=0.004, instance=0.0, jitter=1e-4, stalls=0.0)
    found = decide(calm, Rules(), CONDITION)
    assert found.ratio.high < 1.0  # its own interval alone would have said slower
    assert found.noise.low < found.ratio.low
    assert found.outcome is NO_DIFFERENCE


def test_identical_samples_show_no_difference() -> None:
    verdict = recompute([Block((5.0,), (5.0,))] * 10, [Block((5.0,), (5.0,))] * 16, Rules(), CONDITION)
    assert verdict.outcome is NO_DIFFERENCE
    assert (verdict.ratio.low, verdict.ratio.value, verdict.ratio.high) == (1.0, 1.0, 1.0)


def test_a_clock_of_coarse_steps_is_no_obstacle() -> None:
    """Samples without any variance, the second side one tick of two slower."""
    verdict = recompute(
        [Block((2.0, 2.0), (3.0, 3.0))] * 10, [Block((2.0,), (2.0,))] * 16, Rules(), CONDITION
    )
    assert verdict.outcome is SLOWER
    assert verdict.ratio.value == pytest.approx(2.0 / 3.0)


def test_a_few_stalled_blocks_hide_nothing() -> None:
    class Stalling(Machine):
        def pair_block(self) -> Block:
            block = super().pair_block()
            if len(self.ahead) % 10 == 0:
                return replace(block, before_us=tuple(100.0 * sample for sample in block.before_us))
            return block

    assert decide(Stalling(2, slower=0.05), Rules(), CONDITION).outcome is SLOWER


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a positive time"):
        recompute([Block((1.0, bad), (1.0,))] * 10, [Block((1.0,), (1.0,))] * 16, Rules(), CONDITION)


def test_a_block_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="without samples"):
        recompute([], [Block((), (1.0,))] * 16, Rules(), CONDITION)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"false_alarm": 0.0}, "probabilities"),
        ({"noise_confidence": 1.0}, "probabilities"),
        ({"looks": ()}, "do not increase"),
        ({"looks": (20, 10)}, "do not increase"),
        ({"looks": (0, 20)}, "do not increase"),
        ({"looks": (4,)}, "4 blocks show nothing at a level of 0.01"),
        ({"noise_blocks": 3}, "3 blocks show nothing at a level of 0.05"),
        ({"resolution": -0.1}, "negative"),
    ],
)
def test_rules_that_could_never_call_anything_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**rules)  # type: ignore[arg-type]


def test_a_look_too_early_for_its_level_is_passed_over() -> None:
    rules = Rules(looks=(4, 12))
    verdict = decide(Machine(0, slower=0.3), rules, CONDITION)
    assert verdict.outcome is SLOWER
    assert len(verdict.pairs) == 12


def test_the_record_gives_the_verdict_again() -> None:
    for slower in (0.0, 0.01, 0.3):
        verdict = decide(Machine(11, slower=slower), Rules(), CONDITION)
        read_back = structure(plain(verdict), SpeedVerdict)
        assert read_back == verdict
        again = recompute(read_back.pairs, read_back.noise_pairs, read_back.rules, read_back.condition)
        assert again == verdict


def test_a_record_cut_short_or_padded_is_told() -> None:
    verdict = decide(Machine(11, slower=0.3), Rules(), CONDITION)
    with pytest.raises(ValueError, match="more blocks than were recorded"):
        recompute(verdict.pairs[:-1], verdict.noise_pairs, Rules(), CONDITION)
    with pytest.raises(ValueError, match="1 recorded blocks more"):
        recompute((*verdict.pairs, verdict.pairs[0]), verdict.noise_pairs, Rules(), CONDITION)


machines = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "slower": st.floats(-0.1, 0.1),
        "samples": st.integers(1, 9),
        "instance": st.floats(0.0, 0.01),
        "jitter": st.floats(1e-4, 0.02),
        "kept": st.floats(0.0, 0.9),
    }
)
OPPOSITE = {FASTER: SLOWER, SLOWER: FASTER, NO_DIFFERENCE: NO_DIFFERENCE}


def changed(verdict: SpeedVerdict, before: float = 1.0, after: float = 1.0) -> SpeedVerdict:
    """The verdict if one side's clock ran at another rate; its first blocks against themselves too."""

    def at(block: Block, second: float) -> Block:
        return Block(
            tuple(before * sample for sample in block.before_us),
            tuple(second * sample for sample in block.after_us),
        )

    return recompute(
        [at(block, after) for block in verdict.pairs],
        [at(block, before) for block in verdict.noise_pairs],
        verdict.rules,
        verdict.condition,
    )


@settings(max_examples=60, deadline=None)
@given(machines)
def test_swapped_sides_give_the_inverse_verdict(machine: dict[str, float]) -> None:
    verdict = decide(Machine(**machine), Rules(), CONDITION)  # type: ignore[arg-type]
    swapped = recompute(
        [Block(block.after_us, block.before_us) for block in verdict.pairs],
        verdict.noise_pairs,
        verdict.rules,
        verdict.condition,
    )
    assert swapped.outcome is OPPOSITE[verdict.outcome]
    assert swapped.ratio.low == pytest.approx(1.0 / verdict.ratio.high)
    assert swapped.ratio.value == pytest.approx(1.0 / verdict.ratio.value)
    assert (swapped.before_us, swapped.after_us) == (verdict.after_us, verdict.before_us)


@settings(max_examples=60, deadline=None)
@given(machines, st.floats(1e-3, 1e3))
def test_the_unit_changes_nothing(machine: dict[str, float], unit: float) -> None:
    verdict = decide(Machine(**machine), Rules(), CONDITION)  # type: ignore[arg-type]
    scaled = changed(verdict, unit, unit)
    assert scaled.outcome is verdict.outcome
    assert scaled.ratio.low == pytest.approx(verdict.ratio.low)
    assert scaled.ratio.high == pytest.approx(verdict.ratio.high)


@settings(max_examples=60, deadline=None)
@given(machines, st.floats(0.25, 4.0))
def test_the_interval_moves_with_the_time_of_a_side(machine: dict[str, float], factor: float) -> None:
    rules = Rules(looks=(20,))
    verdict = decide(Machine(**machine), rules, CONDITION)  # type: ignore[arg-type]
    scaled = changed(verdict, after=factor)
    for end in ("low", "value", "high"):
        assert factor * getattr(scaled.ratio, end) == pytest.approx(getattr(verdict.ratio, end))
    if factor >= 1.0 and verdict.outcome is SLOWER:
        assert scaled.outcome is SLOWER


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=8, max_size=30), st.sampled_from([0.05, 0.01]))
def test_one_look_agrees_with_scipy_s_signed_rank_test(ticks: list[int], level: float) -> None:
    """Blocks of any shape, ties among them, at sizes where its exact distribution is known to scipy."""
    logs = np.asarray(ticks) * 1e-7 + 1e-9  # no zeros, for which the exact test is not defined
    tied = len(set(np.abs(logs))) < len(logs)
    verdict = recompute(
        [Block((math.exp(log),), (1.0,)) for log in logs.tolist()],
        [Block((1.0,), (1.0,))] * 16,
        Rules(false_alarm=level, looks=(len(ticks),), resolution=0.0),
        CONDITION,
    )
    chance = stats.wilcoxon(logs, method="exact").pvalue
    if not tied and chance > level:
        assert verdict.outcome is NO_DIFFERENCE
    if verdict.outcome is not NO_DIFFERENCE:
        assert chance <= level


def test_the_statement_names_what_a_reader_must_know() -> None:
    said = decide(Machine(5, slower=0.3), Rules(), CONDITION).statement
    assert "as slow" in said
    for part in (CONDITION, "10 blocks", "below 1 %", "against itself"):
        assert part in said
    assert "no difference shown" in decide(Machine(5), Rules(), CONDITION).statement
