"""Occupancy equals what Nsight Compute reported, and its advice is true."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.gpu.catalogue import find
from tilewright.inspect.occupancy import occupancy, register_limit, waves

READINGS = json.loads((Path(__file__).parents[1] / "data" / "ncu_h200.json").read_text())["launches"]
TRITON_ASKS_FOR_ALL_ABOVE = 48 * 1024  # bytes of shared memory of a block


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: f"{r['kernel']}-{r.get('tile')}-{r['block']}")
def test_every_reading_on_an_h200_is_reproduced(reading):
    gpu = find("h200")
    found = occupancy(
        gpu,
        registers=reading["registers"],
        shared_bytes=reading["shared_dynamic"],
        block_size=reading["block"],
    )
    registers, shared, warps, blocks = reading["limits"]
    assert (found.limit_registers, found.limit_warps, found.limit_blocks) == (registers, warps, blocks)
    assert found.blocks_per_sm == min(reading["limits"])
    assert found.theoretical_pct == pytest.approx(reading["occupancy_pct"], abs=0.01)
    assert waves(gpu, reading["grid"], found.blocks_per_sm) == pytest.approx(reading["waves"], abs=0.006)
    if reading["shared_dynamic"] > TRITON_ASKS_FOR_ALL_ABOVE:
        assert found.limit_shared_mem == shared


@given(
    name=st.sampled_from(["h100", "rtx4090", "a100", "b200"]),
    registers=st.integers(16, 255),
    shared=st.integers(0, 99 * 1024),
    warps=st.sampled_from([1, 2, 4, 8, 16, 32]),
)
def test_following_the_advice_gives_one_more_block(name, registers, shared, warps):
    gpu = find(name)
    found = occupancy(gpu, registers=registers, shared_bytes=shared, block_size=32 * warps)
    if found is None:
        assert register_limit(gpu, registers, warps) == 0
        return
    fewer = re.search(r"registers from \d+ to (\d+)", found.next_step)
    smaller = re.search(r"shared memory from \d+ to (\d+) bytes", found.next_step)
    if not (fewer or smaller):
        return
    better = occupancy(
        gpu,
        registers=int(fewer[1]) if fewer else registers,
        shared_bytes=int(smaller[1]) if smaller else shared,
        block_size=32 * warps,
    )
    assert better.blocks_per_sm >= found.blocks_per_sm + 1


def test_a_block_that_fits_nowhere_has_no_occupancy():
    gpu = find("h100")
    assert occupancy(gpu, registers=255, shared_bytes=0, block_size=1024) is None
    assert occupancy(gpu, registers=32, shared_bytes=300 * 1024, block_size=128) is None


def test_a_full_sm_needs_no_next_step():
    found = occupancy(find("h100"), registers=32, shared_bytes=0, block_size=256)
    assert found.theoretical_pct == 100.0
    assert found.next_step == ""
