"""Meta-training on Spark: whole segments spread over the workers of a barrier stage, meta-gradients summed.

Every worker draws the same list of (segment, K) for a meta-batch and computes the tasks of the segments that it holds,
so that the meta-batch does not depend on how many workers there are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, OWNER, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.errors import InputError
from remedi_spark.models.contract import FitError
from remedi_spark.progress import log, warn
from remedi_spark.samples.arrays import matrix
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.layout import Layout
from remedi_spark.segments.catalog import Catalog, catalogue
from remedi_spark.segments.history import SEGMENT
from remedi_spark.segments.meta_model import MetaBundle
from remedi_spark.segments.rows import SegmentTable, hashed, read_segments, thin_out
from remedi_spark.segments.search import search
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.torch_partitions import run_together

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.chain import EncodingConfig
    from remedi_spark.samples.flat import FlatTable
    from remedi_spark.segments.maths.segments import SegmentRows


@dataclass(frozen=True)
class MetaTraining:
    """A meta model, and the segments by role."""

    bundle: MetaBundle
    catalog: Catalog


def meta_train(
    spark: SparkSession, source: FlatTable, config: AdaptConfig, encoding: EncodingConfig, seed: int
) -> MetaTraining:
    """Meta-train on a table of labelled rows of many segments.

    Raises:
        InputError: the table does not fit the configuration, or has too few usable segments.
        FitError: the workers disagree, or no iteration had a finite meta-gradient.
    """
    with prepared(spark, source, config, encoding) as ready:
        facts, starts = ready.run(config, seed)
    bayes = facts.pop("bayes")
    facts |= {"segments": ready.catalog.to_dict(), "settings": config.model_dump(mode="json"), "seed": seed}
    return MetaTraining(MetaBundle(ready.encoder.to_dict(), starts, bayes, facts), ready.catalog)


def search_settings(
    spark: SparkSession, source: FlatTable, config: AdaptConfig, encoding: EncodingConfig, seed: int
) -> AdaptConfig:
    """Search hyper-parameters on the validation segments; see :func:`remedi_spark.segments.search.search`."""
    with prepared(spark, source, config, encoding) as ready:

        def measure(tried: AdaptConfig) -> float:
            try:
                facts, _ = ready.run(tried, seed)
            except FitError:
                return math.nan
            return float(np.mean([by_arm["adapted"]["ap"] for by_arm in facts["validation"].values()]))

        return search(config, measure, seed)


@dataclass(frozen=True)
class Prepared:
    """Encoded rows of the learning and the validation segments, placed on the workers."""

    placed: DataFrame
    encoder: Encoder
    catalog: Catalog
    workers: int

    def run(self, config: AdaptConfig, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return facts and starts of one meta-training."""
        layout = self.encoder.layout.to_dict()
        settings = config.model_dump(mode="json")
        work = _work(settings, config.net.spec(), layout, self.catalog, seed)
        results = run_together(self.placed, work, self.workers)
        found = [_read(result) for result in results]
        if any(starts != found[0][1] for _, starts in found):
            raise FitError("the workers of a meta-training ended with different weights")
        return found[0]


@contextmanager
def prepared(
    spark: SparkSession, source: FlatTable, config: AdaptConfig, encoding: EncodingConfig
) -> Iterator[Prepared]:
    """Read, check and encode the rows and place whole segments on the workers; the rows are let go at the end."""
    _require_slots(spark, config.workers)
    table = read_segments(spark, source, config)
    catalog = catalogue(table.rows, config.tasks, config.split, source.table)
    _report(catalog)
    rows, encoder = _encoded(table, catalog, config, encoding)
    with kept(rows, on_disk=True) as encoded:
        placed = encoded.repartition(config.workers, SEGMENT).sortWithinPartitions(SEGMENT, ROW_HASH)
        yield Prepared(placed, encoder, catalog, config.workers)


def _require_slots(spark: SparkSession, workers: int) -> None:
    if workers > slots(spark):
        raise InputError(
            f"adapt.workers: found {workers}, but {slots(spark)} tasks can run at once and all must; "
            f"use --set adapt.workers={slots(spark)}"
        )


def _report(catalog: Catalog) -> None:
    sizes = f"{len(catalog.train)} to learn from, {len(catalog.validation)} to tune on, {len(catalog.test)} to test on"
    log("adapt", f"segments: {sizes}, {len(catalog.refused)} refused")
    for name, reason in list(catalog.refused.items())[:20]:
        warn("adapt", f"segment {name!r} refused: {reason}")


def _encoded(
    table: SegmentTable, catalog: Catalog, config: AdaptConfig, encoding: EncodingConfig
) -> tuple[DataFrame, Encoder]:
    """Encode the rows of the learning and the tuning segments; levels are counted on the learning ones."""
    used = hashed(table.rows.where(F.col(SEGMENT).isin(*catalog.train, *catalog.validation)))
    if config.split.learn_until is not None:
        used = used.where(F.col(SNAPSHOT) <= F.lit(config.split.learn_until))
    rows = thin_out(used).withColumn(FOLD, F.lit(0))
    learned = rows.where(F.col(SEGMENT).isin(*catalog.train))
    encoder = fit_encoder(learned, table.contract, encoding, folds=1, binary=True)
    day = F.coalesce(F.datediff(F.col(SNAPSHOT).cast("timestamp"), F.lit("1970-01-01").cast("date")), F.lit(0))
    encoded = encode(rows, encoder).select(
        SEGMENT, F.xxhash64(F.col(OWNER).cast("string")).alias("owner"), day.cast("long").alias("day"),
        LABEL, WEIGHT, ROW_HASH, "x",
    )  # fmt: skip
    return encoded, encoder


def _work(settings: dict[str, Any], spec: dict[str, Any], layout: dict[str, Any], catalog: Catalog, seed: int) -> Any:
    """Return what each worker runs; it captures plain values only."""

    def work(table: pa.Table) -> bytes:
        from remedi_spark.segments.worker import learn

        config = AdaptConfig.model_validate(settings)
        slots_ = Layout.from_dict(layout)
        segments = segments_of(table, slots_)
        return learn(segments, config, spec, slots_, catalog, seed)

    return work


def segments_of(table: pa.Table, layout: Layout) -> dict[str, SegmentRows]:
    """Cut an encoded table, sorted by segment, into segments; the slots of target encodings stay 0.

    What a level means for the label differs from segment to segment, so levels are seen as codes and frequencies.
    """
    from remedi_spark.segments.maths.segments import SegmentRows

    if not table.num_rows:
        return {}
    fixed = matrix(table.column("x").combine_chunks(), layout.fixed)
    x = np.zeros((len(fixed), layout.width))
    x[:, : layout.fixed] = fixed
    names = np.asarray(table.column(SEGMENT).to_pylist(), dtype=object)
    columns = {name: table.column(name).to_numpy() for name in ("owner", "day", LABEL, WEIGHT)}
    found = {}
    for name in sorted(set(names)):
        at = np.flatnonzero(names == name)
        key = columns["owner"][at]
        owner = np.unique(key, return_inverse=True)[1]
        found[name] = SegmentRows(
            name, x[at], columns[LABEL][at].astype(np.float64), owner, columns["day"][at], columns[WEIGHT][at], key
        )
    return found


def _read(result: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    header, _, rest = result.partition(b"\0")
    facts = json.loads(header)
    size = facts.pop("pooled_bytes")
    return facts, {"pooled": rest[:size], "adapted": rest[size:]}
