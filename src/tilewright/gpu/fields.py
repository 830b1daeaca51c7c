"""A GPU from a list of labelled figures, as a request writes one.

    GPU Name: 4090
    Number of SMs: 128
    FP16 Tensor Core TFLOPS: 165.2 with dense

Labels are read by the words in them, so their exact wording does not matter. What the list leaves
out comes from the catalogue's entry of the same name, else from the limits of its compute
capability and the chip that stands for it; `Gpu.source` says what came from where.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from tilewright.errors import InputError, UnknownGpu
from tilewright.gpu.catalogue import GIB, KIB, MIB, architecture, find
from tilewright.gpu.model import Gpu

OPERANDS = {
    "tf32": r"tf32|tensorfloat",
    "bf16": r"bf16|bfloat16",
    "fp16": r"fp16|float16|half",
    "fp8": r"fp8|float8|e4m3|e5m2",
    "int8": r"int8",
    "fp32": r"fp32|float32|single",
}
FROM_ARCHITECTURE = (
    "max_warps_per_sm",
    "max_blocks_per_sm",
    "shared_memory_per_sm_bytes",
    "shared_memory_per_block_bytes",
)
FROM_REPRESENTATIVE = ("clock_mhz", "memory_bytes", "l2_bytes")
RATE = "tflops."
MENDS = {
    "compute_capability": "Compute Capability: 8.9",
    "sms": "Number of SMs: 128",
    "memory_bandwidth_gbs": "Memory Bandwidth: 1008 GB/s",
}
FILLABLE = ("architecture", *MENDS, *FROM_ARCHITECTURE, *FROM_REPRESENTATIVE)

Field = tuple[str, str]


def gpu_from_fields(fields: Sequence[Field], origin: str = "the request") -> Gpu:
    """Build a GPU from labels and values; what they say wins over the catalogue.

    Args:
        fields: pairs of label and value, in any order.
        origin: what to call the list in `source`.

    Raises:
        InputError: the name is not in the catalogue and a figure that nothing else can supply is
            missing; the message says which line to add.
    """
    given = {name: value for label, text in fields for name, value in read_field(label, text).items()}
    rates = {name.removeprefix(RATE): given.pop(name) for name in list(given) if name.startswith(RATE)}
    base = _entry(given)
    if base is not None:
        values = {**vars(base), **given, "name": base.name, "tflops": {**base.tflops, **rates}}
        filled = [name for name in FILLABLE if name not in given]
        filled += [RATE + operand for operand in base.tflops if operand not in rates]
        sources = [f"{', '.join(filled)} from the catalogue's {base.name} ({base.source})"] if filled else []
    else:
        missing = [name for name in MENDS if name not in given]
        if missing:
            raise InputError(
                f"{origin} names no GPU of the catalogue and leaves out {', '.join(missing)}",
                mend="add lines such as " + ", ".join(f"`{MENDS[name]}`" for name in missing),
            )
        values = {**given, "tflops": rates}
        sources = _fill(values)
    values.setdefault("name", f"sm_{values['compute_capability']}")
    return Gpu(**{**values, "source": "; ".join([origin, *sources]), "aliases": ()})


def read_field(label: str, text: str) -> dict[str, Any]:
    """What one line says, by the names of Gpu's fields ("tflops.fp16" for a rate).

    Empty when the label means nothing here or its value holds no figure.
    """
    label = label.lower()
    for pattern, name, convert in LABELS:
        if re.search(pattern, label):
            value = convert(text)
            return {name: value} if value else {}
    if re.search(r"flop|tops\b|tensor", label):
        for operand, pattern in OPERANDS.items():
            if re.search(pattern, label):
                rate = _rate(text)
                return {RATE + operand: rate} if rate else {}
    return {}


def _entry(given: dict[str, Any]) -> Gpu | None:
    """The catalogue's entry of the given name, unless the compute capability contradicts it.

    A remark in parentheses behind the name is looked past: "H100 (Hopper)".
    """
    name = given.get("name", "")
    for spelling in (name, re.sub(r"\(.*?\)", "", name)):
        with contextlib.suppress(UnknownGpu):
            base = find(spelling)
            capability = given.get("compute_capability", base.compute_capability)
            return base if capability == base.compute_capability else None
    return None


def _fill(values: dict[str, Any]) -> list[str]:
    """Add what the compute capability implies, and say what was added."""
    capability = values["compute_capability"]
    if all(name in values for name in FILLABLE):
        return []
    limits = architecture(capability)
    values.setdefault("architecture", limits.name)
    filled = []
    for names, giver, shown in (
        (FROM_ARCHITECTURE, limits, f"compute capability {capability / 10:g}"),
        (FROM_REPRESENTATIVE, find(limits.representative), f"{limits.representative}, which stands for it"),
    ):
        lacking = [name for name in names if name not in values]
        values.update((name, getattr(giver, name)) for name in lacking)
        if lacking:
            filled.append(f"{', '.join(lacking)} from {shown}")
    return filled


def _number(text: str) -> float | None:
    found = re.search(r"\d[\d,]*(?:\.\d+)?|\.\d+", text)
    return float(found.group().replace(",", "")) if found else None


def _count(text: str) -> int | None:
    number = _number(text)
    if number is None:
        return None
    thousands = re.search(r"\d\s*k\b", text, re.IGNORECASE)
    return int(number * KIB) if thousands else int(number)


def _capability(text: str) -> int | None:
    """8.9, sm_89 or 89 as 89."""
    found = re.search(r"(\d+)\.(\d)|(?:sm_?)?(\d{2,3})", text)
    if not found:
        return None
    major, minor, whole = found.groups()
    return int(whole) if whole else 10 * int(major) + int(minor)


def _bytes(text: str) -> int | None:
    """A size; KB, MB and GB mean powers of 1024, as in every GPU's documentation."""
    number = _number(text)
    unit = re.search(r"\d\s*([kmg])i?b?\b", text, re.IGNORECASE)
    if number is None:
        return None
    return int(number * {"k": KIB, "m": MIB, "g": GIB}[unit.group(1).lower()]) if unit else int(number)


