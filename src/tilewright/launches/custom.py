"""Operators that a file defines in Python, with torch.library.custom_op or triton_op. For worker processes.

torch calls such an operator's body out of sight of the dispatch modes that watch a forward, so they call
it themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._library.custom_ops import OPDEFS
from torch.utils._pytree import tree_leaves


def body_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[..., Any] | None:
    """The Python function that torch would run for a call; None for an operator of any other kind."""
    definition = OPDEFS.get(operator._schema.name)
    if definition is None:
        return None
    devices = [leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    bodies: dict[str | None, Callable[..., Any]] = definition._backend_fns
    return bodies.get(devices[0] if devices else None) or bodies.get(None)
