"""`verify`: is a run folder what it claims to be?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tilewright import manifest
from tilewright.errors import InputError
from tilewright.gpu.plugged import plugged_in
from tilewright.machine import this_machine
from tilewright.verify.bundle import check_files, read_bundle
from tilewright.verify.model import Standing, Verification, not_checked
from tilewright.verify.records import check_records
from tilewright.verify.rerun import PARTS, check_again, set_up

TRIALS = 3


def verify(
    folder: str | Path,
    *,
    quoted: str | None = None,
    rerun: bool = True,
    trials: int = TRIALS,
    say: Callable[[str], None] = lambda text: None,
) -> Verification:
    """Check a run folder: its files, its records, and what its code does on this machine.

    Nothing is ever written into the folder. Its code is run only where files and records agree, in
    processes of its own.

    Args:
        quoted: the digest of the manifest as the run's author stated it, 64 hexadecimal digits.
        rerun: whether to run the code; without it files and records are checked.
        trials: fresh sets of inputs.
        say: called with one line of progress at a time.

    Raises:
        RunFolderError: the folder is not a run's.
        InputError: `quoted` is not a digest.
    """
    folder = Path(folder)
    if quoted is not None and not _is_digest(quoted):
        raise InputError(f"{quoted!r} is not a digest", mend="give all its 64 hexadecimal digits")
    bundle = read_bundle(folder)
    lines = [*check_files(folder, quoted), *check_records(bundle)]
    plugged = plugged_in() if rerun else None
    here = this_machine(plugged.name if plugged else "")
    if not rerun:
        lines.extend(not_checked(part, "--no-rerun was given") for part in PARTS)
    elif any(line.standing is Standing.DIFFERS for line in lines):
        lines.extend(not_checked(part, "the folder is not sound, so its code was not run") for part in PARTS)
    else:
        lines.extend(check_again(set_up(bundle, plugged, here), trials, say))
    return Verification(str(folder), _digest(folder), bundle.machines, here, tuple(lines))


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower())


def _digest(folder: Path) -> str | None:
    return manifest.digest_of(folder) if (folder / manifest.NAME).is_file() else None
