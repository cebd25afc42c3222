"""The table of owner features, lazily: partials of days and values, what snapshots read from them, joined columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.features.aggregations import ratio
from remedi_spark.features.amounts import with_amounts
from remedi_spark.features.attributes import join_attributes
from remedi_spark.features.blueprint import Blueprint, latest_event, prepare, recent_only
from remedi_spark.features.custom import join_custom
from remedi_spark.features.days import daily_partials
from remedi_spark.features.distinct import daily_values
from remedi_spark.features.lists import LISTS, is_sparse
from remedi_spark.features.plan import NUMERIC_PARTIALS
from remedi_spark.features.windows import Partials, read_snapshots
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig, Ratio
    from remedi_spark.features.snapshots import Grid


def build_owner_features(
    spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame] | None = None
) -> DataFrame:
    """Return owner_id (string), snapshot_date (date), features and label: a row for every eligible owner and snapshot.

    Args:
        frames: Sources and attributes by name that are already at hand; the others are read from where they are
            declared.

    Note:
        Snapshot t is the end of day t: features use events with day ≤ t that were known by t (arrival ≤ t); the label
        is over the days (t + gap, t + gap + horizon] and null where these pass the end of the data. Days are those of
        the session's time zone. Small lookups run at once (bounds of the data, the label's category, top levels); the
        result itself is lazy.

    Raises:
        InputError: When the configuration does not fit the data: an unknown column or category, arithmetic on strings,
            no snapshot with a whole label window, no eligible owner.
    """
    return assemble(prepare(spark, config, frames))


def compute_partials(
    blueprint: Blueprint,
    source: str,
    events: DataFrame | None = None,
    *,
    by_owner: bool = False,
    without: Collection[str] = (),
) -> Partials:
    """Aggregate the events of a source (or those given, a part of them) to what all snapshots are read from.

    ``by_owner`` brings an owner's events together first: aggregates that are read at once need not be moved again.
    ``without`` are names of cells and label totals that are left out.
    """
    rows = blueprint.events[source] if events is None else events
    rows = rows.repartition(OWNER) if by_owner else rows
    own = [cell for cell in blueprint.cells(source) if cell.name not in without]
    cells = [cell for cell in own if cell.partial != "values"]
    numbers = [cell for cell in cells if cell.partial in NUMERIC_PARTIALS and not cell.text]
    wanted = [cell.of for cell in numbers if cell.of is not None]
    labels = {label.totals: label for label in blueprint.labels if label.config.source == source}
    labels = {totals: label for totals, label in labels.items() if totals[0] not in without}
    wanted += [label.config.of for label in labels.values() if label.config.of is not None]
    valued, amounts = with_amounts(rows, wanted)
    totals = [total for label in labels.values() for total in label.partials(amounts)]
    distinct = [cell for cell in own if cell.partial == "values"]
    values = daily_values(rows, distinct) if distinct else None
    sparse = events is None and any(cell.partial in LISTS for cell in cells) and is_sparse(rows)
    return Partials(daily_partials(valued, cells, amounts, totals, sparse=sparse), values, by_owner)


def assemble(
    blueprint: Blueprint, partials: Mapping[str, Partials] | None = None, days: Iterable[dt.date] | None = None
) -> DataFrame:
    """Build the table of owner features lazily.

    Args:
        partials: Stored partials of all sources; None: computed from the events.
        days: The snapshots to build; None: all.
    """
    config = blueprint.config
    grid = blueprint.grid if days is None else blueprint.grid.only(days)
    # Rows of several tables are moved once more when they are put together.
    one_table = len(blueprint.events) == 1 and all(
        reading.view != "distinct" and reading.cell.partial not in LISTS for reading in blueprint.readings
    )
    kept = partials or {source: compute_partials(blueprint, source, by_owner=one_table) for source in blueprint.events}
    rows = _eligible(
        blueprint, read_snapshots(kept, blueprint.readings, grid, [one.reading for one in blueprint.labels])
    )
    values = rows.select(
        OWNER,
        SNAPSHOT,
        *(feature.value.alias(feature.entry.name) for feature in blueprint.features),
        *(label.value(grid, newest(blueprint)) for label in blueprint.labels),
    )
    values = with_ratios(values, config.ratios)
    for name in blueprint.custom:
        values = with_custom(values, blueprint, name, grid)
    for name, frame in blueprint.attributes.items():
        names = blueprint.attribute_names[name]
        named = frame.select(*(F.col(quoted(c)).alias(names.get(c, c)) for c in frame.columns))
        values = join_attributes(values, named, config.attributes[name], grid, f"features.attributes.{name}")
    return values.select(OWNER, SNAPSHOT, *(F.col(quoted(entry.name)) for entry in blueprint.entries))


def with_ratios(rows: DataFrame, ratios: Mapping[str, Ratio]) -> DataFrame:
    """Add ratios of features to rows."""
    found = {name: ratio(*(F.col(quoted(part)).cast("double") for part in r.over)) for name, r in ratios.items()}
    return rows.withColumns(found) if found else rows


def with_custom(rows: DataFrame, blueprint: Blueprint, name: str, grid: Grid) -> DataFrame:
    """Add the features of a custom class to rows of (owner, snapshot)."""
    events = {source: blueprint.events[source] for source in blueprint.config.custom[name].sources}
    return join_custom(rows, name, blueprint.custom[name], events, grid)


def newest(blueprint: Blueprint) -> Column | None:
    """Return the day of an owner's latest known event, as far as it is read."""
    if not recent_only(blueprint.config):
        return None
    latest = [F.col(latest_event(source).name) for source in blueprint.events]
    return latest[0] if len(latest) == 1 else F.greatest(*latest)


def _eligible(blueprint: Blueprint, rows: DataFrame) -> DataFrame:
    within, latest = blueprint.config.eligibility.active_within_days, newest(blueprint)
    return rows if within is None or latest is None else rows.filter(F.datediff(SNAPSHOT, latest) < within)
