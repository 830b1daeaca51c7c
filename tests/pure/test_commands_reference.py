"""docs/commands.md says what the command line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_of_every_command_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "commands-reference"], capture_output=True, text=True, check=True
    )
    assert done.stdout == (ROOT / "docs" / "commands.md").read_text(), (
        "run scripts/commands-reference > docs/commands.md"
    )
