"""From a problem file to the re-rolled network that plans and emitters read. Worker side."""

from __future__ import annotations

from tilewright.proposers.recurrence.frontend.biases import fuse_biases
from tilewright.proposers.recurrence.frontend.expand import expand
from tilewright.proposers.recurrence.frontend.merge import merge_products
from tilewright.proposers.recurrence.frontend.partition import partition
from tilewright.proposers.recurrence.frontend.roles import name_by_role
from tilewright.proposers.recurrence.frontend.shorten import shorten
from tilewright.proposers.recurrence.frontend.simplify import simplify, simplify_trace
from tilewright.proposers.recurrence.frontend.trace import trace
from tilewright.proposers.recurrence.frontend.widen import widen
from tilewright.proposers.recurrence.ir import Network
from tilewright.proposers.recurrence.verify import verify

PASSES = (
    widen,
    simplify_trace,
    partition,
    simplify,
    expand,
    simplify,
    shorten,
    fuse_biases,
    merge_products,
    simplify,
    name_by_role,
)


def compile_network(problem_source: str, path: str) -> Network:
    """The network of one forward: its time loops as recurrences, everything else as calls around them.

    A network without recurrences comes back too: forward repeats nothing.

    Raises:
        Declined: with the reason, and the line of the file where one is known.
        ProblemError: the problem does not run.
    """
    network = verify(trace(problem_source, path))
    for compiler_pass in PASSES:
        network = verify(compiler_pass(network))
    return network
