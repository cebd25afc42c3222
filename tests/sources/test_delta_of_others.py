"""Delta tables as other writers keep them: mapped columns, deletion vectors, partitions, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remedi_spark.samples.contents import content
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_mapped_columns_and_deletion_vectors(spark: SparkSession, tmp_path: Path) -> None:
    where = f"delta.`{tmp_path / 'owners'}`"
    spark.sql(
        f"CREATE TABLE {where} (`owner id` STRING, `spend (EUR)` DOUBLE, old INT, part STRING) USING delta "
        "PARTITIONED BY (part) TBLPROPERTIES ('delta.columnMapping.mode' = 'name', "
        "'delta.enableDeletionVectors' = 'true', 'delta.checkpointInterval' = '2')"
    )
    rows = ", ".join(f"('00{i}', {i}.5, {i}, '{'ab'[i % 2]}')" for i in range(20))
    spark.sql(f"INSERT INTO {where} VALUES {rows}")
    before = content(spark, str(tmp_path / "owners"))
    spark.sql(f"DELETE FROM {where} WHERE old IN (3, 4)")
    spark.sql(f"ALTER TABLE {where} RENAME COLUMN `spend (EUR)` TO `spend, total`")
    spark.sql(f"ALTER TABLE {where} DROP COLUMN old")
    log = "".join(file.read_text() for file in (tmp_path / "owners" / "_delta_log").glob("*.json"))
    assert "deletionVector" in log
    assert "columnMapping" in log

    found = read_table(spark, str(tmp_path / "owners"), as_text=["owner id"], roles=["owner id"]).toPandas()
    assert list(found.columns) == ["owner id", "spend, total", "part"]
    kept = [i for i in range(20) if i not in (3, 4)]
    assert dict(zip(found["owner id"], found["spend, total"], strict=True)) == {f"00{i}": i + 0.5 for i in kept}
    assert content(spark, str(tmp_path / "owners")) != before, "a delete that rewrites no file is seen"
