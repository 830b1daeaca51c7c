"""Values to the text of a request, which parses back to the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tilewright.gpu.fields import gpu_from_fields
from tilewright.gpu.model import Gpu
from tilewright.request.model import Guidance, Request
from tilewright.request.parse import head_lines, missing_functions, thresholds
from tilewright.request.sections import heading_of, is_python
from tilewright.stages.catalogue import match_focus
from tilewright.stages.model import Stage

MISSING = ("tanh", "sigmoid", "gelu", "silu", "softmax", "mish")
TASK = (
    "Write a faster Triton file that computes the same as the current code, guided by stage and profile.",
)
CONSTRAINTS = (f"These functions do not exist: {', '.join(f'tl.{name}' for name in MISSING)}",)
OUTPUT_RULES = (
    "First the imports: torch, torch.nn, triton and triton.language as tl",
    "Then the kernels under @triton.jit",
    "Then the functions that compute the grid and launch them",
    "Last class ModelNew(nn.Module), which calls them",
    "No tests, no main block, no get_inputs and no get_init_inputs",
)
LABELS = {
    "fp32": "FP32",
    "tf32": "TF32 Tensor Core",
    "bf16": "BF16 Tensor Core",
    "fp16": "FP16 Tensor Core",
    "fp8": "FP8 Tensor Core",
    "int8": "INT8 Tensor Core",
}


def compose(
    gpu: Gpu, stage: Stage, code: str, profile: Mapping[str, Mapping[str, float]], profile_note: str = ""
) -> Request:
    """A request of our own: one stage on one GPU for the code of today.

    Args:
        code: the ModelNew file.
        profile: Nsight Compute metrics by kernel; empty without.
        profile_note: why there is no profile, or where it was read.
    """
    fields = fields_of(gpu)
    lines = code.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    guidance = (
        Guidance("Key principle", (stage.principle,)),
        Guidance("Metrics to read", stage.metrics),
        Guidance("Rules", stage.rules),
    )
    body = "\n".join(line for part in guidance for line in (part.title, *part.items))
    return Request(
        gpu_fields=fields,
        gpu=gpu_from_fields(fields),
        focus=stage.focus,
        match=match_focus(stage.focus, body),
        guidance=guidance,
        thresholds=thresholds(guidance),
        code="\n".join(lines[head_lines(lines) :]) + "\n",
        profile={kernel: dict(metrics) for kernel, metrics in profile.items()},
        profile_note=" ".join(profile_note.split()),
        task=TASK,
        api_constraints=CONSTRAINTS,
        missing_functions=missing_functions(CONSTRAINTS),
        output_rules=OUTPUT_RULES,
    )


def fields_of(gpu: Gpu) -> tuple[tuple[str, str], ...]:
    """A GPU as the lines of a request's GPU block, from which `gpu_from_fields` reads it back."""
    return (
        ("GPU Name", gpu.name),
        ("Architecture", gpu.architecture),
        ("Compute Capability", f"{gpu.compute_capability // 10}.{gpu.compute_capability % 10}"),
        ("Number of SMs", str(gpu.sms)),
        ("Memory Bandwidth", f"{gpu.memory_bandwidth_gbs:g} GB/s"),
        *((f"{LABELS[operand]} TFLOPS", f"{rate:g} dense") for operand, rate in gpu.tflops.items()),
        ("SM Clock", f"{gpu.clock_mhz:g} MHz"),
        ("Memory Size", _size(gpu.memory_bytes)),
        ("L2 Cache", _size(gpu.l2_bytes)),
        ("Registers per SM", str(gpu.registers_per_sm)),
        ("Registers per Thread", str(gpu.max_registers_per_thread)),
        ("Threads per Block", str(gpu.max_threads_per_block)),
        ("Warps per SM", str(gpu.max_warps_per_sm)),
        ("Blocks per SM", str(gpu.max_blocks_per_sm)),
        ("Warp Size", str(gpu.warp_size)),
        ("Shared Memory per SM", _size(gpu.shared_memory_per_sm_bytes)),
        ("Shared Memory per Block", _size(gpu.shared_memory_per_block_bytes)),
    )


def _size(size: int) -> str:
    """Bytes in the largest unit that holds them exactly."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def render(request: Request) -> str:
    """Write a request out. Parsing the text gives the same request; lines may stand elsewhere.

    What the request's own text held beyond its values (`ignored`) is not written.
    """
    parts: list[list[str]] = []
    if request.task:
        parts.append(["[TASK]", *_bullets(request.task)])
    if request.gpu_fields:
        parts.append(["[TARGET GPU]", *(f"- {label}: {value}" for label, value in request.gpu_fields)])
    if request.focus or request.guidance:
        parts.append(_stage(request))
    if request.code is not None:
        mark = _mark(request.code)
        parts.append(["[CURRENT CODE]", f"{mark}python", request.code.removesuffix("\n"), mark])
    parts.append([profile_block(request.profile, request.profile_note)])
    if request.api_constraints:
        parts.append(["[TRITON API CONSTRAINTS]", *_bullets(request.api_constraints)])
    if request.output_rules:
        parts.append(["[OUTPUT RULES]", *_bullets(request.output_rules)])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _stage(request: Request) -> list[str]:
    lines = ["[OPTIMIZATION STAGE]"]
    if request.focus:
        lines.append(f"Focus: {request.focus}")
    for part in request.guidance:
        lines.extend(["", f"### {part.title}"] if part.title else [])
        for item in part.items:
            mark = _mark(item)
            lines.extend([mark, item, mark] if _needs_fence(item) else [f"- {item}"])
    return lines


def _needs_fence(item: str) -> bool:
    """Whether an item of the stage's text would not read back as one behind a bullet."""
    heading = heading_of(f"- {item}")
    return "\n" in item or (heading is not None and (not heading.inline or heading.kind == "stage"))


def profile_block(profile: Mapping[str, Mapping[str, float]], note: str = "") -> str:
    """Metrics by kernel as the block that requests carry; `note` says where they are from, or why none."""
    lines = ["[NCU PROFILING METRICS]"]
    if note:
        lines.append(note)
    if profile or not note:
        figures = {kernel: dict(metrics) for kernel, metrics in profile.items()}
        lines.append(json.dumps(figures, indent=2, ensure_ascii=False))
    return "\n".join(lines)


def _bullets(items: tuple[str, ...]) -> list[str]:
    return [f"- {item}" for item in items]


def _mark(text: str) -> str:
    """A fence that no line of the text closes: a longer one than usual unless it is plain Python."""
    runs = [len(run) for run in re.findall(r"^\s*(`+)", text, re.MULTILINE)]
    usual = 3 if is_python(text) and max(runs, default=0) < 3 else 4
    return "`" * max(usual, max(runs, default=0) + 1)
