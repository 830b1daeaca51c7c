"""The source rewrites there are, in the order they are tried."""

from __future__ import annotations

from tilewright.proposers.rewrite.accumulators import Accumulators
from tilewright.proposers.rewrite.activations import Activations
from tilewright.proposers.rewrite.base import Rewrite
from tilewright.proposers.rewrite.constant_sizes import ConstantSizes
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.eviction import Eviction
from tilewright.proposers.rewrite.grouped import Grouped
from tilewright.proposers.rewrite.hoisted import Hoisted
from tilewright.proposers.rewrite.hoisted_launches import HoistedLaunches
from tilewright.proposers.rewrite.input_precision import InputPrecision
from tilewright.proposers.rewrite.registers import RowsInRegisters
from tilewright.proposers.rewrite.split_k import SplitK, SplitSum

REWRITES: tuple[Rewrite, ...] = (
    HoistedLaunches(),
    ConstantSizes(),
    EvenMasks(),
    Hoisted(),
    Grouped(),
    RowsInRegisters(),
    SplitK(),
    SplitSum(),
    Accumulators(),
    InputPrecision(),
    Activations(),
    Eviction(),
)
