"""A Python callable that launches Triton kernels, made into a ModelNew file."""

from tilewright.entry.file import Made, model_new

__all__ = ["Made", "model_new"]
