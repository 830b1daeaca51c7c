"""Two processes that time on one GPU take turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tilewright.gpu.turn import turn

HOLD = """
import sys
from tilewright.gpu.turn import turn
with turn():
    print("mine", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_the_second_waits_for_the_first_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == "mine\n"
    inside = threading.Event()

    def second() -> None:
        with turn():
            inside.set()

    waiting = threading.Thread(target=second)
    waiting.start()
    assert not inside.wait(0.5)
    first.communicate("go on\n")
    assert inside.wait(30)
    waiting.join()
    assert "another run of tilewright is timing on this GPU" in caplog.text


def test_a_process_that_was_killed_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    first.stdout.readline()
    first.kill()
    first.communicate()
    with turn():
        pass
    assert caplog.text == ""


def test_other_devices_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with turn():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with turn():
            pass


def test_where_no_lock_can_be_made_nobody_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing" / "folder"))
    with turn():
        pass
