"""Tables that pass rows from one stage of a training to the next: a folder of Parquet files, without a log.

Nobody outside reads them and every training replaces them whole, so a transaction log would only have to be written
and read back. They are this way under a root that the driver itself sees; on object stores a folder cannot be renamed
in one step, and there, as in a catalog, they are Delta tables. So are those that earlier versions wrote.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyspark.sql.types import StructType

from remedi_spark.storage.replacing import beside, recover, replace_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PASSED_ON = ("samples", "encoded", "oof_predictions", "fused_scores", "student_scores", "ablation_scores")
"""Their names, without what a phase puts before them."""
_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
_WHOLE = "_SUCCESS"
_PART = re.compile(r"part-\d+-(.+)-c\d+")


def is_passed_on(name: str) -> bool:
    """Tell whether a table, of whatever phase, is one that stages pass on."""
    return name.removeprefix("evaluation_") in PASSED_ON


def is_plain(path: Path) -> bool:
    """Tell whether a whole table stands in a folder."""
    recover(path)
    return (path / _WHOLE).exists()


def stamp(path: Path) -> str:
    """Return what tells one write of a table from any other: the id that Spark gives each write, and how many files."""
    files = _files(path)
    writes = {found[1] for file in files if (found := _PART.match(file.name))}
    return f"{len(files)} files of {' '.join(sorted(writes))}"


def read_plain(spark: SparkSession, path: Path) -> DataFrame:
    """Read a table. Its columns come from one file's footer, so that no Spark job is needed to learn them."""
    footer = pq.read_schema(_files(path)[0]).metadata[_SCHEMA]
    return spark.read.schema(StructType.fromJson(json.loads(footer))).parquet(str(path))


def write_plain(frame: DataFrame, path: Path) -> None:
    """Replace a table, whole or not at all."""
    new = beside(path)
    try:
        frame.write.parquet(str(new))
        replace_folder(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    frame.sparkSession.catalog.refreshByPath(str(path))  # what a session may have cached of this place


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("part-*.parquet"))
