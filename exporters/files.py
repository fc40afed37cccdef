"""Files that appear whole or not at all, with the errors that people can act on."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from typing import TYPE_CHECKING, Any

from greenai.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary sibling that takes the place of ``path`` at the end, if all went well.

    Args:
        path: File to be written; its folder is made where it is missing.

    Yields:
        The temporary file, empty.

    Raises:
        RecordError: The folder cannot be written.

    Example:
        >>> from pathlib import Path
        >>> with replacing(Path("numbers.csv")) as file:
        ...     _ = file.write(b"1,2")
        >>> Path("numbers.csv").read_text()
        '1,2'
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: its files are private to the user, and these are to be read by others.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as f:
            yield f
        temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error.strerror or error}.",
            "The record itself is not touched; only this file is missing.",
            "give a file or folder that can be written",
            path=path,
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; what UTF-8 cannot hold is replaced.

    Raises:
        RecordError: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write strict JSON: a number that JSON does not know (NaN, infinity) becomes null.

    Raises:
        RecordError: The file cannot be written.
    """
    write_text(path, json.dumps(strict(values), indent=2, allow_nan=False) + "\n")


def strict(value: Any) -> Any:
    """Replace every NaN and infinity within plain values by None.

    Example:
        >>> strict({"a": [1.5, float("nan")], "b": (float("inf"), "x")})
        {'a': [1.5, None], 'b': [None, 'x']}
    """
    if isinstance(value, dict):
        return {str(key): strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
