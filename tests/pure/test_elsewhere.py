"""Further GPUs and sizes that a run's one file is to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tasks import H100, task

from tilewright.candidate import Candidate
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.catalogue import find
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Estimate, Inspection, Resources, Spills
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.kernelfile import KernelFile
from tilewright.launches.model import Recording
from tilewright.place import Place, places
from tilewright.problem import Problem
from tilewright.proposers.base import Situation
from tilewright.proposers.tune import LaunchTuning
from tilewright.proposers.tune.setting import read
from tilewright.runs import Asked, open_run
from tilewright.stages import elsewhere, session
from tilewright.stages.catalogue import stages
from tilewright.stages.race import Contender
from tilewright.stages.session import Session

A10 = find("a10")
STAGE = next(stage for stage in stages("single") if stage.name == "block_tiling")
EXAMPLE = (Path(__file__).parents[2] / "examples" / "vanilla_rnn" / "current.py").read_text()
SMALL = "class Model: pass\ndef get_inputs(): pass\ndef get_init_inputs(): pass\n"
RIGHT = Verdict(Outcome.CORRECT)
PLACES = places([A10], [Problem.from_source(SMALL, "small.py")], H100)


def run_of(folder: Path, *, budget_seconds: float = 100.0) -> Session:
    asked = Asked("", None, None, H100, "single", (STAGE.name,), {}, "float32", {}, "0", elsewhere=PLACES)
    with open_run(folder, asked) as opened:
        there = task(stages=(STAGE,), budget_seconds=budget_seconds, elsewhere=PLACES)
        return Session(there, opened, lambda text: None)


def inspected(gpu: Gpu, us: float) -> Inspection:
    estimate = Estimate(Figure(us, "us", Evidence.ESTIMATED), (us,), "memory", {})
    resources = (Resources(0, "k", 1, 32, Spills(0, 0), 0, 0, 0, 1, 128, 1.0, None),)
    return Inspection(gpu.name, Recording((), ()), resources, None, estimate)


@pytest.fixture
def estimates(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], float]:
    """Microseconds by GPU, or the problem's name where it is another one, and by source."""
    known: dict[tuple[str, str], float] = {}

    def inspect_many(problem: Problem, sources: Sequence[str], gpu: Gpu, **_: object) -> list[Inspection]:
        at = problem.path.name if problem.source else gpu.name
        return [inspected(gpu, known[at, source]) for source in sources]

    monkeypatch.setattr(elsewhere, "inspect_many", inspect_many)
    return known


def test_a_place_is_a_gpu_other_than_the_target_or_further_sizes() -> None:
    assert places([A10, H100, A10], [], H100) == (Place(A10.name, None, A10),)
    own = Problem.from_source(SMALL, "own.py")
    (small,) = places([], [Problem.from_source(SMALL, Path("some/small.py"))], H100)
    assert (small.label, small.gpu) == ("small.py", H100)
    assert small.problem(own).path == Path("small.py")
    assert PLACES[0].problem(own) is own


def test_each_place_names_what_it_prefers_to_the_winner(
    tmp_path: Path, estimates: dict[tuple[str, str], float]
) -> None:
    best, won, other = (Contender(Candidate(text), None) for text in ("best", "won", "other"))
    estimates |= {("A10", "best"): 9.0, ("A10", "won"): 8.0, ("A10", "other"): 4.0}
    estimates |= {("small.py", "best"): 2.0, ("small.py", "won"): 3.0, ("small.py", "other"): 5.0}
    found, notes = elsewhere.preferred(run_of(tmp_path), best, won, [won, other])
    assert [candidate.source for candidate in found] == ["other", "best"]
    assert "A10 prefers" in notes[0] and "2.00x (estimated)" in notes[0]
    assert "small.py prefers what there was before: 1.50x (estimated)" in notes[1]


def test_once_time_is_up_only_what_is_known_to_be_good_is_compiled_for_a_place(
    tmp_path: Path, estimates: dict[tuple[str, str], float]
) -> None:
    best, won, other = (Contender(Candidate(text), None) for text in ("best", "won", "other"))
    estimates |= {(at, text): us for at in ("A10", "small.py") for text, us in (("best", 9.0), ("won", 8.0))}
    found, notes = elsewhere.preferred(run_of(tmp_path, budget_seconds=-1.0), best, won, [won, other])
    assert found == () and len(notes) == 2


def test_what_a_place_prefers_is_among_the_settings_of_the_file() -> None:
    tuning = LaunchTuning()
    here = Situation(Problem("", Path("p.py")), Candidate(EXAMPLE), None, H100, STAGE, {})
    alone = [c for c in tuning.propose(here).candidates if set(c.settings) == {"step_kernel"}]
    winner, wanted = alone[0], alone[-1]
    for there in (wanted, here.best):
        assert there is not None
        (made,) = tuning.finish(replace(here, elsewhere=(there,)), [winner]).candidates
        autotune = KernelFile.parse(made.source).kernel("step_kernel").autotune
        assert autotune is not None
        configs = [dict(config.constants) for config in autotune.configs]
        assert configs[0] == dict(read(winner.settings)["step_kernel"].tiles)
        if there is wanted:
            assert dict(read(wanted.settings)["step_kernel"].tiles) in configs[1:]
        else:
            assert {"BLOCK_B": 16, "BLOCK_H": 64, "BLOCK_K": 64} in configs[1:]


def test_a_candidate_that_fails_at_further_sizes_is_not_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(problem: Problem, source: str, **_: object) -> Verdict:
        wrong = problem.path.name == "small.py" and source == "fits one size"
        return replace(RIGHT, outcome=Outcome.WRONG, reason="output 0 is off") if wrong else RIGHT

    monkeypatch.setattr(session, "check", check)
    run = run_of(tmp_path)
    verdict = session.judged(run, Candidate("fits one size", STAGE.name))
    assert (verdict.outcome, verdict.reason) == (Outcome.WRONG, "at the sizes of small.py: output 0 is off")
    assert session.judged(run, Candidate("fits all", STAGE.name)) == RIGHT
