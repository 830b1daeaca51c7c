"""The example and the request's own code, judged on the CPU, and the commands that people type."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tilewright.cli.bench import command as bench
from tilewright.cli.check import command as check_command
from tilewright.errors import SetupError
from tilewright.judge.api import check
from tilewright.problem import Problem

pytestmark = pytest.mark.interpreted

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "vanilla_rnn"
DATA = ROOT / "tests" / "data" / "judge"
REQUEST = ROOT.parent / "shared" / "requests" / "vanilla_rnn_block_tiling.txt"


def test_the_example_is_correct_at_fewer_steps() -> None:
    problem = Problem.from_file(EXAMPLE / "problem.py")
    verdict = check(problem, (EXAMPLE / "current.py").read_text(), precision="tf32", interpreter_seconds=6.0)
    assert verdict.correct, verdict.reason
    assert re.fullmatch(r"STEPS 256 → \d+", verdict.sizes)
    (error,) = verdict.errors
    assert "HIDDEN" not in verdict.sizes
    # At all 256 steps twice what dropped bits cost, 1.28e-3; less after a few.
    assert 1.0e-4 < error.norm_budget < 2.6e-3
    assert error.norm_error == pytest.approx(error.norm_budget / 2, rel=0.2)  # the interpreter drops them too


@pytest.mark.skipif(not REQUEST.exists(), reason="the shared requests are not beside this checkout")
def test_the_requests_own_code_is_correct_with_parameters_matched_by_shape() -> None:
    code = REQUEST.read_text().split("[CURRENT CODE]")[1].split("```python\n")[1].split("```")[0]
    verdict = check(
        Problem.from_file(EXAMPLE / "problem.py"), code, precision="tf32", trials=1, interpreter_seconds=5.0
    )
    assert verdict.correct, verdict.reason
    assert verdict.sizes.startswith("STEPS 256 → ")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(check_command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.stdout


def test_check_prints_budget_and_error_and_ends_well() -> None:
    code, said = run(str(DATA / "scale.py"), "--problem", str(DATA / "scale_problem.py"), "--trials", "1")
    assert code == 0
    assert said.startswith("correct")
    assert "budget" in said
    assert re.search(r"contract +kept", said)
    assert "1 fresh sets, full size" in said


def test_with_more_time_sizes_are_cut_less() -> None:
    steps = []
    for seconds in ("1", "12"):  # far apart: on a busy machine 6 was once cut as 1 was
        files = [str(DATA / "steps.py"), "--problem", str(DATA / "steps_problem.py")]
        _, said = run(*files, "--trials", "1", "--interpreter-seconds", seconds, "--json")
        steps.append(int(json.loads(said)["verdict"]["sizes"].rpartition(" ")[2]))
    assert steps[0] < steps[1]


def test_check_as_json_names_the_breaches_and_ends_with_one(tmp_path: Path) -> None:
    extra = tmp_path / "extra.py"
    extra.write_text((DATA / "scale.py").read_text() + "\n\nif __name__ == '__main__':\n    print('hello')\n")
    code, said = run(str(extra), "--problem", str(DATA / "scale_problem.py"), "--trials", "1", "--json")
    answer = json.loads(said)
    assert code == 1
    assert answer["verdict"]["outcome"] == "correct"
    assert answer["breaches"][0]["line"] is not None


def test_check_of_a_wrong_file_ends_with_one(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text((DATA / "scale.py").read_text().replace("x * weight + bias,", "x * weight - bias,"))
    code, said = run(str(wrong), "--problem", str(DATA / "scale_problem.py"), "--trials", "1")
    assert code == 1
    assert said.startswith("wrong: output 0 [")


def test_bench_without_a_gpu_says_what_still_works() -> None:
    from tilewright.gpu.plugged import plugged_in

    if plugged_in() is not None:
        pytest.skip("this machine has a GPU")
    arguments = [str(DATA / "scale.py"), "--problem", str(DATA / "scale_problem.py")]
    result = CliRunner().invoke(bench, arguments, standalone_mode=False)
    assert isinstance(result.exception, SetupError)
    assert "tilewright check" in str(result.exception)
