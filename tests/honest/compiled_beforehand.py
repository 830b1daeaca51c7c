"""As many programs as the device runs at once, by the registers of a kernel compiled beforehand."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def softmax_kernel(x_ptr, out_ptr, rows, cols, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=float("-inf"))
        value = tl.exp(x - tl.max(x, axis=0))
        tl.store(out_ptr + row * cols + at, value / tl.sum(value, axis=0), mask=at < cols)


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.compiled = {}

    def forward(self, x):
        x, out = x.contiguous(), torch.empty(x.shape, device=x.device)
        rows, cols = x.shape
        block = triton.next_power_of_2(cols)
        if cols not in self.compiled:
            kernel = softmax_kernel.warmup(x, out, rows, cols, BLOCK=block, num_warps=4, grid=(1,))
            kernel._init_handles()
            device = triton.runtime.driver.active.utils.get_device_properties(x.device.index or 0)
            threads = device["warpSize"] * kernel.metadata.num_warps
            at_once = device["max_num_regs"] // (max(kernel.n_regs, 16) * threads)
            self.compiled[cols] = kernel, device["multiprocessor_count"] * max(at_once, 1)
        kernel, programs = self.compiled[cols]
        if x.data_ptr() % 16:
            softmax_kernel[(programs,)](x, out, rows, cols, BLOCK=block)
        else:
            kernel[(min(programs, rows), 1, 1)](x, out, rows, cols, block)
        return out
