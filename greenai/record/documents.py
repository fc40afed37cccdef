"""JSON objects of a record: written whole, read as something that may come from anywhere."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, NoReturn

from greenai.errors import RecordError
from greenai.record.files import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

OBJECT_BYTES_MAX = 2**20
DEPTH_MAX = 32


def read_json(path: Path, bytes_max: int = OBJECT_BYTES_MAX) -> dict[str, Any]:
    """Read a JSON object from a file that may come from anywhere.

    Args:
        path: The file.
        bytes_max: Larger files are refused before they are read.

    Returns:
        The object. Numbers in it are finite, text is valid Unicode.

    Raises:
        RecordError: The file is missing, a link, too large, too deep, or no JSON object.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "live.json"
        >>> _ = path.write_text('{"energy_j": 1.5}')
        >>> read_json(path)
        {'energy_j': 1.5}
    """
    descriptor = open_to_read(path)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        refuse(path, f"it has more than {bytes_max} bytes")
    return parse_object(data, path)


def parse_object(data: bytes, path: Path) -> dict[str, Any]:
    """Parse the bytes of a JSON object; ``path`` is named in the error.

    Raises:
        RecordError: It is no JSON object, or one that is too deep.
    """
    try:
        plain = json.loads(
            data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_object
        )
        _check(plain)
    except (ValueError, RecursionError) as error:
        refuse(path, f"it is no JSON that can be read ({error})")
    if not isinstance(plain, dict):
        refuse(path, "it is no JSON object")
    return plain


def plain_json(value: Any) -> Any:
    """Make of a value what JSON can hold: an unknown number becomes null.

    Example:
        >>> plain_json({"energy_j": float("nan"), "ranks": (0, 1), "model": object()})
        {'energy_j': None, 'ranks': [0, 1], 'model': '<object>'}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(inner) for inner in value]
    return f"<{type(value).__name__}>"


def _check(plain: Any) -> None:
    """Refuse depth and text that cannot be written again, without recursion."""
    level = [plain]
    for _ in range(DEPTH_MAX):
        texts = [one for one in level if isinstance(one, str)]
        texts.extend(key for one in level if isinstance(one, dict) for key in one)
        for text in texts:
            text.encode()  # a lone surrogate is a ValueError
        if any(isinstance(one, float) and not math.isfinite(one) for one in level):
            raise ValueError("a number is not finite")
        inner = [list(one.values()) for one in level if isinstance(one, dict)]
        inner.extend(one for one in level if isinstance(one, list))
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError(f"deeper than {DEPTH_MAX}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; one key twice would mean two things to two readers."""
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return plain


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise the error of a file that does not hold what it must.

    Raises:
        RecordError: Always.
    """
    raise RecordError(
        f"{path} is not as greenai writes it: {reason}.",
        "Without it nobody can tell what the readings mean.",
        "copy the record again; a record of someone else may also have been changed on purpose",
        path=path,
    )
