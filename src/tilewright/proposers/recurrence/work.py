"""The recurrence compiler's task inside a worker process, and its call from outside."""

from __future__ import annotations

from typing import Any

from tilewright import workers
from tilewright.problem import Problem
from tilewright.proposers.recurrence.encode import decode, encode
from tilewright.proposers.recurrence.ir import Declined, Network

TASK = "tilewright.proposers.recurrence.work:network"


def network(payload: dict[str, Any]) -> Any:
    """The encoded network of {"source", "path"}, or {"reason", "line"} where it is declined."""
    from tilewright.proposers.recurrence.frontend.passes import compile_network

    try:
        return {"network": encode(compile_network(payload["source"], payload["path"]))}
    except Declined as declined:
        return {"reason": declined.reason, "line": declined.line}


def network_of(problem: Problem, limits: workers.Limits | None = None) -> Network:
    """The network of a problem, compiled in a worker process.

    Raises:
        Declined: the compiler does not take it.
        TilewrightError: the problem does not run, or not within the limits.
    """
    answer = workers.call(
        TASK, {"source": problem.source, "path": str(problem.path)}, limits, loads=workers.FAKE_TENSORS
    )
    if "reason" in answer:
        raise Declined(answer["reason"], answer["line"])
    result: Network = decode(answer["network"])
    return result
