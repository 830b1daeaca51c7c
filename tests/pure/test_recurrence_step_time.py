"""The expected step against steps that were timed on an H200; more programs; slower clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tilewright.gpu.catalogue import find
from tilewright.proposers.recurrence.plan.step_time import spread_us, stationary_us

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
    ("instructions", "ctas", "exchanged", "summed", "timed_us"),
    [
        (16, 96, 5 * KB, 0, 1.65),  # LSTM H=256, 10 rows, six layers
        (16, 16, 8 * KB, 0, 1.75),  # one, 16 rows
        (32, 32, 16 * KB, 0, 2.58),  # H=512
        (64, 64, 32 * KB, 0, 4.38),  # H=1024
        (32, 128, 32 * KB, 16 * KB, 6.64),  # the same by warps that share the columns
        (64, 16, 32 * KB, 0, 4.03),  # Elman H=1024
        (8, 128, 32 * KB, 4 * KB, 3.82),
    ],
)
def test_spread_steps_as_timed(
    instructions: int, ctas: int, exchanged: int, summed: int, timed_us: float
) -> None:
    expected = spread_us(instructions, ctas, exchanged, H200, summed_bytes=summed)
    assert expected == pytest.approx(timed_us, rel=0.16)  # the root mean square of the fit's own errors


def test_programs_beyond_the_multiprocessors_run_in_turn() -> None:
    one = stationary_us(256, 1, "triton", H200)
    assert stationary_us(256, H200.sms, "triton", H200) == one
    assert stationary_us(256, H200.sms + 1, "triton", H200) == 2 * one


def test_a_slower_clock_takes_longer() -> None:
    slow = replace(H200, clock_mhz=H200.clock_mhz / 2)
    assert spread_us(16, 64, 8 * KB, slow) == pytest.approx(2 * spread_us(16, 64, 8 * KB, H200))
