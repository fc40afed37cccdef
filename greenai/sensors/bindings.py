"""Loads a maker's Python bindings so that whatever is wrong with them is one kind of error."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def quiet() -> AbstractContextManager[Any]:
    """Send what a maker's code prints to the error output, in the main thread alone.

    Standard output belongs to all threads: in a thread beside a training it is left alone.
    """
    if threading.current_thread() is threading.main_thread():
        return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()


def load(name: str) -> Any:
    """Import the bindings of a device's maker.

    Bindings load the maker's library while they are imported; where that is missing some print to
    the standard output, which may be someone's JSON, and end in whatever exception comes next.

    Args:
        name: Name of the module.

    Returns:
        The module.

    Raises:
        ImportError: It is not installed, or its library does not load.

    Example:
        >>> load("nonexistent_bindings")
        Traceback (most recent call last):
        ModuleNotFoundError: No module named 'nonexistent_bindings'
    """
    try:
        with quiet():
            return importlib.import_module(name)
    except (OSError, KeyError, AttributeError) as error:
        sys.modules.pop(name, None)
        raise ImportError(f"its library does not load: {error}") from error
