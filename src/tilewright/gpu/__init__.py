"""GPUs: the values that describe one, the catalogue, and what is plugged in."""

from tilewright.gpu.model import Gpu

__all__ = ["Gpu"]
