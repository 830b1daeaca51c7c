"""Times that cannot be true."""

from __future__ import annotations

import dataclasses

from tilewright.evidence import Evidence, Figure
from tilewright.inspect.model import Floor
from tilewright.judge.speed.floor import below_floor


def estimated(value: float) -> Figure:
    return Figure(value, "", Evidence.ESTIMATED)


PRODUCT = Floor(
    bytes=estimated(12e6),
    flops=estimated(2e9),
    memory_us=estimated(4.0),
    compute_us=estimated(10.0),
    floor_us=estimated(10.0),
    launches=1,
    chain=1,
    launch_us=estimated(5.0),
)
COPY = dataclasses.replace(PRODUCT, flops=estimated(0.0), compute_us=estimated(0.0), floor_us=estimated(4.0))


def test_a_time_that_the_gpu_can_reach_is_no_alarm() -> None:
    assert below_floor(10.0, PRODUCT) == ""
    assert below_floor(8.5, PRODUCT) == ""  # a chip clocked above its data sheet
    assert below_floor(3.5, COPY) == ""


def test_a_time_below_the_floor_is_an_alarm_that_names_what_takes_longer() -> None:
    assert below_floor(2.0, PRODUCT) == "2 µs, where the reference's 2 GFLOP take 10 µs at this GPU's peak"
    assert below_floor(1.0, COPY) == "1 µs, where the reference's 12 MB take 4 µs at this GPU's peak"
