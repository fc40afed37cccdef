"""The border at which a training is protected: what fails here is said once and goes no further."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from greenai.errors import GreenAIError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("greenai")


class Shielded:
    """What has hooks that a training calls.

    A hook that fails ends the metering: the record is closed where it is, one sentence is
    logged, and the later hooks do nothing. What is not needed for metering (a function of the
    user's, a logger) is tried with ``attempt``: where it fails, it alone is given up.

    Example:
        >>> shielded = Shielded()
        >>> shielded.attempt("division", divmod, 7, 2)
        (3, 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self._given_up: set[str] = set()

    def attempt(
        self, what: str, function: Callable[..., T], *arguments: Any, **more: Any
    ) -> T | None:
        """Call a function; None where it fails, or has failed before under this name."""
        if what in self._given_up:
            return None
        try:
            return function(*arguments, **more)
        except Exception as error:  # noqa: BLE001 - the border: the training must go on
            self._given_up.add(what)
            _log.warning("%s failed and is not tried again: %s", what, _text(error))
            return None

    def _close(self) -> None:
        """End the metering after a hook has failed."""

    def _hook(
        self,
        passing: tuple[type[Exception], ...],
        hook: Callable[..., T],
        *arguments: Any,
        **more: Any,
    ) -> T | None:
        if _METERING in self._given_up:
            return None
        try:
            return hook(self, *arguments, **more)
        except passing:
            raise
        except Exception as error:  # noqa: BLE001 - the border: the training must go on
            self._given_up.add(_METERING)
            _log.warning(
                "The metering has failed in %s and ends here; the training goes on, and what was "
                "recorded so far stays: %s",
                getattr(hook, "__name__", "a hook"),
                _text(error),
            )
            self.attempt("Closing the record", self._close)
            return None


Owner = TypeVar("Owner", bound=Shielded)
_METERING = "The metering"


def protected(
    hook: Callable[Concatenate[Owner, P], T],
) -> Callable[Concatenate[Owner, P], T | None]:
    """Make a hook that no exception leaves; KeyboardInterrupt and its like pass.

    Example:
        >>> class Adapter(Shielded):
        ...     @protected
        ...     def on_step(self, size: int) -> int:
        ...         return 1 // size
        >>> adapter = Adapter()
        >>> adapter.on_step(1), adapter.on_step(0), adapter.on_step(1)
        (1, None, None)
    """

    @functools.wraps(hook)
    def shielded(self: Owner, /, *arguments: P.args, **more: P.kwargs) -> T | None:
        return self._hook((), hook, *arguments, **more)

    return shielded


def at_the_desk(
    hook: Callable[Concatenate[Owner, P], T],
) -> Callable[Concatenate[Owner, P], T | None]:
    """Protect a hook that runs before training; greenai's own errors still reach the user."""

    @functools.wraps(hook)
    def shielded(self: Owner, /, *arguments: P.args, **more: P.kwargs) -> T | None:
        return self._hook((GreenAIError,), hook, *arguments, **more)

    return shielded


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
