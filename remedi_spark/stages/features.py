"""Stage 1: events and owner attributes in, ``owner_features`` and its dictionary out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, SNAPSHOT
from remedi_spark.features.build import Blueprint, assemble, prepare
from remedi_spark.features.dictionary import dictionary_frame, with_comments
from remedi_spark.features.sources import read_location, read_source, unusable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.spark.tables import Tables

OWNER_FEATURES = "owner_features"
DICTIONARY = "feature_dictionary"


def run(tables: Tables, config: FeaturesConfig) -> dict[str, Any]:
    """Build ``owner_features`` and ``feature_dictionary``; running it again replaces them in one commit each.

    Sources and attributes that come from a Python package are first loaded into Delta tables of their own names; the
    user's own tables are read where they are.

    Returns
    -------
    dict
        ``rows``, ``positives`` (labelled rows with label > 0), ``labelled`` (rows with a label), ``snapshots``,
        ``features``, ``quarantined`` (source rows without an owner or a time) and ``seconds``.
    """
    started = time.monotonic()
    frames = load_sources(tables, config)
    blueprint = prepare(tables.spark, config, frames)
    write(tables, blueprint)
    return {
        **_counts(tables),
        "features": len(blueprint.entries) - 1,
        "quarantined": sum(
            unusable(frames[name], source, config.entity, f"features.sources.{name}")
            for name, source in config.sources.items()
        ),
        "seconds": round(time.monotonic() - started, 1),
    }


def load_sources(tables: Tables, config: FeaturesConfig) -> dict[str, DataFrame]:
    """Return the sources and attributes by name, those of Python packages by way of Delta."""
    frames: dict[str, DataFrame] = {}
    for name, source in config.sources.items():
        frame = read_source(tables.spark, source, f"features.sources.{name}")
        frames[name] = frame if source.package is None else _load(tables, name, frame, source.key or config.entity)
    for name, attributes in config.attributes.items():
        frame = read_location(tables.spark, attributes, f"features.attributes.{name}")
        frames[name] = (
            frame if attributes.package is None else _load(tables, name, frame, attributes.key or config.entity)
        )
    return frames


def write(tables: Tables, blueprint: Blueprint) -> None:
    """Write the dictionary and the features, a partition a snapshot."""
    tables.overwrite(dictionary_frame(tables.spark, blueprint.entries), DICTIONARY)
    frame = with_comments(assemble(blueprint), blueprint.entries).repartition(SNAPSHOT)
    tables.overwrite(frame, OWNER_FEATURES, partition_by=(SNAPSHOT,))


def _load(tables: Tables, name: str, frame: DataFrame, key: str) -> DataFrame:
    # A package's file often is one row group, which one task alone would have to read ever after.
    tables.overwrite(frame.repartition(tables.spark.sparkContext.defaultParallelism, key), name)
    return tables.read(name)


def _counts(tables: Tables) -> dict[str, int]:
    row = (
        tables.read(OWNER_FEATURES)
        .agg(
            F.count("*").alias("rows"),
            F.count(LABEL).alias("labelled"),
            F.count(F.when(F.col(LABEL) > 0, 1)).alias("positives"),
            F.count_distinct(SNAPSHOT).alias("snapshots"),
        )
        .first()
    )
    return row.asDict() if row is not None else {}
