"""What a failing candidate means: which outcome, and one line that says why. For worker processes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import InterpreterError, OutOfResources, PTXASError

from tilewright.errors import AmbiguousParameters, KernelFileError, ProblemError
from tilewright.judge.interpreted.memory import StrayAccess
from tilewright.judge.verdict import Outcome
from tilewright.problem import line_of

NEEDS_A_GPU = re.compile(
    r"not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available|0 active drivers"
    r"|CUDA driver initialization failed|no NVIDIA GPU|Cannot access accelerator device",
    re.IGNORECASE,
)
ASKS_FOR_CUDA = re.compile(r"\bis_cuda\b|\.device\b.*cuda|\.type\b.*cuda")
OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
DEVICE_FAULT = re.compile(
    r"illegal memory access|misaligned address|device-side assert|illegal instruction|launch failure"
    r"|invalid program counter|supported on global/shared address space|hardware stack error",
    re.IGNORECASE,
)
NOT_IN_LANGUAGE = re.compile(r"module 'triton\.language[\w.]*' has no attribute '(\w+)'")
LONGEST_REASON = 300


class CandidateFailure(Exception):
    """The candidate did not come back with outputs."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        self.outcome = outcome
        self.reason = one_line(reason)
        super().__init__(f"{outcome}: {self.reason}")


@contextlib.contextmanager
def candidate_code(source: str, path: str, *, interpreted: bool) -> Iterator[None]:
    """Whatever is raised inside was raised by the candidate.

    Raises:
        CandidateFailure: anything was raised, except that parameters cannot be matched.
    """
    try:
        yield
    except (CandidateFailure, AmbiguousParameters):
        raise
    except Exception as error:
        raise diagnosed(error, source, path, interpreted=interpreted) from error


@contextlib.contextmanager
def reference_code(path: str) -> Iterator[None]:
    """Whatever is raised inside was raised by the problem's own Model.

    Raises:
        ProblemError: anything was raised.
    """
    from tilewright.errors import Where

    try:
        yield
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(
            f"Model raises {type(error).__name__}: {one_line(str(error))}",
            where=Where(path, line_of(error, path)),
            mend="make the reference run on its own inputs",
        ) from error


def diagnosed(error: Exception, source: str, path: str, *, interpreted: bool) -> CandidateFailure:
    """The outcome and reason for an exception that a candidate raised.

    Args:
        interpreted: it ran on the CPU under Triton's interpreter, where what needs a GPU is no fault.
    """
    at = _place(error, path)
    cause = _innermost(error)
    text = f"{type(cause).__name__}: {one_line(str(cause))}"
    missing = NOT_IN_LANGUAGE.search(str(cause))
    if isinstance(cause, StrayAccess):
        return CandidateFailure(Outcome.STRAY_ACCESS, f"{cause} ({path})")
    if isinstance(error, KernelFileError):
        absent = interpreted and NEEDS_A_GPU.search(str(error))
        needs = f"needs a GPU, and there is none here: {error}"
        return (
            CandidateFailure(Outcome.NOT_CHECKED, needs)
            if absent
            else CandidateFailure(Outcome.ERROR, str(error))
        )
    if isinstance(error, CompilationError):
        return CandidateFailure(Outcome.COMPILE_ERROR, _compilation(error, source, path))
    if missing:
        return CandidateFailure(Outcome.COMPILE_ERROR, f"triton.language has no attribute {missing[1]!r}{at}")
    if isinstance(error, PTXASError):
        return CandidateFailure(Outcome.COMPILE_ERROR, f"{text}{at}")
    if isinstance(error, OutOfResources):
        return CandidateFailure(
            Outcome.OUT_OF_RESOURCES,
            f"wants {error.required} of {error.name}, the device has {error.limit}{at}",
        )
    if isinstance(cause, MemoryError | torch.OutOfMemoryError) or OUT_OF_MEMORY.search(str(cause)):
        return CandidateFailure(Outcome.OUT_OF_RESOURCES, f"{text}{at}")
    if DEVICE_FAULT.search(str(cause)):
        return CandidateFailure(Outcome.CRASH, f"{text}{at}")
    if interpreted and (NEEDS_A_GPU.search(str(cause)) or _asserts_cuda(error, source, path)):
        return CandidateFailure(Outcome.NOT_CHECKED, f"needs a GPU, and there is none here: {text}{at}")
    if isinstance(error, InterpreterError) and _inside_interpreter(cause):
        return CandidateFailure(Outcome.NOT_CHECKED, f"a kernel cannot be interpreted: {text}{at}")
    return CandidateFailure(Outcome.ERROR, f"{text}{at}")


def one_line(text: str) -> str:
    """Text without line breaks, cut to what fits a report."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_REASON else flat[: LONGEST_REASON - 1] + "…"


def _innermost(error: BaseException) -> BaseException:
    """What the interpreter wrapped, else the error itself."""
    while isinstance(error, InterpreterError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _place(error: BaseException, path: str) -> str:
    line = line_of(_innermost(error), path) or line_of(error, path)
    return f" ({path}:{line})" if line else f" ({path})"


def _compilation(error: CompilationError, source: str, path: str) -> str:
    """The compiler's own message, with the line in the candidate's file and that line's text."""
    said = one_line(error.error_message or type(error).__name__)
    deepest = error
    while isinstance(deepest.__cause__, CompilationError):
        deepest = deepest.__cause__
    if deepest is not error:
        said = one_line(deepest.error_message or said)
    line = getattr(deepest.node, "lineno", None)
    if line is None or deepest.src is None:
        return f"{said} ({path})"
    text = deepest.src.splitlines()[line - 1].strip()
    offset = source.find(deepest.src.strip())
    number = source.count("\n", 0, offset) + line if offset >= 0 else None
    place = f"{path}:{number}" if number else path
    return f"{said} ({place}: {text})"


def _asserts_cuda(error: BaseException, source: str, path: str) -> bool:
    """Whether the line that raised, or the message, is about the tensors not being on a GPU."""
    line = line_of(error, path)
    lines = source.splitlines()
    nearby = " ".join(lines[max(0, line - 3) : line]) if line else ""
    return isinstance(error, AssertionError | ValueError | RuntimeError | TypeError) and bool(
        ASKS_FOR_CUDA.search(nearby)
    )


def _inside_interpreter(cause: BaseException) -> bool:
    """Whether Triton's interpreter gave up, rather than the kernel itself."""
    if isinstance(cause, NotImplementedError):
        return True
    return isinstance(cause, AttributeError) and "Interpreter" in str(cause)
