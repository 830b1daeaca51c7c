"""Which candidates a run sends to the judge where there is a GPU: the quickest of a screening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tasks import H100, STAGE, task

from tilewright.candidate import Apart, Candidate
from tilewright.inspect.model import Inspection
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.launches.model import Launch, Recording
from tilewright.problem import Problem
from tilewright.runs import SCREENINGS, Asked, RunFolder, open_run, read_lines, read_log
from tilewright.screening.model import Screened, Screening
from tilewright.stages import selection
from tilewright.stages.race import Contender
from tilewright.stages.selection import (
    SCREENED_DOWN_TO,
    differing,
    judge_all,
    of_several_kernels,
    promising,
    prune,
)
from tilewright.stages.session import Session

BEST = Contender(Candidate("best"), None)
RIVALS = [Contender(Candidate(f"rival {number}"), None) for number in range(2 * SCREENED_DOWN_TO)]


def session(folder: RunFolder) -> Session:
    return Session(task(current=BEST.candidate, plugged=H100), folder, lambda text: None)


def asked() -> Asked:
    return Asked("", None, None, H100, "single", ("block_tiling",), {}, "float32", {}, "0")


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[str, float | str]:
    """What the next screening finds: microseconds, or a problem, by id; asked for how many to keep."""
    found: dict[str, float | str] = {}

    def screen(problem: Problem, sources: list[tuple[str, str]], *, keep: int, **_: object) -> Screening:
        assert keep == SCREENED_DOWN_TO
        assert {label for label, _ in sources} == set(found)
        results = [
            Screened(label, (), value) if isinstance(value, str) else Screened(label, (value,))
            for label, value in found.items()
        ]
        return Screening(tuple(sorted(results, key=lambda one: one.time_us)), "a GPU", 3.0, 2, 0)

    monkeypatch.setattr(selection, "screen", screen)
    return found


def test_the_quickest_go_on_in_their_order_and_the_others_are_logged_with_the_reason(
    tmp_path: Path, times: dict[str, float | str]
) -> None:
    times[BEST.id] = 20.0
    times |= {contender.id: 10.0 + number for number, contender in enumerate(reversed(RIVALS))}
    times[RIVALS[0].id] = "wrong: output 0 is off"
    with open_run(tmp_path, asked()) as folder:
        ahead, (note,) = promising(session(folder), STAGE, BEST, RIVALS)
    assert [c.id for c in ahead] == [c.id for c in reversed(RIVALS)][:SCREENED_DOWN_TO]
    assert f"{len(RIVALS)} candidates took 3 s on a GPU" in note
    outcomes = {tried.id: tried.outcome for tried in read_log(tmp_path)}
    assert set(outcomes) == {c.id for c in RIVALS} - {c.id for c in ahead}
    assert outcomes[RIVALS[0].id] == "not judged: wrong: output 0 is off"
    assert outcomes[RIVALS[1].id].startswith("not judged: 2.00 times the quickest")
    (recorded,), damaged = read_lines(tmp_path / SCREENINGS, Screening)
    assert len(recorded.candidates) == len(RIVALS) + 1 and not damaged


def test_nobody_goes_on_who_is_clearly_behind_the_best_so_far(
    tmp_path: Path, times: dict[str, float | str]
) -> None:
    times |= {c.id: 30.0 for c in RIVALS} | {BEST.id: 20.0, RIVALS[3].id: 20.2}
    with open_run(tmp_path, asked()) as folder:
        ahead, _ = promising(session(folder), STAGE, BEST, RIVALS)
    assert ahead == [RIVALS[3]]


def test_the_quickest_of_each_kernel_is_not_crowded_out_by_another_kernel(
    tmp_path: Path, times: dict[str, float | str]
) -> None:
    matmul = [Contender(Candidate(f"m {n}", settings={"matmul": str(n)}), None) for n in range(len(RIVALS))]
    norm = [Contender(Candidate(f"n {n}", settings={"norm": str(n)}), None) for n in range(2)]
    times |= {BEST.id: 20.0, norm[0].id: 19.5, norm[1].id: 19.0}
    times |= {contender.id: 10.0 + 0.1 * number for number, contender in enumerate(matmul)}
    with open_run(tmp_path, asked()) as folder:
        ahead, _ = promising(session(folder), STAGE, BEST, [*norm, *matmul])
    assert ahead == [matmul[0], norm[1], *matmul[1 : SCREENED_DOWN_TO - 1]]


def test_what_was_found_for_several_kernels_is_put_together() -> None:
    def of(text: str, *kernels: str) -> Contender:
        return Contender(Candidate(text, apart=Apart("best", kernels) if kernels else None), None)

    found = [of("m 1", "matmul"), of("m 2", "matmul"), of("both", "matmul", "norm"), of("n 1", "norm")]
    assert [c.source for c in of_several_kernels(found)] == ["m 1", "n 1"]
    assert of_several_kernels([of("m 1", "matmul"), of("m 2", "matmul"), of("rewritten")]) == []


def test_kernels_are_timed_alone_where_the_best_runs_others_too() -> None:
    launches = tuple(Launch(kernel, (1, 1, 1), (), 4, 3, 1) for kernel in ("matmul", "norm"))
    best = Contender(Candidate("best"), Inspection("H100", Recording(launches, ()), (), None, None))
    made = [
        Candidate("tuned", apart=Apart(best.id, ("norm",))),
        Candidate("all", apart=Apart(best.id, ("matmul", "norm"))),
        Candidate("rewritten"),
        Candidate("of another", apart=Apart("0", ("norm",))),
    ]
    contenders = [Contender(candidate, None) for candidate in made]
    assert differing([best, *contenders]) == {made[0].id: Apart(best.id, ("norm",))}
    assert differing(contenders) == differing([Contender(None, None), *contenders]) == {}


def test_a_best_that_fails_holds_nobody_back(tmp_path: Path, times: dict[str, float | str]) -> None:
    times |= {c.id: 30.0 for c in RIVALS} | {BEST.id: "error: raised"}
    with open_run(tmp_path, asked()) as folder:
        ahead, _ = promising(session(folder), STAGE, BEST, RIVALS)
    assert len(ahead) == SCREENED_DOWN_TO


def test_a_few_are_judged_without_a_screening(tmp_path: Path) -> None:
    few = RIVALS[:SCREENED_DOWN_TO]
    with open_run(tmp_path, asked()) as folder:
        assert promising(session(folder), STAGE, BEST, few) == (few, [])


def test_a_resumed_run_keeps_the_screenings_it_has(tmp_path: Path, times: dict[str, float | str]) -> None:
    times |= {c.id: 30.0 for c in (BEST, *RIVALS)}
    with open_run(tmp_path, asked()) as folder:
        promising(session(folder), STAGE, BEST, RIVALS)
    with (tmp_path / SCREENINGS).open("a") as file:
        file.write('{"cut sho')
    with open_run(tmp_path, replace(asked())) as folder:
        assert folder.resumed
    assert read_lines(tmp_path / SCREENINGS, Screening)[1] == []


def test_the_first_candidate_of_a_run_is_judged_although_the_budget_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []

    def judged(session: Session, candidate: Candidate) -> Verdict:
        asked_for.append(candidate.id)
        return Verdict(Outcome.CORRECT)

    monkeypatch.setattr(selection, "judged", judged)
    spent = task(current=BEST.candidate, plugged=H100, budget_seconds=-1.0)
    with open_run(tmp_path, asked()) as folder:
        late = Session(spent, folder, lambda text: None)
        assert judge_all(late, STAGE, RIVALS[:3], 1) == RIVALS[:1]
        assert judge_all(late, STAGE, RIVALS[3:], 1) == []
        assert asked_for == [RIVALS[0].id]
        assert folder.tried[RIVALS[1].id].outcome == "not judged: the budget is spent"
        spending = late.ledger.spent()
        assert spending.candidates == {"judged": 1} and "judging" in spending.seconds
        assert spending.more == (
            f"{STAGE.name}: judge 2 more candidates",
            f"{STAGE.name}: judge {len(RIVALS[3:])} more candidates",
        )
        assert judge_all(late, STAGE, RIVALS[-1:], 1, overtime=True) == RIVALS[-1:]


def test_no_more_candidates_are_compiled_than_the_budget_allows_but_for_those_of_winners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def inspect_many(problem: Problem, sources: list[str], gpu: object, **_: object) -> list[Inspection]:
        compiled.extend(sources)
        return [Inspection("H100", Recording((), ()), (), None, None, "it does not fit") for _ in sources]

    monkeypatch.setattr(selection, "inspect_many", inspect_many)
    few = task(current=BEST.candidate, plugged=H100, budget_candidates=5)
    candidates = [one.candidate for one in RIVALS if one.candidate]
    with open_run(tmp_path, asked()) as folder:
        run = Session(few, folder, lambda text: None)
        assert run.budget_spent == ""
        prune(run, STAGE, candidates[:3])
        prune(run, STAGE, candidates[3:])
        assert compiled == [candidate.source for candidate in candidates[:5]]
        assert run.budget_spent == "the budget of 5 candidates is spent"
        prune(run, STAGE, candidates[5:6], overtime=True)
        assert compiled[5:] == [candidates[5].source]
        left = len(candidates) - 5
        assert run.ledger.spent().more == (f"{STAGE.name}: compile {left} more candidates",)
