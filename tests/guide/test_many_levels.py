"""An item column that names single things: a million levels, nearly all of them with one buyer or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import functions as F

from tests.cli.conftest import Command
from tests.guide.conftest import settings

ROWS, LEVELS, OWNERS, DAYS, MOST = 1_300_000, 1_000_000, 2_000, 168, 60
GROUPS = 12
"""Items that are bought all the time, beside the million."""


def write_log(spark: Any, path: Path) -> None:
    """Each level is bought once or twice, by a hash of its number; every twelfth row is of a common item."""

    def drawn(salt: int, below: int) -> Any:
        return F.pmod(F.xxhash64("id", F.lit(salt)), F.lit(below))

    level = F.col("id") % LEVELS
    common = F.col("id") % GROUPS == 0
    rows = spark.range(ROWS + ROWS // GROUPS).select(
        F.concat(F.lit("o"), drawn(1, OWNERS)).alias("owner"),
        F.when(common, F.concat(F.lit("common "), drawn(2, GROUPS))).otherwise(F.concat(F.lit("code "), level))
        .alias("category"),
        F.when(level % 2 == 0, F.concat(F.lit("aisle "), level % 40)).alias("aisle"),  # of half of the items only
        F.date_add(F.lit("2026-01-01").cast("date"), drawn(3, DAYS).cast("int")).cast("timestamp").alias("day"),
        F.lit(2.5).alias("spend"),
    )  # fmt: skip
    rows.write.parquet(str(path))


@pytest.mark.slow
def test_of_a_million_levels_the_lists_have_what_many_buy(spark: Any, remedi: Command, tmp_path: Path) -> None:
    events, config = tmp_path / "events.parquet", tmp_path / "guide.yaml"
    write_log(spark, events)
    found = spark.read.parquet(str(events)).agg(F.approx_count_distinct("category")).first()[0]
    assert found > 0.8 * LEVELS
    config.write_text(yaml.safe_dump(settings(events, tmp_path / "run", max_items=MOST)))
    done = remedi("guide", "--config", str(config))
    assert done.code == 0, done.err
    assert f"items in column 'category': the {MOST} with the most buyers are looked at" in done.err
    names = json.loads((tmp_path / "run" / "model_guide" / "guide_facts.json").read_text())["vocabulary"]["names"]
    assert len(names) == MOST and sum(name.startswith("common ") for name in names) == GROUPS
    lists = spark.read.format("delta").load(str(tmp_path / "run" / "guide"))
    assert lists.select("owner_id").distinct().count() == OWNERS and lists.count() == 10 * OWNERS
    assert lists.where("rank <= 5 AND item NOT LIKE 'common %'").count() == 0
    history = spark.read.format("delta").load(str(tmp_path / "run" / "guide_history"))
    assert history.count() < 2 * ROWS // GROUPS, "rows of the other levels go no further"
