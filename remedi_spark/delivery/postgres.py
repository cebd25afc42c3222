"""The SQL of the hand-over to PostgreSQL: the contract as tables, constraints and comments, and the upsert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remedi_spark.columns import SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.storage.table_contract import TableContract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TYPES = {
    "string": "text", "bigint": "bigint", "int": "integer", "smallint": "smallint", "tinyint": "smallint",
    "double": "double precision", "float": "real", "boolean": "boolean", "date": "date",
    "timestamp": "timestamp with time zone", "timestamp_ntz": "timestamp without time zone",
}  # fmt: skip
"""PostgreSQL's name of each Spark SQL type."""
_NAME = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?\Z")
LONGEST = 63
"""Bytes of a name in PostgreSQL, which cuts longer ones without a word."""
LONGEST_TABLE = LONGEST - len("_staging_") - 8
"""So that no name beside the table's own is cut: a staging table's is the longest."""
STAGING = "Rows on their way, by remedi export; it removes this table."
"""Comment by which an export knows the staging tables of exports that were killed."""
_LOADS = ("run_id", SNAPSHOT, "model_version", "scored_at", "rows", "contract", "loaded_at")


@dataclass(frozen=True)
class Target:
    """The table that the rows go to.

    Attributes:
        schema, table: its name.
        contract: what its columns mean.
        types: PostgreSQL type by column, in order.
        timed: whether rows carry a snapshot, which is then part of the key.
    """

    schema: str
    table: str
    contract: TableContract
    types: dict[str, str]
    timed: bool

    @classmethod
    def of(cls, name: str, rows: DataFrame, contract: TableContract, *, timed: bool) -> Target:
        """Describe the target of a selection's rows.

        Raises:
            InputError: not a table name, or an id whose type a warehouse has no like of.
        """
        if not _NAME.match(name):
            raise InputError(f"--table {name!r}: expected TABLE or SCHEMA.TABLE of letters, digits and underscores")
        schema, _, table = name.rpartition(".")
        for part, longest in ((schema, LONGEST), (table, LONGEST_TABLE)):
            if len(part.encode()) > longest:
                raise InputError(
                    f"--table {name}: {part!r} has {len(part.encode())} bytes, expected at most {longest}, because "
                    f"PostgreSQL cuts names at {LONGEST} and the names beside it are longer; take a shorter name"
                )
        types = {field.name: _type(field) for field in rows.schema.fields}
        return cls(schema or "public", table, contract, types, timed)

    @property
    def slice(self) -> tuple[str, ...]:
        """The columns that tell a slice from any other."""
        return ((SNAPSHOT,) if self.timed else ()) + ("model_version",)

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key, the columns of a slice first."""
        return self.slice + self.contract.key

    @property
    def loads_key(self) -> tuple[str, ...]:
        """The primary key of the table of loads: one run may have scored several snapshots, or with several models."""
        return (*self.slice, "run_id")

    def name(self, suffix: str = "") -> str:
        """Return the quoted name of the table, or of one beside it."""
        return f'"{self.schema}"."{self.table}{suffix}"'

    def create(self) -> list[str]:
        """Return the statements that make the table, with constraints and comments."""
        nullable = {**self.contract.nullable, SNAPSHOT: not self.timed}
        columns = [f'"{name}" {kind}{"" if nullable[name] else " NOT NULL"}' for name, kind in self.types.items()]
        checks = [f'CONSTRAINT "{self.table}_{c.name}" CHECK ({c.check})' for c in self.contract.columns if c.check]
        key = f'CONSTRAINT "{self.table}_key" PRIMARY KEY ({_listed(self.key)})'
        comments = [
            f"COMMENT ON COLUMN {self.name()}.\"{name}\" IS '{_text(self.contract.comments[name])}'"
            for name in self.types
        ]
        about = (
            f"{self.contract.title} by remedi_spark, contract {self.contract.version}; one row a snapshot, model "
            f"version and {' and '.join(self.contract.key).replace('_id', '')}."
        )
        return [
            f"CREATE TABLE {self.name()} ({', '.join([*columns, *checks, key])})",
            f"COMMENT ON TABLE {self.name()} IS '{about}'",
            *comments,
        ]

    def create_beside(self) -> list[str]:
        """Return the statements that make the table of loads and the view of the last one."""
        return [
            f"CREATE TABLE IF NOT EXISTS {self.name('_loads')} (run_id text, "
            f"{SNAPSHOT} {self.types[SNAPSHOT]}, model_version text NOT NULL, scored_at timestamptz NOT NULL, "
            "rows bigint NOT NULL, contract text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now(), "
            f"PRIMARY KEY ({_listed(self.loads_key)}))",
            f"COMMENT ON TABLE {self.name('_loads')} IS "
            "'One row a snapshot, model version and run that was handed over, whole.'",
            f"CREATE OR REPLACE VIEW {self.name('_latest')} AS {self._latest()}",
            f"COMMENT ON VIEW {self.name('_latest')} IS 'The last run of the last snapshot.'",
        ]

    def _latest(self) -> str:
        columns = ", ".join(f's."{name}"' for name in self.types)
        same = " AND ".join(f's."{name}" = l."{name}"' for name in self.slice)
        return (
            f"SELECT {columns} FROM {self.name()} s JOIN (SELECT {_listed(self.slice)} FROM {self.name('_loads')} "
            f'ORDER BY {SNAPSHOT} DESC NULLS LAST, scored_at DESC, model_version COLLATE "C" DESC, '
            f'run_id COLLATE "C" DESC LIMIT 1) l ON {same}'
        )

    def renew_loads(self, constraint: str) -> list[str]:
        """Return the statements that give a table of loads of an earlier version the present key, and its lost rows.

        Its key was the run alone, so that of the snapshots of one run only one was noted.
        """
        drop = f'DROP CONSTRAINT "{constraint}", ' if constraint else ""
        return [
            f"ALTER TABLE {self.name('_loads')} {drop}ADD PRIMARY KEY ({_listed(self.loads_key)})",
            self._note(self.name()),
            *self.create_beside(),
        ]

    def create_staging(self, suffix: str) -> list[str]:
        """Return the statements that make the table that executors fill; it survives no crash of the server."""
        columns = [f'"{name}" {"text" if name == "reasons" else kind}' for name, kind in self.types.items()]
        return [
            f"CREATE UNLOGGED TABLE {self.name(suffix)} ({', '.join(columns)})",
            f"COMMENT ON TABLE {self.name(suffix)} IS '{STAGING}'",
        ]

    def copy(self, suffix: str) -> str:
        """Return the statement by which a task fills the staging table, from CSV."""
        return f"COPY {self.name(suffix)} ({_listed(self.types)}) FROM STDIN (FORMAT csv)"

    def left_staging(self) -> str:
        """Return the query for the names of staging tables that killed exports to this table have left."""
        return (
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE n.nspname = '{self.schema}' AND c.relname ~ '^{self.table}_staging_[0-9a-f]{{8}}$' "
            f"AND obj_description(c.oid, 'pg_class') = '{STAGING}'"
        )

    def upsert(self, suffix: str) -> str:
        """Return the statement that brings staged rows in; rows that are there already, the same, are left alone.

        A task that Spark ran twice may have staged its rows twice: one of each key counts.
        """
        names = list(self.types)
        taken = ", ".join('"reasons"::jsonb' if name == "reasons" else f'"{name}"' for name in names)
        others = [name for name in names if name not in self.key]
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
        old, new = (", ".join(f'{side}."{name}"' for name in others) for side in ("t", "excluded"))
        return (
            f"INSERT INTO {self.name()} AS t ({_listed(names)}) SELECT DISTINCT ON ({_listed(self.key)}) {taken} "
            f"FROM {self.name(suffix)} ON CONFLICT ({_listed(self.key)}) DO UPDATE SET {changed} "
            f"WHERE ({old}) IS DISTINCT FROM ({new})"
        )

    def delete_stale(self, suffix: str) -> str:
        """Return the statement that removes rows of the staged slices that only an earlier run had scored."""
        runs = f"SELECT DISTINCT {_listed((*self.slice, 'run_id'))} FROM {self.name(suffix)}"
        same = " AND ".join(f't."{name}" = r."{name}"' for name in self.slice)
        kept = "NOT EXISTS (SELECT 1 FROM runs k WHERE k.run_id = t.run_id)"
        return f"WITH runs AS ({runs}) DELETE FROM {self.name()} t USING runs r WHERE {same} AND {kept}"

    def count(self, suffix: str) -> str:
        """Return the query for the rows that the staged slices have in the target."""
        slices = f"SELECT DISTINCT {_listed(self.slice)} FROM {self.name(suffix)}"
        return f"SELECT count(*) FROM {self.name()} JOIN ({slices}) r USING ({_listed(self.slice)})"

    def record(self, suffix: str) -> str:
        """Return the statement that notes the staged runs as handed over."""
        return self._note(self.name(suffix))

    def _note(self, rows: str) -> str:
        """Return the statement that notes the runs of some rows; what is noted already, the same, is left alone."""
        snapshot = SNAPSHOT if self.timed else f"NULL::{self.types[SNAPSHOT]}"
        count = f"count(DISTINCT ({_listed(self.contract.key)}))"
        noted = ("scored_at", "rows", "contract")
        old, new = (", ".join(f'{side}."{name}"' for name in noted) for side in ("l", "excluded"))
        return (
            f"INSERT INTO {self.name('_loads')} AS l (run_id, {SNAPSHOT}, model_version, scored_at, rows, contract) "
            f"SELECT run_id, {snapshot}, model_version, max(scored_at), {count}, "
            f"'{self.contract.version}' FROM {rows} GROUP BY 1, 2, 3 ON CONFLICT ({_listed(self.loads_key)}) "
            f"DO UPDATE SET ({_listed((*noted, 'loaded_at'))}) = ROW({new}, now()) "
            f"WHERE ({old}) IS DISTINCT FROM ({new})"
        )

    def describe_loads(self) -> str:
        """Return the query for the columns of the table of loads."""
        return _columns_of(self.name("_loads"))

    def loads_constraint(self) -> str:
        """Return the query for name and columns, in order, of the primary key of the table of loads."""
        return (
            "SELECT c.conname::text, a.attname::text FROM pg_constraint c "
            "CROSS JOIN unnest(c.conkey) WITH ORDINALITY k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum "
            f"WHERE c.conrelid = to_regclass('{self.name('_loads')}') AND c.contype = 'p' ORDER BY k.place"
        )

    def require_beside(self, columns: list[tuple[Any, ...]]) -> None:
        """Check a table of loads that exists.

        Raises:
            InputError: it is something else.
        """
        missing = [name for name in _LOADS if name not in {row[0] for row in columns}]
        if columns and missing:
            raise InputError(
                f"target {self.schema}.{self.table}_loads: no column {missing[0]!r}, expected the table of loads of "
                "remedi export; name another table with --table, or move this one away"
            )

    def missing_beside(self) -> str:
        """Return the query whether the table of loads or the view is missing."""
        return f"SELECT to_regclass('{self.name('_loads')}') IS NULL OR to_regclass('{self.name('_latest')}') IS NULL"

    def describe(self) -> str:
        """Return the query for the columns of the target as it is: name, type, not null, default."""
        return _columns_of(self.name())

    def describe_key(self) -> str:
        """Return the query for the columns of the target's primary key, in order."""
        return (
            "SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
            f"WHERE i.indrelid = to_regclass('{self.name()}') AND i.indisprimary ORDER BY k.place"
        )

    def require(self, columns: list[tuple[Any, ...]], key: list[str]) -> None:
        """Check a target that exists against the contract.

        Raises:
            InputError: a column is missing or of another type, or the key is another.
        """
        where, found = f"target {self.schema}.{self.table}", {row[0]: row[1] for row in columns}
        advice = "name another table with --table, or change this one"
        for name, kind in self.types.items():
            if name not in found:
                raise InputError(
                    f"{where}: no column {name!r} ({kind}), expected contract {self.contract.version}; {advice}"
                )
            if found[name] != kind:
                raise InputError(f"{where}: column {name!r} is {found[name]}, expected {kind}; {advice}")
        for name, _, required, has_default in columns:
            if name not in self.types and required and not has_default:
                raise InputError(f"{where}: column {name!r} is not of the contract and takes no null; {advice}")
        if key != list(self.key):
            raise InputError(
                f"{where}: primary key ({', '.join(key) or 'none'}), expected ({', '.join(self.key)}); {advice}"
            )


def _columns_of(table: str) -> str:
    return (
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef "
        f"FROM pg_attribute a WHERE a.attrelid = to_regclass('{table}') AND a.attnum > 0 AND NOT a.attisdropped"
    )


def _type(field: Any) -> str:
    if field.name == "reasons":
        return "jsonb"
    kind: str = field.dataType.simpleString()
    if kind.startswith("decimal"):
        return kind.replace("decimal", "numeric")
    if kind not in TYPES:
        raise InputError(f"column {field.name!r} is {kind}; expected one of {', '.join(TYPES)}")
    return TYPES[kind]


def _listed(names: Any) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _text(value: str) -> str:
    return value.replace("'", "''")
