"""Rows of an index chosen by conditions in SQL, with errors that name the columns there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from greenai.errors import OrderError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Listing(NamedTuple):
    """Chosen rows.

    Attributes:
        columns: Their names.
        rows: Values in that order; None is unknown.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Fleet:
    """The rows of an index in a closed DuckDB; made by ``opened``.

    Attributes:
        columns: Names of the columns there are.
    """

    def __init__(self, connection: Any, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._connection = connection

    def choose(
        self,
        where: str = "",
        *,
        sort: Sequence[str] = (),
        columns: Sequence[str] = (),
        limit: int | None = None,
    ) -> Listing:
        """Choose rows.

        Args:
            where: A condition in SQL; every row where it is empty. It sees the table ``runs``
                alone: no file, no network, no second statement.
            sort: Names of columns, the largest value first where a ``-`` stands before; what is
                unknown comes last either way.
            columns: Names of the columns wanted; all where it is empty.
            limit: Most rows; all where None.

        Returns:
            The rows; by folder where no other order is asked for.

        Raises:
            OrderError: A column is unknown or the condition is none; it names what there is.
        """
        wanted = tuple(self._known(name) for name in columns) or self.columns
        order = [self._ordered(name) for name in (*sort, "folder")]
        query = f"SELECT {', '.join(map(_quoted, wanted))} FROM runs"  # noqa: S608 - known names
        if where.strip():
            query += f" WHERE (\n{where}\n)"  # on lines of its own: it may end in a comment
        query += f" ORDER BY {', '.join(order)}"
        query += "" if limit is None else f" LIMIT {limit:d}"
        return Listing(wanted, self._run(query, where))

    def _run(self, query: str, where: str) -> list[tuple[Any, ...]]:
        try:
            statements = self._connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise OrderError(
                    f"{where!r} is more than a condition.",
                    "No run was listed.",
                    "give one condition, as variant = 'moe' AND energy_j > 1e6",
                )
            rows: list[tuple[Any, ...]] = self._connection.execute(statements[0]).fetchall()
        except duckdb.Error as error:
            raise OrderError(
                f"{where!r} cannot be taken as a condition: {first_line(error)}.",
                "No run was listed.",
                f"the columns are {', '.join(self.columns)}; text stands in 'single quotes'",
            ) from error
        return rows

    def _known(self, name: str) -> str:
        if name in self.columns:
            return name
        raise OrderError(
            f"There is no column {name!r}.",
            "No run was listed.",
            f"use any of {', '.join(self.columns)}",
        )

    def _ordered(self, name: str) -> str:
        column = _quoted(self._known(name.removeprefix("-")))
        return f"{column} {'DESC' if name.startswith('-') else 'ASC'} NULLS LAST"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """What DuckDB complains of, without the drawing below it."""
    return str(error).strip().partition("\n")[0].rstrip(".!")
