"""The GPUs that tilewright knows by name, and the limits of each compute capability.

The figures are data (`catalogue.toml`), each with its source. `find` takes names as people type
them; `architecture` gives the limits that all chips of one compute capability share.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tilewright.errors import InputError, UnknownGpu
from tilewright.gpu.model import Gpu

KIB, MIB, GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True)
class Architecture:
    """What every chip of one compute capability shares. Sizes in bytes.

    Args:
        compute_capability: 89 for 8.9.
        representative: the catalogue's chip that lends its clock, memory size and L2 to a GPU that
            is written out without them.
    """

    compute_capability: int
    name: str
    max_warps_per_sm: int
    max_blocks_per_sm: int
    shared_memory_per_sm_bytes: int
    shared_memory_per_block_bytes: int
    representative: str


@functools.cache
def catalogue() -> tuple[Gpu, ...]:
    """Every GPU known by name, in the order of the data."""
    known = architectures()
    return tuple(
        Gpu(
            name=entry["name"],
            architecture=known[entry["compute_capability"]].name,
            compute_capability=entry["compute_capability"],
            sms=entry["sms"],
            memory_bandwidth_gbs=float(entry["memory_bandwidth_gbs"]),
            tflops=entry["tflops"],
            clock_mhz=float(entry["clock_mhz"]),
            memory_bytes=entry["memory_gib"] * GIB,
            l2_bytes=entry["l2_mib"] * MIB,
            shared_memory_per_sm_bytes=known[entry["compute_capability"]].shared_memory_per_sm_bytes,
            shared_memory_per_block_bytes=known[entry["compute_capability"]].shared_memory_per_block_bytes,
            max_warps_per_sm=known[entry["compute_capability"]].max_warps_per_sm,
            max_blocks_per_sm=known[entry["compute_capability"]].max_blocks_per_sm,
            source=entry["source"],
            aliases=tuple(entry.get("aliases", ())),
        )
        for entry in _data()["gpus"]
    )


@functools.cache
def architectures() -> Mapping[int, Architecture]:
    """The limits of each compute capability, by its number (89 for 8.9)."""
    return {
        int(number): Architecture(
            compute_capability=int(number),
            name=entry["name"],
            max_warps_per_sm=entry["max_warps_per_sm"],
            max_blocks_per_sm=entry["max_blocks_per_sm"],
            shared_memory_per_sm_bytes=entry["shared_memory_per_sm_kib"] * KIB,
            shared_memory_per_block_bytes=entry["shared_memory_per_block_kib"] * KIB,
            representative=entry["representative"],
        )
        for number, entry in _data()["architectures"].items()
    }


def find(name: str) -> Gpu:
    """The GPU of a name as people type it: rtx4090, "RTX 4090", 4090, h100, a100-80gb, or as a
    driver reports it: "NVIDIA H100 80GB HBM3".

    An ambiguous name means one chip on purpose, as its alias in the data says: "a100" is the 80 GB
    SXM part, "h100" the SXM part. Names are never completed or corrected: "RTX 4090 Laptop GPU" is
    another chip than "RTX 4090".

    Raises:
        UnknownGpu: no GPU of this name; the nearest names are offered.
    """
    index = _index()
    key = _key(name)
    if key in index:
        return index[key]
    close = difflib.get_close_matches(key, index, n=6, cutoff=0.5)
    nearest = list(dict.fromkeys(index[k].name for k in close))[:3]
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise UnknownGpu(
        f"no GPU named {name!r} is known", mend=f"{hint}`tilewright gpus` lists all {len(catalogue())}"
    )


def architecture(compute_capability: int) -> Architecture:
    """The limits of a compute capability.

    Raises:
        InputError: none are known for it.
    """
    known = architectures()
    if compute_capability not in known:
        listed = ", ".join(f"{number / 10:g}" for number in known)
        raise InputError(
            f"no limits are known for compute capability {compute_capability / 10:g}",
            mend=f"use one of {listed}",
        )
    return known[compute_capability]


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("catalogue.toml").read_text("utf-8"))


@functools.cache
def _index() -> dict[str, Gpu]:
    return {_key(name): gpu for gpu in catalogue() for name in (gpu.name, *gpu.aliases)}


def _key(name: str) -> str:
    """A name without case, blanks, punctuation and the words that tell no chip from another."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"nvidia|geforce|tesla|generation|gpu", "", letters)
