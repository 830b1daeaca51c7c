"""A real run checked again on the same machine: its code is compiled and run once more."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
import torch

from tilewright import manifest
from tilewright.cli import main
from tilewright.runs import digest
from tilewright.verify.api import verify
from tilewright.verify.model import Standing, Verification

DATA = Path(__file__).parents[1] / "data" / "judge"
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.timeout(300),
    pytest.mark.skipif(torch.cuda.is_available(), reason="what a GPU changes is tested in tests/gpu"),
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run's folder, and what `optimize` printed."""
    folder, said = tmp_path_factory.mktemp("verify") / "run", io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(
            ["optimize", str(DATA / "scale_problem.py"), "--current", str(DATA / "scale.py"), "--gpu", "h100",
             "--stages", "block_tiling", "--budget", "1s", "-o", str(folder)]
        )  # fmt: skip
    assert code == 0
    return folder, said.getvalue()


@pytest.fixture
def finished(ran: tuple[Path, str]) -> Path:
    return ran[0]


def test_a_budget_that_is_soon_spent_still_has_one_proposer_tried(finished: Path) -> None:
    tried = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert {one["proposer"] for one in tried} - {"user"} == {"launch tuning"}


def standings(verification: Verification) -> dict[str, Standing]:
    return {line.what: line.standing for line in verification.lines}


def forged(finished: Path, tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of the run in which a file was changed, and the manifest written anew."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    reseal(folder)
    return folder


def reseal(folder: Path) -> None:
    (folder / manifest.NAME).write_text(manifest.text_of(manifest.survey(folder)))


def test_a_run_names_the_command_that_checks_it(ran: tuple[Path, str]) -> None:
    folder, said = ran
    command = f"tilewright verify {folder} --digest {manifest.digest_of(folder)}"
    assert any(line.endswith(command) for line in said.splitlines())


def test_all_that_this_machine_can_check_agrees_and_the_folder_is_left_as_it_was(finished: Path) -> None:
    before = manifest.survey(finished)
    verification = verify(finished, quoted=manifest.digest_of(finished), trials=2)
    assert verification.agrees
    found = standings(verification)
    unchecked = [what for what, standing in found.items() if standing is Standing.NOT_CHECKED]
    assert unchecked == ["speedup, timed again"]
    assert manifest.survey(finished) == before


def test_a_forged_resource_is_told_by_compiling_again(finished: Path, tmp_path: Path) -> None:
    registers = json.loads((finished / "log.jsonl").read_text().splitlines()[0])["inspection"]["resources"][0]
    stated = f'"registers_per_thread": {registers["registers_per_thread"]}'
    folder = forged(finished, tmp_path, "log.jsonl", stated, '"registers_per_thread": 8')
    line = next(line for line in verify(folder, trials=1).lines if line.what == "compiled")
    assert line.standing is Standing.DIFFERS and "8 registers" in line.recorded


def test_a_wrong_result_under_sound_records_is_told_by_running_it(finished: Path, tmp_path: Path) -> None:
    """Somebody rewrote every record around a problem that best.py does not solve, and under another Triton,
    which explains other machine code."""
    folder = forged(finished, tmp_path, "problem.py", "* self.weight", "* self.weight * 1.01")
    asked = json.loads((folder / "run.json").read_text())
    asked["problem"] = digest((folder / "problem.py").read_text())
    (folder / "run.json").write_text(json.dumps(asked))
    machine = (folder / "machines.jsonl").read_text()
    (folder / "machines.jsonl").write_text(machine.replace('"triton": "', '"triton": "0.'))
    log = (folder / "log.jsonl").read_text()
    (folder / "log.jsonl").write_text(log.replace('"registers_per_thread": ', '"registers_per_thread": 9'))
    reseal(folder)
    verification = verify(folder, trials=1)
    found = standings(verification)
    assert found["log.jsonl"] is Standing.AGREES
    assert found["same function, recorded seeds"] is Standing.DIFFERS
    assert found["same function, fresh seeds"] is Standing.DIFFERS
    compiled = next(line for line in verification.lines if line.what == "compiled")
    assert compiled.standing is Standing.NOT_CHECKED and "another Triton" in compiled.why


def test_a_folder_that_is_not_sound_is_not_run(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    (folder / "best.py").write_text("import os\nos.abort()\n")
    lines = [line for line in verify(folder).lines if line.standing is Standing.NOT_CHECKED]
    assert {"contract", "same function, fresh seeds"} <= {line.what for line in lines}
    assert all("not run" in line.why for line in lines if line.what != "manifest")
