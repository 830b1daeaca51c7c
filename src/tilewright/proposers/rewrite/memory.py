"""Which memory a kernel only reads."""

from __future__ import annotations

from tilewright.kernelfile import Kernel
from tilewright.launches.model import Launch
from tilewright.proposers.rewrite.base import View
from tilewright.proposers.rewrite.hosts import require_launched_alone


def only_read(view: View, kernel: Kernel) -> frozenset[str]:
    """Pointer parameters that are read, and whose memory is passed for none that is written.

    Raises:
        Declined: the forward does not launch the kernel, or another kernel calls it.
    """
    launches = view.launches(kernel)
    require_launched_alone(view, kernel)
    sites = view.file.sites(kernel.name)
    found = set()
    for name in kernel.reads:
        if name in kernel.writes:
            continue
        written = [site.passed(other) for site in sites for other in kernel.writes]
        mine = [site.passed(name) for site in sites]
        if (
            None in written
            or None in mine
            or {p.storage for p in mine if p} & {p.storage for p in written if p}
        ):
            continue
        if not any(_shared(launch, name, kernel.writes) for launch in launches):
            found.add(name)
    return frozenset(found)


def _shared(launch: Launch, name: str, others: tuple[str, ...]) -> bool:
    """Whether a recorded launch was given the same memory twice."""
    tensors = {a.name: a.tensor for a in launch.arguments if a.kind == "tensor"}
    return any(name in tensors and tensors[name] == tensors.get(other) for other in others)
