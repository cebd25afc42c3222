"""``remedi simulate``: the tables of the world, written as Delta folders.

=================  ===================================================================================
owners             owner_id, region, segment, age
vehicles           vehicle_id, owner_id, model, finance_months, registered_at
service_visits     event_id, owner_id, vehicle_id, visited_at, arrived_at, amount
web_visits         event_id, owner_id, visited_at, arrived_at, page, seconds
campaigns          event_id, owner_id, sent_at, arrived_at, opened
purchases          event_id, owner_id, purchased_at, arrived_at, amount
truth              owner_id, snapshot_date, probability: never an input of features
=================  ===================================================================================
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.errors import InputError
from remedi_spark.progress import log
from remedi_spark.reading.paths import is_remote
from remedi_spark.simulation import behaviour as b
from remedi_spark.simulation.draws import Draws
from remedi_spark.storage.places import local_name
from remedi_spark.storage.tables import Tables, is_catalog_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SETTINGS = "world.json"
CALIBRATION_OWNERS = 100_000
"""So many owners are enough to set the base rate to within 1 % of itself."""
TRUTH = "truth"


@dataclass(frozen=True)
class World:
    """What shapes a world.

    Args:
        owners: Number of owners, at least 1.
        seed: The same seed gives the same tables, however they are partitioned.
        base_rate: Mean probability of a purchase in the 28 days after a snapshot, in (0, 1).
        late_share: Share of the events that arrive 1 to 30 days late; the others arrive on their day.
        dirty_share: Bad rows as a share of the good ones. They are added: the good rows stay what they are without
            them.
        days: Length, at least 168: three periods of history, one snapshot, and periods for its label and a test.
    """

    owners: int
    seed: int = 0
    base_rate: float = 0.005
    late_share: float = 0.0
    dirty_share: float = 0.0
    days: int = 730

    def __post_init__(self) -> None:
        bounds = {
            "owners": (self.owners >= 1, "at least 1"),
            "base_rate": (0 < self.base_rate < 1, "a number in (0, 1)"),
            "late_share": (0 <= self.late_share <= 1, "a number in [0, 1]"),
            "dirty_share": (0 <= self.dirty_share <= 1, "a number in [0, 1]"),
            "days": (self.days >= 6 * b.PERIOD, f"at least {6 * b.PERIOD}"),
        }
        for name, (fine, expected) in bounds.items():
            if not fine:
                raise InputError(f"--{name.replace('_', '-')}: found {getattr(self, name)}, expected {expected}")

    @property
    def periods(self) -> int:
        """Number of whole periods."""
        return self.days // b.PERIOD


def simulate(spark: SparkSession, world: World, out: str) -> dict[str, int]:
    """Write the world's tables below the folder ``out`` (or to the schema ``out``); return their numbers of rows.

    Raises InputError when the folder exists and is something else than a former world.
    """
    _refuse_foreign(out)
    tables = Tables(spark, out)
    rows: dict[str, int] = {}
    for name, frame in build(spark, world).items():
        tables.overwrite(frame, name)
        rows[name] = tables.read(name).count()
        log("simulate", f"{name}: {rows[name]} rows")
    if not tables.in_catalog:
        (Path(out) / SETTINGS).write_text(json.dumps(asdict(world), indent=2), encoding="utf-8")
    return rows


def build(spark: SparkSession, world: World) -> dict[str, DataFrame]:
    """Return the tables lazily, by name (one small aggregate runs at once: it sets the base rate)."""
    draws = Draws(world.seed)
    people = b.owners(spark, world.owners, world.days, draws)
    sample = b.owners(spark, min(world.owners, CALIBRATION_OWNERS), world.days, draws)
    a = b.constant(_snapshots(sample, world, draws), world.base_rate)
    every = b.periods(people, 0, world.periods + 1)
    chances = _snapshots(people, world, draws).withColumn("probability", 1.0 / (1.0 + F.exp(-(a + F.col("logit")))))
    events = {
        "service_visits": _service_visits(every, draws),
        "web_visits": _web_visits(every, draws),
        "campaigns": _campaigns(every, draws),
        "purchases": _purchases(chances, draws),
    }
    return {
        "owners": people.select("owner_id", "region", "segment", "age"),
        "vehicles": people.select(
            (F.col("owner_id") + 1_000_000_000).alias("vehicle_id"), "owner_id", "model", "finance_months",
            _date(F.col("registered_day")).cast("timestamp").alias("registered_at"),
        ),
        **{name: _published(name, frame, world, draws) for name, frame in events.items()},
        TRUTH: chances.select("owner_id", _date(F.col("period") * b.PERIOD - 1).alias("snapshot_date"), "probability"),
    }  # fmt: skip


def _snapshots(people: DataFrame, world: World, draws: Draws) -> DataFrame:
    """Return owner_id, period and logit for every snapshot at which the owner is known and the label is whole."""
    known = b.periods(people, b.FIRST_PERIOD, world.periods).filter(
        F.col("registered_day") < F.col("period") * b.PERIOD
    )
    return known.select("owner_id", "period", b.propensity(draws).alias("logit"))


def _service_visits(every: DataFrame, draws: Draws) -> DataFrame:
    rows = every.filter(b.has_service(draws, F.col("period"))).withColumn("number", F.lit(0))
    amount = F.round(F.exp(5.2 + 0.6 * draws.normal("service amount", *_key())), 2)
    return _timed(rows, draws, "service", "visited_at").select(
        *_TIMED, (F.col("owner_id") + 1_000_000_000).alias("vehicle_id"), amount.alias("amount")
    )


def _web_visits(every: DataFrame, draws: Draws) -> DataFrame:
    period = F.col("period")
    configurator = b.configurator_visits(draws, period)
    rows = every.withColumns({"configurator": configurator, "visits": b.web_visits(draws, period) + configurator})
    numbered = rows.filter("visits > 0").withColumn("number", F.explode(F.expr("sequence(0, visits - 1)")))
    others = tuple(page for page in b.PAGES if page != "configurator")
    page = F.when(F.col("number") < F.col("configurator"), "configurator").otherwise(
        draws.choice(others, "page", *_key())
    )
    seconds = F.ceil(-60.0 * F.log(draws.uniform("seconds", *_key()))).cast("int")
    return _timed(numbered, draws, "web", "visited_at").select(*_TIMED, page.alias("page"), seconds.alias("seconds"))


def _campaigns(every: DataFrame, draws: Draws) -> DataFrame:
    rows = every.filter(b.has_mail(draws, F.col("period"))).withColumn("number", F.lit(0))
    opened = b.opens_mail(draws, F.col("period")).cast("int")
    return _timed(rows, draws, "mail", "sent_at").select(*_TIMED, opened.alias("opened"))


def _purchases(chances: DataFrame, draws: Draws) -> DataFrame:
    bought = draws.uniform("purchase", F.col("owner_id"), F.col("period")) < F.col("probability")
    rows = chances.filter(bought).withColumns({"number": F.lit(0), "registered_day": F.lit(-b.OLDEST_DAYS)})
    amount = F.round(F.exp(9.8 + 0.4 * draws.normal("price", *_key())), 2)
    return _timed(rows, draws, "purchase day", "purchased_at").select(*_TIMED, amount.alias("amount"))


_TIMED = ("event_id", "owner_id", "time")


def _key() -> tuple[Column, ...]:
    return F.col("owner_id"), F.col("period"), F.col("number")


def _timed(rows: DataFrame, draws: Draws, stream: str, name: str) -> DataFrame:
    """Add event_id and a time within the period; events before the vehicle's registration are left out."""
    day = F.col("period") * b.PERIOD + F.floor(draws.uniform(f"{stream} day", *_key()) * b.PERIOD).cast("int")
    second = F.floor(draws.uniform(f"{stream} second", *_key()) * 86_400)
    midnight = F.unix_timestamp(_date(F.col("__day_number")).cast("timestamp"))
    placed = rows.withColumn("__day_number", day).filter("__day_number >= registered_day")
    return placed.withColumns(
        {
            "event_id": F.concat_ws("-", F.lit(_SHORT[name, stream]), *_key()),
            "time": F.timestamp_seconds(midnight + second),
        }
    )