def _registers(text: str) -> int | None:
    """A register file: a count of 32-bit registers, or its size in bytes (256 KB)."""
    return (_bytes(text) or 0) // 4 or None if re.search(r"b\b", text, re.IGNORECASE) else _count(text)


def _bandwidth(text: str) -> float | None:
    number = _number(text)
    return number if number is None else number * (1000 if re.search(r"\btb", text, re.IGNORECASE) else 1)


def _clock(text: str) -> float | None:
    number = _number(text)
    return number if number is None else number * (1000 if re.search("ghz", text, re.IGNORECASE) else 1)


def _warps(text: str) -> int | None:
    threads = _count(text)
    return None if threads is None else threads // 32


def _rate(text: str) -> float | None:
    """A dense rate in TFLOP/s. A rate said to be sparse only is halved."""
    dense = re.search(r"([\d.,]+)[^\d]*dense", text, re.IGNORECASE)
    number = _number(dense.group(1) if dense else text)
    if number is None:
        return None
    scale = 1000 if re.search(r"p(eta)?fl?ops", text, re.IGNORECASE) else 1
    sparse_only = dense is None and re.search("spars", text, re.IGNORECASE)
    return number * scale / (2 if sparse_only else 1)


def _text(text: str) -> str | None:
    return text.strip() or None


SM = r"(?:sm|multiprocessor)\b"

# The first pattern found in a label decides; the more particular ones stand first.
LABELS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    (r"compute capability|cuda capability|sm version", "compute_capability", _capability),
    (r"architecture", "architecture", _text),
    (r"shared memory.*block", "shared_memory_per_block_bytes", _bytes),
    (rf"shared memory.*{SM}", "shared_memory_per_sm_bytes", _bytes),
    (r"registers? per thread\b", "max_registers_per_thread", _count),
    (rf"registers? per {SM}|register file", "registers_per_sm", _registers),
    (r"threads? per (?:thread )?block", "max_threads_per_block", _count),
    (rf"warps? per {SM}", "max_warps_per_sm", _count),
    (rf"threads? per {SM}", "max_warps_per_sm", _warps),
    (rf"blocks? per {SM}", "max_blocks_per_sm", _count),
    (r"warp size", "warp_size", _count),
    (r"\bl2\b(?!.*bandwidth)", "l2_bytes", _bytes),
    (r"^(?!.*\b(?:l1|l2|shared|nvlink|pcie)\b).*bandwidth", "memory_bandwidth_gbs", _bandwidth),
    (r"(?:boost|sm|core|gpu) clock|^clock", "clock_mhz", _clock),
    (r"^(?:number of |num |# ?)?(?:sms|streaming multiprocessors)\b|sm count", "sms", _count),
    (
        r"^(?:(?:device|global|gpu|total|video) )?(?:memory|vram|ram)(?: size| capacity)?$",
        "memory_bytes",
        _bytes,
    ),
    (
        r"^(?:(?:target|nvidia) )?(?:gpu|device|hardware|graphics card)$|\bname\b|^(?:gpu )?model$",
        "name",
        _text,
    ),
)
