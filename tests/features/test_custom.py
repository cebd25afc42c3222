"""A Python class computes what YAML cannot say, and is given nothing that was not known at the snapshot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from naive_features import TREE, known_day, make_events
from pyspark.sql import Window
from pyspark.sql import functions as F

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge, validate
from remedi_spark.errors import InputError
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.dictionary import Entry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["owner_id", "snapshot_date"]


class LargestGap:
    """Largest number of days between two events."""

    def __init__(self, window: int = 60, twice: bool = False) -> None:
        self.window = window
        self._twice = twice

    def entries(self) -> list[Entry]:
        return [Entry("gap_max", "largest gap", "events", f"{self.window} days", "days", "fewer than two events")]

    def compute(self, snapshots: DataFrame, events: Mapping[str, DataFrame]) -> DataFrame:
        order = Window.partitionBy(*KEY).orderBy("__day")
        gaps = events["events"].withColumn("gap", F.datediff("__day", F.lag("__day").over(order)))
        found = gaps.groupBy(*KEY).agg(F.max("gap").alias("gap_max"))
        return found.union(found) if self._twice else found


class Nothing:
    """Has none of what is needed."""


def declared(factory: str = f"{__name__}:LargestGap", **options: Any) -> FeaturesConfig:
    custom = {"gap": {"factory": factory, "sources": ["events"], "options": options}}
    return validate(FeaturesConfig, merge(TREE, {"custom": custom}), "test")


def test_a_class_sees_its_window_and_nothing_later(spark: SparkSession) -> None:
    events = make_events()
    rows = build_owner_features(spark, declared(), {"events": spark.createDataFrame(events)})
    assert rows.columns[-2:] == ["gap_max", "label"]
    found = rows.select(*KEY, "gap_max").toPandas().set_index(KEY)["gap_max"]
    events = events.assign(day=pd.to_datetime(events["at"].dt.date), known=known_day(events))
    assert len(found) > 50
    for (owner, t), value in found.items():
        own = events[(events["owner"].astype(str) == owner) & (events["known"] <= t)]
        inside = own[own["day"].dt.date > t - dt.timedelta(days=60)].sort_values("day")
        expected = inside["day"].diff().dt.days.max()
        assert (pd.isna(value) and pd.isna(expected)) or value == expected


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("no_such_module:LargestGap", {}, "cannot be imported"),
        (f"{__name__}:LargestGasp", {}, "cannot be imported"),
        (f"{__name__}:LargestGap", {"windw": 3}, r"refuses \{'windw': 3\}"),
        (f"{__name__}:LargestGap", {"window": 0}, "window is 0, expected a number of days"),
        (f"{__name__}:Nothing", {}, "lacks window, entries or compute"),
        ("LargestGap", {}, r"custom\.gap\.factory"),
    ],
)
def test_a_class_that_cannot_be_used_is_one_line(
    spark: SparkSession, factory: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_owner_features(spark, declared(factory, **options), {"events": spark.createDataFrame(make_events())})
    assert "\n" not in str(caught.value)


def test_a_class_must_not_multiply_rows(spark: SparkSession) -> None:
    rows = build_owner_features(spark, declared(twice=True), {"events": spark.createDataFrame(make_events())})
    with pytest.raises(Exception, match="several rows an owner and snapshot"):
        rows.collect()
