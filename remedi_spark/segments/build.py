"""Rows of all segments from the sources of the configuration: owner features beside the history in each segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.reading import read_tables
from remedi_spark.features.sources import as_events
from remedi_spark.progress import log
from remedi_spark.segments.history import segment_rows
from remedi_spark.storage.own_names import as_stored

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.tables import Tables

SEGMENT_ROWS = "segment_rows"
OWNERS = "adapt_owner_features"


def build_segment_rows(tables: Tables, config: Config) -> str:
    """Write ``segment_rows``: segment, owner_id, snapshot_date, features, label; return where it is.

    Raises:
        InputError: a section or a source is missing.
    """
    features, history = config.features, config.adapt.history
    if features is None or history is None:
        missing = "features" if features is None else "adapt.history"
        raise InputError(f"configuration: no section {missing!r}; adapt tasks builds the rows from events by it")
    if history.source not in features.sources:
        raise InputError(
            f"adapt.history.source: no source {history.source!r}{nearest(history.source, features.sources)}"
        )
    spark = tables.spark
    tables.overwrite(as_stored(build_owner_features(spark, features)), OWNERS)
    # The generic label only says at which snapshots every label window is over.
    owners = tables.read(OWNERS).where(F.col(LABEL).isNotNull()).drop(LABEL)
    snapshots = [row[0] for row in owners.select(SNAPSHOT).distinct().orderBy(SNAPSHOT).collect()]
    source = features.sources[history.source]
    where = f"features.sources.{history.source}"
    events = as_events(read_tables(spark, features, {})[history.source], source, features.entity, where)
    rows = segment_rows(events, history, snapshots, features.label.horizon_days, features.label.gap_days)
    tables.overwrite(rows.join(owners, [OWNER, SNAPSHOT]), SEGMENT_ROWS)
    found = tables.read(SEGMENT_ROWS)
    log("adapt", f"{found.count()} rows of {found.select('segment').distinct().count()} segments")
    return tables.location(SEGMENT_ROWS)
