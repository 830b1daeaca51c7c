"""What a launch whose programs wait, and whose first one does next to nothing, is expected to take, and takes.

Prints both in seconds, as JSON.
"""

import json
import os
import time

os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl

from tilewright.judge.interpreted import cooperative
from tilewright.judge.interpreted.interpreter import Tally, repair


@triton.jit
def relayed(flag, out, rounds):
    if tl.program_id(0) == 0:
        tl.atomic_add(flag, 1)
    else:
        while tl.atomic_add(flag, 0) == 0:
            pass
        total = tl.zeros((32,), tl.float32)
        for step in range(rounds):
            total = total * 0.5 + step
        tl.store(out + tl.program_id(0) * 32 + tl.arange(0, 32), total)


def forward() -> None:
    relayed[(4,)](torch.zeros(1, dtype=torch.int32), torch.empty(4 * 32), 2000)


if __name__ == "__main__":
    repair()
    cooperative.install()
    forward()
    tally = Tally()
    with tally.applied():
        forward()
    began = time.process_time()
    forward()
    print(json.dumps({"expected": tally.seconds, "took": time.process_time() - began}))
