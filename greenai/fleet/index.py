"""The index: the rows of all runs below a root as one Parquet file, made and asked by DuckDB."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from greenai.errors import RecordError
from greenai.fleet.query import Fleet, first_line
from greenai.fleet.rows import COLUMNS, NUMBER, TEXT, TIME, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from greenai.fleet.rows import Row

_TYPES = {TEXT: "VARCHAR", WHOLE: "BIGINT", NUMBER: "DOUBLE", TIME: "TIMESTAMP"}
_NEVER_DOWNLOAD = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_CLOSED = (
    "SET python_enable_replacements = false",  # a name is never a variable of this program
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


def index_bytes(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file with the same columns and types for every fleet.

    Args:
        rows: As ``gather`` gives them; None becomes null.
    """
    with duckdb.connect(config=dict(_NEVER_DOWNLOAD)) as connection:
        _fill(connection, rows)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index.parquet"
            # A relation's method, because COPY takes no parameter for the file in older versions.
            connection.table("runs").write_parquet(str(path), compression="zstd")
            return path.read_bytes()


@contextlib.contextmanager
def opened(index: bytes | Sequence[Row]) -> Iterator[Fleet]:
    """Open an index, or the rows of one, for questions.

    Args:
        index: A Parquet file as ``index_bytes`` makes it, or rows.

    Yields:
        The rows in a DuckDB that can reach nothing else: no file, no network.

    Raises:
        RecordError: It is no index.

    Example:
        >>> from greenai.fleet.rows import unreadable
        >>> with opened([unreadable("a", "damaged")]) as fleet:
        ...     fleet.choose("problem = 'damaged'", columns=["folder"]).rows
        [('a',)]
    """
    with duckdb.connect(config=dict(_NEVER_DOWNLOAD)) as connection:
        if isinstance(index, bytes):
            _load(connection, index)
        else:
            _fill(connection, index)
        for statement in _CLOSED:
            connection.execute(statement)
        columns = [str(row[0]) for row in connection.execute("DESCRIBE runs").fetchall()]
        if "folder" not in columns:
            raise RecordError(
                "This Parquet file is no index: it has no column folder.",
                "No run was listed.",
                "make one: greenai index ROOT",
            )
        yield Fleet(connection, columns)


def _load(connection: Any, index: bytes) -> None:
    """Load an index as table ``runs``."""
    with tempfile.TemporaryFile() as file:
        file.write(index)
        try:
            query = "CREATE TABLE runs AS SELECT * FROM read_parquet($1)"
            connection.execute(query, [_path_of(file)])
        except duckdb.Error as error:
            raise RecordError(
                f"The index cannot be read: {first_line(error)}.",
                "No run was listed.",
                "make it again: greenai index ROOT",
            ) from error


def _fill(connection: Any, rows: Sequence[Row]) -> None:
    """Put rows into the table ``runs``, by way of JSON: Arrow would load pandas (0.6 s)."""
    columns = {name: _TYPES[kind] for name, kind in COLUMNS.items()}
    with tempfile.TemporaryFile() as file:
        file.writelines(f"{json.dumps(row, default=_moment)}\n".encode() for row in rows)
        query = (
            "CREATE TABLE runs AS SELECT * FROM "
            "read_json($1, format = 'newline_delimited', columns = $2)"
        )
        connection.execute(query, [_path_of(file), columns])


def _path_of(file: BinaryIO) -> str:
    """A name of an open file: DuckDB would take the signs *?[ of a path for a pattern."""
    file.flush()
    return f"/dev/fd/{file.fileno()}"


def _moment(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    raise TypeError(f"{type(value).__name__} is no value of a row")