_SHORT = {
    ("visited_at", "service"): "s", ("visited_at", "web"): "w", ("sent_at", "mail"): "m",
    ("purchased_at", "purchase day"): "p",
}  # fmt: skip
_TIMES = {
    "service_visits": "visited_at",
    "web_visits": "visited_at",
    "campaigns": "sent_at",
    "purchases": "purchased_at",
}


def _published(name: str, events: DataFrame, world: World, draws: Draws) -> DataFrame:
    """Cut at the end of the world, add the time of arrival and, on request, bad rows."""
    end = F.to_timestamp(F.lit(str(b.START + dt.timedelta(days=world.days))))
    event = F.col("event_id")
    late = draws.uniform("late", event) < world.late_share
    delay = F.when(late, F.lit(86_400) * (1 + F.floor(draws.uniform("delay", event) * 30))).otherwise(0)
    arrived = F.timestamp_seconds(F.unix_timestamp("time") + delay)
    rows = events.filter(F.col("time") < end).withColumn("arrived_at", arrived)
    if world.dirty_share > 0:
        rows = rows.unionByName(_bad_rows(rows.filter(draws.uniform("dirty", event) < world.dirty_share), draws))
    return rows.withColumnRenamed("time", _TIMES[name])


def _bad_rows(copies: DataFrame, draws: Draws) -> DataFrame:
    """Turn copies of good rows into bad ones: no owner, no time, a time far in the future, or the same event again."""
    event = F.col("event_id")
    kinds: tuple[Callable[[str], Column], ...] = (
        lambda name: F.lit(None) if name == "owner_id" else F.col(name),
        lambda name: F.lit(None) if name == "time" else F.col(name),
        lambda name: F.to_timestamp(F.lit("2999-01-01")) if name == "time" else F.col(name),
    )
    kind = F.floor(draws.uniform("kind of dirt", event) * (len(kinds) + 1))
    columns = []
    for name in copies.columns:
        value = F.col(name)
        for number, spoil in enumerate(kinds):
            value = F.when(kind == number, spoil(name)).otherwise(value)
        columns.append(value.cast(copies.schema[name].dataType).alias(name))
    return copies.select(*columns)


def _date(day: Column) -> Column:
    return F.date_add(F.lit(b.START), day.cast("int"))


def _refuse_foreign(out: str) -> None:
    if is_catalog_name(out) or is_remote(out):
        return
    path = Path(local_name(out))
    begun = (path / SETTINGS).exists() or (path / "owners" / "_delta_log").exists()
    if path.is_file() or (path.exists() and any(path.iterdir()) and not begun):
        raise InputError(f"--out {out}: exists and is not a simulated world; give a new folder or a former world")
