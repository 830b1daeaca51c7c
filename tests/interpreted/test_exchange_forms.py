"""The assembly of CTAs that wait for one another, as Triton's interpreter is told it means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton")

from tilewright.judge.api import check
from tilewright.judge.interpreted import assembly, exchange
from tilewright.judge.verdict import Outcome
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit.assembly import helper

pytestmark = pytest.mark.interpreted
DATA = Path(__file__).parents[1] / "data" / "judge"


def words(values: list[int], bits: int) -> np.ndarray:
    return np.array(values, np.uint16 if bits == 16 else np.uint32).view(np.int64)


@pytest.mark.parametrize(
    ("bits", "values", "lacks"),
    [
        (16, [0, 1, 2, 3], False),
        (16, [0, 1, 0xFFFF, 3], True),
        (16, [0x7FFF, 0xFFFE, 0x8000, 0xFC01], False),  # not a number, and none of them missing
        (32, [0xFFFF, 0xFFFF0000], False),
        (32, [5, 0xFFFFFFFF], True),
    ],
)
def test_a_word_lacks_a_value_whose_bits_are_all_set(bits: int, values: list[int], lacks: bool) -> None:
    assert exchange.lacking(words(values, bits), bits).tolist() == [lacks]


@pytest.mark.parametrize("operand", ["fp16", "bf16", "fp32"])
def test_a_wait_loads_what_is_missing_and_nothing_else(operand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = exchange.BITS[operand]
    memory = np.array([-1, 7, -1, 9], np.int64)
    address = memory.ctypes.data + 8 * np.arange(4)
    seen = memory.copy()
    seen[1] = 70  # seen earlier: not loaded again
    turns = iter([0, 2])
    monkeypatch.setattr(exchange, "pass_on", lambda: memory.__setitem__(next(turns), 5))
    (found,) = assembly.arrived(operand, 1, 4).meaning([address, seen], np.int64)
    assert found.tolist() == [5, 70, 5, 9]
    assert bits in (16, 32)


def test_words_come_apart_with_the_lowest_bits_first() -> None:
    for bits, values in ((16, [1, 2, 3, 4]), (32, [8, 9])):
        parts = assembly.FORMS[f"take_apart_{bits}"].meaning([words(values, bits)], np.int16)
        assert [part.item() for part in parts] == values


@pytest.mark.parametrize("operand", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize(("count", "pack"), [(1, 1), (2, 2), (3, 1), (2, 4)])
def test_a_wait_names_every_operand_once_or_more(operand: str, count: int, pack: int) -> None:
    asm, constraints = exchange.arrived(operand, count, pack)
    operands = 3 * count * pack
    assert len(constraints.split(",")) == operands
    assert all(f"${i}" in asm for i in range(operands)) and f"${operands}" not in asm


WAIT = helper("wait", assembly.arrived("fp16", 1, 1), "address, words", "Waits.", "tl.int64")
PUBLISH = helper("publish", assembly.FORMS["publish_16"], "address, bits, wanted", "Publishes.", "tl.int32")


def relay() -> str:
    """Rows that wait for their predecessors' word instead of counting turns."""
    source = (DATA / "relay.py").read_text()
    source = source.replace(
        "@triton.jit\ndef relay_kernel", f"{WAIT}\n\n{PUBLISH}\n\n@triton.jit\ndef relay_kernel"
    )
    wait = """    place = turn.to(tl.int64) + 8 * row + 0 * column[:1]
    if row > 0:
        wait(place - 8, place * 0 - 1)
"""
    source = source.replace(
        '    while tl.atomic_add(turn, 0, sem="acquire") < row:\n        pass\n', wait
    ).replace("column[:1]", "tl.arange(0, 1)")
    done = """    for part in range(4):
        publish(place + 2 * part, tl.full([1], 1, tl.int16), tl.full([1], 1, tl.int32))
"""
    source = source.replace('    tl.atomic_add(turn, 1, sem="release")\n', done)
    return source.replace(
        "torch.zeros(1, dtype=torch.int32", "torch.full((x.shape[0],), -1, dtype=torch.int64"
    )


def test_programs_that_wait_in_assembly_run_in_turn() -> None:
    problem = Problem.from_file(DATA / "relay_problem.py")
    verdict = check(problem, relay(), trials=2)
    assert verdict.outcome is Outcome.CORRECT, verdict.reason


def test_assembly_that_waits_for_ever_is_reported() -> None:
    problem = Problem.from_file(DATA / "relay_problem.py")
    verdict = check(problem, relay().replace("range(4)", "range(3)"), trials=1)
    assert verdict.outcome not in (Outcome.CORRECT, Outcome.TIMEOUT)
    assert "wait for one another" in verdict.reason
