import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def pair_kernel(x_ptr, energy_ptr, place_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    ok = at < cols
    x = tl.load(x_ptr + row * cols + at, mask=ok, other=0.0).to(tl.float32)
    tl.store(energy_ptr + row, tl.sum(x * x, axis=0).to(energy_ptr.dtype.element_ty))
    ranked = tl.where(ok, x, float("-inf"))
    tl.store(place_ptr + row, tl.argmax(ranked, axis=0).to(tl.int64))


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.contiguous()
        rows, cols = x.shape
        energy = torch.empty(rows, device=x.device, dtype=x.dtype)
        place = torch.empty(rows, device=x.device, dtype=torch.int64)
        pair_kernel[(rows,)](x, energy, place, cols, BLOCK=triton.next_power_of_2(cols))
        return {"energy": energy, "place": place}
