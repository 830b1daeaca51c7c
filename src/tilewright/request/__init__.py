"""A specialist request: text that asks for a faster kernel, parsed into values and written back."""

from tilewright.request.model import Guidance, Ignored, Request, Threshold
from tilewright.request.parse import parse, read_request
from tilewright.request.profile import read_profile_file
from tilewright.request.render import compose, profile_block, render

__all__ = [
    "Guidance",
    "Ignored",
    "Request",
    "Threshold",
    "compose",
    "parse",
    "profile_block",
    "read_profile_file",
    "read_request",
    "render",
]
