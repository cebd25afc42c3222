"""The tables under one root: a folder of Delta folders, or a schema of a catalog.

Those that one stage passes on to the next are plain folders; see :mod:`remedi_spark.storage.plain`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.errors import InputError, cause, damaged_log
from remedi_spark.reading.csv_files import ENDINGS as CSV
from remedi_spark.reading.csv_files import read_csv
from remedi_spark.reading.parquet_files import ENDINGS as PARQUET
from remedi_spark.reading.parquet_files import read_parquet
from remedi_spark.reading.paths import data_files, is_remote, kind_of_file, local_path
from remedi_spark.spark.delta import history, is_delta_address, overtaken, path_identifier
from remedi_spark.spark.errors import SPARK_ERRORS
from remedi_spark.spark.plans import analysed
from remedi_spark.spark.scratch import keep_in_folder, keep_in_schema
from remedi_spark.storage.catalog_names import CATALOG_NAME, quoted_name
from remedi_spark.storage.commits import LOOKED_AT, Commit, last_change, last_listed_change
from remedi_spark.storage.own_names import own_names
from remedi_spark.storage.plain import is_passed_on, is_plain, read_plain, stamp, write_plain
from remedi_spark.storage.same_rows import same_rows
from remedi_spark.storage.scope import Scope

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameWriter, SparkSession

ATTEMPTS = 5
"""How often a commit is tried while other runs commit to the same rows."""
_FILE_ENDINGS = (*PARQUET, *CSV, ".delta")
_UNREADABLE: tuple[type[Exception], ...] = (*SPARK_ERRORS, OSError)


def is_catalog_name(name: str) -> bool:
    """Tell whether ``name`` reads as ``[catalog.]schema.table`` (or ``catalog.schema``) and no such path exists.

    A word without a dot is a folder: what ``--out scores`` writes must not depend on what is there already.
    """
    return bool(CATALOG_NAME.match(name)) and not name.endswith(_FILE_ENDINGS) and not Path(name).exists()


@dataclass(frozen=True)
class Tables:
    """The tables of one run. ``root`` is a folder, or ``catalog.schema``."""

    spark: SparkSession
    root: str
    catalog: bool | None = None
    """Whether the root is a schema of a catalog; None: as its name reads."""
    scope: Scope | None = None
    """What the running stage may touch; None: anything."""

    @property
    def in_catalog(self) -> bool:
        """Whether the root is a schema of a catalog rather than a folder."""
        return is_catalog_name(self.root) if self.catalog is None else self.catalog

    def location(self, name: str) -> str:
        """Return the catalog name or the folder of table ``name``."""
        return f"{quoted_name(self.root)}.{name}" if self.in_catalog else f"{self.root.rstrip('/')}/{name}"

    def offer_scratch(self) -> None:
        """Let a session that keeps no rows itself put them among these tables, while they are needed."""
        if self.in_catalog:
            keep_in_schema(self.spark, quoted_name(self.root))
        elif not is_remote(self.root):
            keep_in_folder(self.spark, local_path(self.root))

    def exists(self, name: str) -> bool:
        """Tell whether the table has been written."""
        self._require_read(name)
        if self.in_catalog:
            return self.spark.catalog.tableExists(self.location(name))
        return self._is_plain(name) or is_delta(self.spark, self.location(name))

    def read(self, name: str) -> DataFrame:
        """Read a table that an earlier stage wrote."""
        if not self.exists(name):
            raise InputError(f"table {self.location(name)}: not found; run the stage that writes {name} first")
        if self._is_plain(name):
            return read_plain(self.spark, self._folder(name))
        with sound_log(self.location(name)):
            if self.in_catalog:
                return analysed(self.spark.read.table(self.location(name)))
            return analysed(self.spark.read.format("delta").load(self.location(name)))

    def version(self, name: str) -> int:
        """Return the latest Delta version of the table that changed its rows."""
        return self._last_change(name)[0]

    def stamp(self, name: str) -> str:
        """Return what tells the table's present rows from any other: version and time of their last change.

        A table that stages pass on has neither; its files tell.
        """
        if self._is_plain(name):
            self._require_read(name)
            return stamp(self._folder(name))
        version, when = self._last_change(name)
        return f"{version} of {when.isoformat()}"

    def _last_change(self, name: str) -> Commit:
        self._require_read(name)
        where = self.location(name)
        if not self.in_catalog and (listed := last_listed_change(where)):
            return listed
        with sound_log(where):
            table = where if self.in_catalog else path_identifier(_absolute(where))
            return last_change(history(self.spark, table, LOOKED_AT))

    def replace(self, frame: DataFrame, name: str) -> None:
        """Replace a table that stages pass on (:mod:`remedi_spark.storage.plain`), whole or not at all."""
        if not self._may_be_plain(name):
            return self.overwrite(frame, name)
        self._require_write(name)
        return write_plain(frame, self._folder(name))

    def holds(self, name: str, frame: DataFrame) -> bool:
        """Whether the table has just these rows already: leaving it alone, nothing made from it is made again."""
        return self.exists(name) and same_rows(self.read(name), frame)

    def _may_be_plain(self, name: str) -> bool:
        return is_passed_on(name) and not self.in_catalog and not is_remote(self.root)

    def _is_plain(self, name: str) -> bool:
        return self._may_be_plain(name) and is_plain(self._folder(name))

    def _folder(self, name: str) -> Path:
        return local_path(self.location(name))

    def append(self, frame: DataFrame, name: str) -> None:
        """Add rows, and columns that the table does not have yet, in one commit."""
        self._require_write(name)
        writer = frame.write.format("delta").mode("append").option("mergeSchema", "true")
        self._retry(name, lambda: self._save(writer, name))

    def overwrite(
        self, frame: DataFrame, name: str, *, where: str | None = None, partition_by: tuple[str, ...] = ()
    ) -> None:
        """Replace the table, or with ``where`` only the rows that match the predicate, in one commit.

        With ``where``, columns and fields that the table does not have yet are added to it, null in the other rows.

        When another run commits to the same rows meanwhile, the write is tried again: the last one to finish stands,
        whole. Readers see the table before or after a commit, never in between.
        """
        self._require_write(name)

        def write() -> None:
            writer = frame.write.format("delta").mode("overwrite")
            if partition_by:
                writer = writer.partitionBy(*partition_by)
            # Looked up at every attempt: another run may have made the table, whose rows must stay.
            if where is not None and self.exists(name):
                writer = writer.option("replaceWhere", where).option("mergeSchema", "true")
            else:
                writer = writer.option("overwriteSchema", "true")
            self._save(writer, name)

        self._retry(name, write)

    def _require_read(self, name: str) -> None:
        if self.scope is not None:
            self.scope.require_read(name)

    def _require_write(self, name: str) -> None:
        if self.scope is not None:
            self.scope.require_write(name)

    def _retry(self, name: str, write: Callable[[], None]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return write()
            except SPARK_ERRORS as conflict:
                if not overtaken(conflict):
                    raise
                if attempt == ATTEMPTS:
                    raise RuntimeError(
                        f"table {self.location(name)}: another run wrote to it during each of {ATTEMPTS} attempts;"
                        " run again when it has ended"
                    ) from conflict
                time.sleep(random.uniform(0.5, 1.0) * 2**attempt)
        return None

    def _save(self, writer: DataFrameWriter, name: str) -> None:
        if self.in_catalog:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {quoted_name(self.root)}")
            writer.saveAsTable(self.location(name))
        else:
            writer.save(self.location(name))


@contextmanager
def sound_log(where: str) -> Iterator[None]:
    """Turn what Delta says of a damaged transaction log into one line, as far as it looks at the log here.

    Delta reads most of a log when an action runs; what it finds then, the command line turns into the same line.

    Raises:
        InputError: the log of the table cannot be read.
    """
    try:
        yield
    except SPARK_ERRORS as error:
        message = damaged_log(error, where)
        if message is None:
            raise
        raise InputError(message) from error


def read_table(
    spark: SparkSession, table: str, *, as_text: Collection[str] = (), roles: Collection[str] = ()
) -> DataFrame:
    """Read the user's table: a Delta folder, Parquet or CSV file or folder, or a catalog table.

    Args:
        spark: the session.
        table: path, address or name.
        as_text: columns of a CSV that stay text as it is written: ids, and those whose kind a model knows. Types of
            all others follow from all of their values; in doubt they are text.
        roles: columns that are used by name: they keep their names where others differ from them only in case, and are
            refused where they cannot be read.

    Raises:
        InputError: there is no such table, or it cannot be read.
    """
    try:
        return own_names(_texts_of_bytes(_read(spark, table, as_text, roles)))
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"table {table}: cannot be read ({cause(error)[:300]}); check its permissions, and that it is whole"
        ) from error


def is_csv(table: str) -> bool:
    """Tell whether a table's name is that of a CSV file or folder."""
    return table.rstrip("/").lower().endswith(CSV)


