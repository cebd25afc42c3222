"""What a reader of a published table may rely on: its columns, its key and its version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a published table.

    Attributes:
        name: of the column.
        type: Spark SQL type; ``any``: the type that the column has in the source.
        nullable: whether a null may stand there.
        comment: what it means, unit and range included.
        check: SQL condition that every row meets, in the words that all engines know; None: none.
    """

    name: str
    type: str
    nullable: bool
    comment: str
    check: str | None = None


@dataclass(frozen=True)
class TableContract:
    """A published table, which has the columns snapshot_date, model_version, run_id and scored_at among others.

    Attributes:
        name: of the table.
        version: a minor one adds nullable columns, or fields of one; whatever could break a reader raises the major.
        columns: in their order.
        key: what identifies a row within a snapshot and model version.
        title: what it holds, for a comment on the table.
        expected: what writes it, and how another table is handed over, for messages.
    """

    name: str
    version: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    title: str
    expected: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def comments(self) -> dict[str, str]:
        """Meaning by column."""
        return {column.name: column.comment for column in self.columns}

    @property
    def nullable(self) -> dict[str, bool]:
        """Whether a null may stand there, by column."""
        return {column.name: column.nullable for column in self.columns}
