import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def rms_scale(x, n, eps):
    mean_square = tl.sum(x * x, axis=0) / n
    return tl.rsqrt(mean_square + eps)


@triton.jit
def rms_norm_kernel(x_ptr, weight_ptr, out_ptr, n_features, eps, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n_features
    x = tl.load(x_ptr + token * n_features + offsets, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + offsets, mask=mask, other=0.0)
    out = x * rms_scale(x, n_features, eps) * weight
    tl.store(out_ptr + token * n_features + offsets, out.to(tl.bfloat16), mask=mask)


class ModelNew(nn.Module):
    def __init__(self, features: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        features = x.shape[-1]
        out = torch.empty_like(x)
        rms_norm_kernel[(x.numel() // features,)](
            x, self.weight, out, features, self.eps, BLOCK=triton.next_power_of_2(features)
        )
        return out
