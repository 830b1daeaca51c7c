"""What the process of a candidate may reach. Applied from inside, before the candidate is read.

Linux only, each part where the kernel grants it; what was granted is reported and shown:

- Landlock (Linux 5.13 and later): files outside the language, its libraries and the system's own are
  out of sight, the problem among them; nothing can be written but the scratch folder, Triton's cache
  and what /proc holds of the process itself; from version 6 on, no process outside can be signalled. No
  process outside can be traced.
- a network namespace of its own, which has no network; else Landlock refuses TCP (version 4 on).

Structures and numbers are those of linux/landlock.h and linux/sched.h.
"""

from __future__ import annotations

import ctypes
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # alike on every architecture
VERSION_FLAG = 1
RULE_PATH_BENEATH = 1
SET_NO_NEW_PRIVS = 38
NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
ACCESS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many kinds of access each version knows
IOCTL_DEVICE = 1 << 15  # left unhandled: GPU drivers live on it
TCP = 0b11  # bind and connect
SCOPE = 0b11  # abstract sockets and signals
READING = EXECUTE | READ_FILE | READ_DIR
SYSTEM = (
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/run", "/sbin", "/sys",
    "/usr", "/var/lib",
)  # fmt: skip
LISTS_OF_PATHS = ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "TRITON_PTXAS_PATH")


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def isolate(writable: Iterable[Path]) -> str:
    """Restrict this process and all it starts; returns what holds: "no network, read-only files".

    Args:
        writable: folders that stay writable; they must exist.
    """
    if sys.platform != "linux":
        return "none: this system offers no way"
    libc = ctypes.CDLL(None, use_errno=True)
    held = ["no network"] if _leave_network(libc) else []
    held.extend(_landlock(libc, writable, tcp=not held))
    return ", ".join(held) or "none: the kernel grants no part of it"


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Move into a network namespace of our own; without privileges through a user namespace."""
    if libc.unshare(NEW_NETWORK) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        pass  # files then show another owner; nothing here depends on that
    return True


def _landlock(libc: ctypes.CDLL, writable: Iterable[Path], *, tcp: bool) -> list[str]:
    version = libc.syscall(CREATE_RULESET, None, 0, VERSION_FLAG)
    if version < 1:
        return []
    everything = (1 << ACCESS_BITS.get(version, 16)) - 1 & ~IOCTL_DEVICE
    rules = _Ruleset(everything, TCP if tcp and version >= 4 else 0, SCOPE if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(rules), size, 0)
    if ruleset < 0:
        return []
    for path in _readable():
        _allow(libc, ruleset, path, READING)
    for path in (Path("/dev"), Path("/proc/self"), *writable):  # CUDA names its threads there
        _allow(libc, ruleset, path, everything)
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    refused = libc.syscall(RESTRICT_SELF, ruleset, 0) != 0
    os.close(ruleset)
    if refused:
        return []
    return [
        *(["no TCP"] if rules.network else []),
        "read-only files, the problem out of sight",
        *(["no signals to others"] if rules.scoped else []),
    ]


def _readable() -> list[Path]:
    """The language, its libraries, the system: existing folders, outermost first."""
    named = [*SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()]
    named += [*site.getsitepackages(), site.getusersitepackages(), *(p for p in sys.path if p)]
    named += [part for name in LISTS_OF_PATHS for part in os.environ.get(name, "").split(os.pathsep) if part]
    named.append(str(Path(__file__).parents[2]))  # tilewright itself, whose modules the cell runs
    return [path for path in dict.fromkeys(Path(name) for name in named) if path.exists()]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not path.is_dir():
        access &= EXECUTE | WRITE_FILE | READ_FILE
    beneath = _PathBeneath(access, handle)
    libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(beneath), 0)
    os.close(handle)