def reads_as_csv(table: str) -> bool:
    """Tell whether :func:`read_table` takes a table for CSV, by its name or by the files in its folder."""
    if is_csv(table) or is_remote(table) or is_catalog_name(table):
        return is_csv(table)
    path = local_path(table)
    if not path.is_dir() or table.rstrip("/").lower().endswith(PARQUET) or (path / "_delta_log").exists():
        return False
    return not _holds(table, PARQUET) and _holds(table, CSV)


def _read(spark: SparkSession, table: str, as_text: Collection[str], roles: Collection[str]) -> DataFrame:
    remote = is_remote(table)
    if is_catalog_name(table):
        table = quoted_name(table)
        if not spark.catalog.tableExists(table):
            raise InputError(f"table {table}: no such path and no such catalog table; check the name")
        return spark.read.table(table)
    if not remote and not local_path(table).exists():
        if table.isidentifier() and spark.catalog.tableExists(table):  # a temporary view, or in the current schema
            return spark.read.table(table)
        raise InputError(f"table {table}: no such file or folder; check the path")
    if is_csv(table):
        return read_csv(spark, table, as_text=as_text, roles=roles)
    if is_delta(spark, table):
        with sound_log(table):
            return analysed(spark.read.format("delta").load(table))
    if remote or table.rstrip("/").lower().endswith(PARQUET) or _holds(table, PARQUET):
        return read_parquet(spark, table, roles=roles)
    if _holds(table, CSV):
        return read_csv(spark, table, as_text=as_text, roles=roles)
    raise InputError(
        f"table {table}: found neither a Delta folder nor .parquet nor .csv; expected one of these or a catalog table"
        f"{_what_it_is(local_path(table))}"
    )


