"""The launches of one forward, recorded on a machine without a GPU.

`model` holds the values, `fake` the tensors that claim a GPU, `driver` what Triton is told about
it, `recorder` what replaces a launch, and `forward` runs a candidate under all of them. Only
`model` is imported here: the others need torch and Triton, and run in worker processes.
"""

from tilewright.launches.model import Argument, Launch, Recording, TorchOperation

__all__ = ["Argument", "Launch", "Recording", "TorchOperation"]
