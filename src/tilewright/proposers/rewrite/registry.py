"""The source rewrites there are, in the order they are tried."""

from __future__ import annotations

from tilewright.proposers.rewrite.base import Rewrite
from tilewright.proposers.rewrite.constant_sizes import ConstantSizes

REWRITES: tuple[Rewrite, ...] = (ConstantSizes(),)