def _what_it_is(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            kind = kind_of_file(file.read(16))
    except OSError:
        return ""
    return f"; the file is {kind}" if kind else ""


def is_delta(spark: SparkSession, path: str) -> bool:
    """Whether there is a Delta table in a folder; a log without a single commit is none."""
    if is_remote(path):
        with sound_log(path):
            return is_delta_address(spark, path)
    log = local_path(path) / "_delta_log"
    return log.is_dir() and any(file.name[:20].isdigit() for file in log.iterdir())


def _absolute(path: str) -> str:
    return path if is_remote(path) else str(local_path(path))


def _holds(table: str, endings: tuple[str, ...]) -> bool:
    return any(file.name.lower().endswith(endings) for file in data_files(local_path(table), endings))


def _texts_of_bytes(frame: DataFrame) -> DataFrame:
    """Make text of binary columns all of whose values are text in UTF-8: some writers do not say that they are."""
    binary = [field.name for field in frame.schema.fields if isinstance(field.dataType, t.BinaryType)]
    if not binary:
        return frame
    texts = {name: F.decode(F.col(f"`{name.replace('`', '``')}`"), "UTF-8") for name in binary}
    odd = [
        F.count(F.when(F.encode(text, "UTF-8") != F.col(f"`{name.replace('`', '``')}`"), 1)).alias(f"c{i}")
        for i, (name, text) in enumerate(texts.items())
    ]
    found = frame.agg(*odd).collect()[0]
    fine = {name: texts[name] for i, name in enumerate(binary) if not found[f"c{i}"]}
    return frame.select(*(_with_notes(field, fine) for field in frame.schema.fields)) if fine else frame


def _with_notes(field: t.StructField, texts: dict[str, Column]) -> Column:
    if field.name not in texts:
        return F.col(f"`{field.name.replace('`', '``')}`")
    return texts[field.name].alias(field.name, metadata=field.metadata)
