"""What was measured of starting work on the device, of its memories, and of how far it goes. Microseconds."""

from __future__ import annotations

EAGER_LAUNCH_US = 25.0
"""CPU time from one launch to the next in eager mode, the wrapper and its allocations included:
28 µs each were measured for the 512 launches of the vanilla RNN request on an H100 machine."""
EAGER_OPERATION_US = 8.0  # the same for an operator of PyTorch
KERNEL_START_US = 2.0  # of a kernel's duration beyond its work, as a profiler reads it (H200)
MEMORY_SHARE = 0.92  # of the device memory's peak bandwidth that a kernel reaches (H200)
L2_BYTES_PER_CYCLE = 32  # that one multiprocessor draws from L2 while all do (H200)
