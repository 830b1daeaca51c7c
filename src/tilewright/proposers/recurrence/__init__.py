"""The recurrence compiler: a reference whose forward steps through time, run by one persistent kernel.

trace → re-roll → partition → plan → emit. Each pass takes and returns values of `ir`; `verify` checks
them between passes, and `oracle` executes them in plain PyTorch.
"""

PLANS = ("stationary", "spread", "streamed")  # ways to run a loop, the one with the shorter step first
