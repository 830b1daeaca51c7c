"""Two processes that time on one GPU take turns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import tilewright.gpu.turn
from tilewright.gpu.turn import sharing, turn

HOLD = """
import sys
from tilewright.gpu.turn import sharing, turn
with {}():
    print("mine", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.parametrize("patience", [0.1, 60.0])
@pytest.mark.parametrize(("how", "entered"), [("turn", turn), ("turn", sharing), ("sharing", turn)])
def test_the_second_waits_for_the_first_and_says_so_if_that_takes_long(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    entered: Callable[[], AbstractContextManager[None]],
    patience: float,
) -> None:
    monkeypatch.setattr(tilewright.gpu.turn, "PATIENCE_SECONDS", patience)
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(how)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == "mine\n"
    inside = threading.Event()

    def second() -> None:
        with entered():
            inside.set()

    waiting = threading.Thread(target=second)
    waiting.start()
    assert not inside.wait(0.5)
    first.communicate("go on\n")
    assert inside.wait(30)
    waiting.join()
    assert ("another check or timing is at work on this GPU" in caplog.text) == (patience < 1.0)


def test_those_that_do_not_time_share_a_device(caplog: pytest.LogCaptureFixture) -> None:
    with sharing(), sharing():
        pass
    assert caplog.text == ""


def test_a_turn_is_not_put_off_by_those_who_came_later() -> None:
    order = []
    with contextlib.ExitStack() as first:
        first.enter_context(sharing())

        def enter(how: Callable[[], AbstractContextManager[None]], name: str) -> None:
            with how():
                order.append(name)

        timing = threading.Thread(target=enter, args=(turn, "timing"))
        timing.start()
        time.sleep(0.3)
        later = threading.Thread(target=enter, args=(sharing, "sharing"))
        later.start()
        time.sleep(0.3)
        assert order == []
    timing.join()
    later.join()
    assert order == ["timing", "sharing"]


def test_a_process_that_was_killed_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    how = "turn"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(how)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
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
