"""A ModelNew file read from its text: sections, kernels, launches, precision. Standard library only."""

from tilewright.kernelfile.file import KernelFile
from tilewright.kernelfile.model import (
    Autotune,
    Class,
    Config,
    Dot,
    Grid,
    Import,
    Kernel,
    LaunchSite,
    Method,
    Parameter,
    Passed,
    Place,
    Scalar,
    Section,
    Tile,
    Value,
)

__all__ = [
    "Autotune",
    "Class",
    "Config",
    "Dot",
    "Grid",
    "Import",
    "Kernel",
    "KernelFile",
    "LaunchSite",
    "Method",
    "Parameter",
    "Passed",
    "Place",
    "Scalar",
    "Section",
    "Tile",
    "Value",
]
