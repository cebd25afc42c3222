"""Which segments there are, which are refused and why, and which whole segments serve what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.config.adapt import SplitConfig, TaskConfig
from remedi_spark.errors import InputError
from remedi_spark.segments.history import SEGMENT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MIN_TRAIN = 2
"""Segments that meta-training needs: from one alone nothing can be learned about how segments differ."""


@dataclass(frozen=True)
class Catalog:
    """Names of the segments by role, and the refused ones with the reason."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    refused: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def catalogue(rows: DataFrame, tasks: TaskConfig, split: SplitConfig, table: str) -> Catalog:
    """Count, refuse, split by name.

    Raises:
        InputError: fewer than two segments for meta-training, or none to validate on.
    """
    counts = rows.groupBy(SEGMENT).agg(
        F.count("*").alias("rows"),
        F.sum(LABEL).alias("positives"),
        F.count_distinct(F.when(F.col(LABEL) == 1, F.col(OWNER))).alias("owners"),
    )
    found = {row[SEGMENT]: row.asDict() for row in counts.collect()}
    reasons = {name: _reason(count, tasks.min_positives) for name, count in found.items()}
    refused = {name: reason for name, reason in sorted(reasons.items()) if reason}
    usable = sorted(name for name, reason in reasons.items() if not reason)
    # The final look is taken from all names, so that a segment's role does not hang on how rare its label is.
    names = sorted(found)
    test = {name for i, name in enumerate(names) if split.test_every and i % split.test_every == split.test_every - 1}
    rest = [name for name in usable if name not in test]
    validation = rest[split.validation_every - 1 :: split.validation_every]
    train = [name for name in rest if name not in validation]
    if len(train) < MIN_TRAIN or not validation:
        listed = "".join(f"; refused {name!r}: {reason}" for name, reason in list(refused.items())[:5])
        raise InputError(
            f"table {table}: {len(rest)} usable segments for meta-training ({len(names)} in all), expected at least "
            f"{MIN_TRAIN} to learn from and one to validate on; bring more segments or set adapt.split{listed}"
        )
    return Catalog(tuple(train), tuple(validation), tuple(n for n in usable if n in test), refused)


def _reason(count: dict[str, Any], least: int) -> str:
    if not count["positives"]:
        return "no positive row"
    if count["positives"] == count["rows"]:
        return "no negative row"
    if count["owners"] < 2 * least:
        return f"{count['owners']} owners with a positive, expected at least {2 * least} (support and query)"
    return ""
