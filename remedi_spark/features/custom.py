"""Features that YAML cannot say: a Python class, given the snapshots and what was known at each of them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.features.dictionary import Entry
from remedi_spark.features.sources import DAY, KNOWN
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from remedi_spark.config.features import Custom
    from remedi_spark.features.snapshots import Grid


@runtime_checkable
class CustomFeatures(Protocol):
    """What a class named in ``features.custom.<name>.factory`` provides.

    It is made once a run, as ``Class(**options)``.

    Examples:
        The largest gap between two visits within a year::

            class LargestGap:
                window = 365

                def entries(self):
                    return [Entry("visit_gap_max", "largest gap between visits", "visits", "365 days", "days",
                                  "fewer than two visits")]

                def compute(self, snapshots, events):
                    order = Window.partitionBy("owner_id", "snapshot_date").orderBy("__day")
                    gaps = events["visits"].withColumn("gap", F.datediff("__day", F.lag("__day").over(order)))
                    return gaps.groupBy("owner_id", "snapshot_date").agg(F.max("gap").alias("visit_gap_max"))
    """

    window: int
    """Days before the snapshot that it looks back, at least 1."""

    def entries(self) -> Sequence[Entry]:
        """Return the dictionary lines of its features; their names become the columns, in this order."""
        ...

    def compute(self, snapshots: DataFrame, events: Mapping[str, DataFrame]) -> DataFrame:
        """Return owner_id, snapshot_date and one column an entry, at most one row an owner and snapshot.

        Args:
            snapshots: owner_id and snapshot_date of every eligible owner.
            events: By source: for every row of ``snapshots``, its events within the window that were known by then,
                with the columns of the source and owner_id, snapshot_date, ``__day`` (of the event) and ``__known``.
                What is not in there cannot leak.
        """
        ...


def load_custom(name: str, config: Custom) -> CustomFeatures:
    """Import and make the class.

    Raises InputError when it cannot be imported, made, or does not follow :class:`CustomFeatures`.
    """
    where = f"features.custom.{name}"
    module, _, attribute = config.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{where}.factory: {config.factory!r} cannot be imported ({error})") from error
    try:
        made = factory(**config.options)
    except TypeError as error:
        raise InputError(f"{where}.options: {config.factory} refuses {config.options} ({error})") from error
    if not isinstance(made, CustomFeatures):
        raise InputError(f"{where}.factory: {config.factory} lacks window, entries or compute; see CustomFeatures")
    if not isinstance(made.window, int) or made.window < 1:
        raise InputError(f"{where}.factory: window is {made.window!r}, expected a number of days, at least 1")
    return made


def source_hash(factory: str) -> str:
    """Return a hash of the code of the module that a factory is in; empty where it cannot be found."""
    try:
        found = importlib.util.find_spec(factory.partition(":")[0])
    except (ImportError, ValueError):
        return ""
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return ""
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def join_custom(
    rows: DataFrame, name: str, custom: CustomFeatures, events: Mapping[str, DataFrame], grid: Grid
) -> DataFrame:
    """Add the class's columns to rows of (owner, snapshot); null where it returns no row."""
    snapshots = rows.select(OWNER, SNAPSHOT)
    seen = {source: _seen(frame, snapshots, custom.window, grid) for source, frame in events.items()}
    found = custom.compute(snapshots, seen)
    names = [entry.name for entry in custom.entries()]
    if missing := [column for column in (OWNER, SNAPSHOT, *names) if column not in found.columns]:
        raise InputError(f"features.custom.{name}: compute() returned no column {missing[0]!r}; found {found.columns}")
    once = found.groupBy(OWNER, SNAPSHOT).agg(
        *(F.first(F.col(quoted(c))).alias(c) for c in names), F.count("*").alias("__rows")
    )
    checked = F.assert_true(F.col("__rows") == 1, F.lit(f"features.custom.{name}: several rows an owner and snapshot"))
    # assert_true is null when all is well; coalesce keeps it from being optimised away.
    once = once.filter(F.coalesce(checked.cast("boolean"), F.lit(True))).drop("__rows")
    return rows.join(once, [OWNER, SNAPSHOT], "left")


def _seen(events: DataFrame, snapshots: DataFrame, window: int, grid: Grid) -> DataFrame:
    known = grid.explode(events, F.col(KNOWN), F.date_add(DAY, window - 1))
    return known.join(snapshots, [OWNER, SNAPSHOT], "left_semi")
