"""A mode that sees every operator of torch."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):  # type: ignore[misc]  # torch carries no types here
    """Sees every operator below autograd; subclasses define __torch_dispatch__.

    torch has its modes import all of torch.compile when first used, to keep out of what it compiles: a second
    of each check, for nothing here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
