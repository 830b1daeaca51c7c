"""The recurrence compiler: a reference whose forward steps through time, run by one persistent kernel.

    frontend    problem → network: trace, re-roll, partition
    plan        which kernels run its loops
    stationary  a loop's weights in the registers of one program
    spread      a loop's weights over several programs
    emit        network and kernels → the text of a ModelNew file

Each pass takes and returns values of `ir`; `verify` checks them between passes, and `oracle` executes them in
plain PyTorch.
"""

PLANS = ("stationary", "spread", "streamed")  # ways to run a loop, the one with the shorter step first
