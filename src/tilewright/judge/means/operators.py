"""A mode that sees every operator of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from tilewright.launches.custom import body_of


class OperatorMode(TorchDispatchMode):  # type: ignore[misc]  # torch carries no types here
    """Sees every operator below autograd, those inside operators written in Python too.

    Subclasses define `operator`.

    torch has its modes import all of torch.compile when first used, to keep out of what it compiles: a second
    of each check, for nothing here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        body = body_of(func, args, kwargs)
        if body is None:
            return self.operator(func, args, kwargs)
        with self:
            return body(*args, **kwargs)

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What becomes of one call of an operator; by default it is made."""
        return func(*args, **kwargs)
