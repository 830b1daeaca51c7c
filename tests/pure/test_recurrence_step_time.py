"""The expected step against steps that were timed on an H200; more programs; slower clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tilewright.gpu.catalogue import find
from tilewright.proposers.recurrence.plan.step_time import pause_cycles, spread_us, stationary_us, streamed_us

H200 = find("h200")
KB = 1024


@pytest.mark.parametrize(
    ("instructions", "triton_us", "gluon_us"),
    # Elman H=256; LSTM, GRU H=128; LSTM, GRU H=64: as many as gates x H/16 x H/16
    [(256, 0.65, 0.61), (256, 0.72, 0.62), (192, 0.65, 0.59), (64, 0.39, 0.35), (48, 0.36, 0.30)],
)
def test_stationary_steps_as_timed(instructions: int, triton_us: float, gluon_us: float) -> None:
    assert stationary_us(instructions, 1, "triton", H200) == pytest.approx(triton_us, rel=0.12)
    assert stationary_us(instructions, 1, "gluon", H200) == pytest.approx(gluon_us, rel=0.12)


@pytest.mark.parametrize(
    ("instructions", "ctas", "warps", "exchanged", "words", "summed", "timed_us"),
    [
        (16, 32, 4, 8 * KB, 8, 0, 1.40),  # LSTM H=256, 16 rows
        (16, 16, 8, 8 * KB, 4, 0, 1.60),
        (32, 64, 4, 16 * KB, 16, 0, 2.03),  # H=512
        (32, 32, 8, 16 * KB, 8, 0, 2.15),
        (32, 32, 8, 1 * KB, 8, 0, 1.92),  # GRU, one row
        (64, 64, 8, 32 * KB, 16, 0, 3.35),  # LSTM H=1024
        (64, 64, 8, 2 * KB, 16, 0, 3.15),  # one row
        (32, 128, 8, 32 * KB, 16, 16 * KB, 7.9),  # 16 rows, by warps that share the columns
        (64, 16, 8, 32 * KB, 16, 0, 3.6),  # Elman H=1024
        (8, 128, 8, 32 * KB, 16, 4 * KB, 4.75),
    ],
)
def test_spread_steps_as_timed(
    instructions: int, ctas: int, warps: int, exchanged: int, words: int, summed: int, timed_us: float
) -> None:
    expected = spread_us(instructions, ctas, exchanged, H200, warps=warps, words=words, summed_bytes=summed)
    assert expected == pytest.approx(timed_us, rel=0.12)


@pytest.mark.parametrize(
    ("read", "best"), [(128 * KB, 250), (256 * KB, 450), (512 * KB, 450), (1024 * KB, 650), (2048 * KB, 650)]
)
def test_pauses_as_timed(read: int, best: int) -> None:
    assert abs(pause_cycles(read) - best) <= 65


@pytest.mark.parametrize(
    ("state", "weights", "pieces", "warps", "sums", "timed_us"),
    # KB that a CTA reads; what the whole took, less the product before the loop at the rate that it had
    [
        (256, 256, 16, 8, 64 * 64, 12.4),  # LSTM H=2048, 64 rows: tiles of 64 rows and 16 units
        (128, 64, 8, 4, 64 * 32, 5.9),  # H=1024, 64 rows: 8 units
        (128, 256, 8, 8, 64 * 128, 13.5),  # 256 rows: 32 units
    ],
)
def test_streamed_steps_as_timed(
    state: int, weights: int, pieces: int, warps: int, sums: int, timed_us: float
) -> None:
    expected = streamed_us((state + weights) * KB, pieces, warps, sums, 0, H200)
    assert expected == pytest.approx(timed_us, rel=0.16)


def test_programs_beyond_the_multiprocessors_run_in_turn() -> None:
    one = stationary_us(256, 1, "triton", H200)
    assert stationary_us(256, H200.sms, "triton", H200) == one
    assert stationary_us(256, H200.sms + 1, "triton", H200) == 2 * one


def test_a_slower_clock_takes_longer() -> None:
    slow = replace(H200, clock_mhz=H200.clock_mhz / 2)
    assert spread_us(16, 64, 8 * KB, slow) == pytest.approx(2 * spread_us(16, 64, 8 * KB, H200))
