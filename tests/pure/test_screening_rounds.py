"""Which candidates go on to the next round of a screening."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tilewright.screening.halving import ROUNDS, Round, ranking, survivors
from tilewright.screening.model import Notes, Screened, Visit, gathered

TIMES = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.floats(1.0, 1e6), max_size=30)


def timed(**times: float) -> dict[str, Screened]:
    return {label: Screened(label, (time,)) for label, time in times.items()}


def test_the_clearly_slower_go_and_the_close_stay() -> None:
    times = timed(a=10.0, b=10.4, c=12.0, d=30.0)
    assert survivors(times, Round(2, 1.3, 1.0), keep=1) == ["a", "b", "c"]
    assert survivors(times, Round(2, 1.05, 1.0), keep=1) == ["a", "b"]


def test_a_round_halves_what_is_close_but_never_below_what_is_wanted() -> None:
    times = timed(**{f"c{n}": 10.0 + n / 100 for n in range(20)})
    assert survivors(times, Round(2, 2.0, 0.5), keep=3) == [f"c{n}" for n in range(10)]
    assert len(survivors(times, Round(2, 2.0, 0.05), keep=3)) == 3


def test_who_failed_is_out_however_fast_it_was() -> None:
    times = {**timed(a=10.0), "b": Screened("b", (1.0,), "wrong: off")}
    assert survivors(times, ROUNDS[0], keep=5) == ["a"]
    assert times["b"].time_us == float("inf")


@given(TIMES, st.sampled_from(ROUNDS), st.integers(1, 8))
def test_the_fastest_always_goes_on(times: dict[str, float], rule: Round, keep: int) -> None:
    candidates = {label: Screened(label, (time,)) for label, time in times.items()}
    ahead = survivors(candidates, rule, keep)
    assert ahead == ranking(candidates)[: len(ahead)]
    assert len(ahead) >= min(keep, len(candidates))


def test_notes_survive_a_line_cut_short_and_name_who_was_running(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes.jsonl")
    assert notes.running() is None
    notes.add(Visit("a", 0))
    assert notes.running() == Visit("a", 0)
    notes.add(Visit("a", 0, (2.0, 3.0)))
    notes.add(Visit("b", 0))
    notes.add(Visit("b", 0, problem="raised"))
    with notes.path.open("a") as file:
        file.write('{"label": "c", "rou')
    assert notes.running() is None
    found = gathered("ab", notes.read())
    assert found == {"a": Screened("a", (2.0, 3.0)), "b": Screened("b", (), "raised")}
