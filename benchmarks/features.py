"""Owner features beside DuckDB SQL, and a day's refresh beside a full rebuild.

    python benchmarks/features.py compare --events 1000000
    python benchmarks/features.py refresh --events 1000000
    python benchmarks/features.py more --events 1000000
    python benchmarks/features.py add --events 1000000

``compare`` writes one event log as Parquet and computes the same features from it three times: DuckDB SQL (pip install
duckdb) to Parquet, ``build_owner_features`` to Parquet, and the whole stage (contract, stored partials, Delta tables,
counts). It checks that every value is equal and prints seconds of wall clock and of CPU. ``refresh`` builds a year with
weekly snapshots, then adds seven days one by one (1 % of each late) as new files, and compares what a refresh costs
with a full rebuild; with ``--label rare`` one event in 565 is one of the label, as a purchase is, instead of one in 8.
``more`` builds the stage of ``compare`` as it is and with ten more aggregations. ``add`` builds a year, adds a
ratio, two features and a label to the configuration one by one, and compares what each costs with a full rebuild.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.loading import merge
from remedi_spark.config.spark import SparkConfig
from remedi_spark.features import stage
from remedi_spark.features.build import build_owner_features
from remedi_spark.simulation.draws import Draws
from remedi_spark.spark.session import get_session
from remedi_spark.storage.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

START = dt.date(2024, 1, 1)
KINDS = ("visit", "service", "parts", "web", "mail", "call", "finance", "stock")
WINDOWS = (7, 28, 84)
EVENTS_AN_OWNER = 75
HORIZON = 28
DUCKDB_MEMORY = "10GB"
"""Its default is four fifths of the machine's, which the JVM beside it needs a part of."""
LABELS = {"common": "kind = 'finance'", "rare": "kind = 'finance' AND amount > 180"}
"""Which events the label counts: with the second, 1 owner in 100 has one within the horizon."""


@dataclass
class Clock:
    """Seconds of wall clock and of CPU: this process, the JVM and Spark's Python workers."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured(spark: SparkSession) -> Iterator[Clock]:
    """Measure what happens inside the block."""
    clock = Clock()
    wall, cpu = time.monotonic(), _cpu(spark)
    yield clock
    clock.wall, clock.cpu = time.monotonic() - wall, _cpu(spark) - cpu


def _cpu(spark: SparkSession) -> float:
    """CPU seconds so far of this process, of the JVM and of all that it has started; on Linux only."""
    gateway: Any = spark.sparkContext._gateway
    processes = {int(path.parent.name): _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
    inside = {gateway.proc.pid}
    while more := {pid for pid, stat in processes.items() if stat and stat[0] in inside} - inside:
        inside |= more
    return sum(os.times()[:2]) + sum(stat[1] for pid in inside if (stat := processes.get(pid)))


def _stat(path: Path) -> tuple[int, float] | None:
    """Return a process's parent and the CPU seconds of itself and of its children that have ended."""
    try:
        fields = path.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:  # it has ended meanwhile
        return None
    return int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def event_log(spark: SparkSession, events: int, days: int, seed: int) -> DataFrame:
    """Return owner, at, arrived, kind and amount of so many events; one in a hundred arrives up to 30 days late."""
    from pyspark.sql import functions as F

    draws, number = Draws(seed), F.col("id")
    owners = max(1, events // EVENTS_AN_OWNER)
    second = F.floor(draws.uniform("at", number) * days * 86_400)
    midnight = int(dt.datetime.combine(START, dt.time(), dt.UTC).timestamp())
    late = F.when(draws.uniform("late", number) < 0.01, 1 + F.floor(draws.uniform("delay", number) * 30)).otherwise(0)
    return spark.range(events).select(
        F.floor(draws.uniform("owner", number) * owners).cast("bigint").alias("owner"),
        F.timestamp_seconds(midnight + second).alias("at"),
        F.timestamp_seconds(midnight + second + late * 86_400).alias("arrived"),
        draws.choice(KINDS, "kind", number).alias("kind"),
        F.round(F.exp(3 + draws.normal("amount", number)), 2).alias("amount"),
    )


def declared(path: Path, days: int, every: int, *, arrival: bool, label: str = "common") -> FeaturesConfig:
    """Return 8 kinds x 3 windows of counts and sums, totals, and recency: 77 features."""
    measures = {"count": {"aggregate": "count"}, "sum": {"aggregate": "sum", "of": "amount"}}
    last = {"days_since_last": {"aggregate": "days_since_last"}}
    extremes = {"max": {"aggregate": "max", "of": "amount"}, "mean": {"aggregate": "mean", "of": "amount"}}
    kinds = {"source": "events", "each": "kind", "levels": list(KINDS), "measures": measures | last}
    return FeaturesConfig.model_validate(
        {
            "entity": "owner",
            "sources": {
                "events": {
                    "path": str(path), "event_time": "at", "arrival_time": "arrived" if arrival else None,
                }
            },
            "windows": list(WINDOWS),
            "groups": {
                "total": {"source": "events", "measures": measures | last | extremes},
                "kind": kinds,
            },
            "label": {"source": "events", "filter": LABELS[label], "horizon_days": HORIZON},
            "snapshots": {
                "start": START + dt.timedelta(days=84), "every_days": every, "censored": "none",
                "data_end": START + dt.timedelta(days=days - 1) if not arrival else None,
            },
        }
    )  # fmt: skip


def duckdb_sql(source: Path, out: Path, snapshots: list[dt.date]) -> str:
    """Return the same features as one would write them by hand: one join on the widest window, one running maximum."""
    days = ", ".join(f"(DATE '{day}')" for day in snapshots)
    groups = [("total", "true"), *((f"kind_{kind}", f"kind = '{kind}'") for kind in KINDS)]
    columns, last, running, chosen = [], [], [], []
    for name, where in groups:
        for window in WINDOWS:
            inside = f"FILTER (WHERE {where} AND day > t - {window})"
            columns.append(f"count(*) {inside} AS {name}_count_{window}d")
            columns.append(f"sum(cents) {inside} AS {name}_cents_{window}d")
            chosen.append(f"coalesce({name}_count_{window}d, 0) AS {name}_count_{window}d")
            chosen.append(f"coalesce({name}_cents_{window}d, 0) / 1e6 AS {name}_sum_{window}d")
            if name == "total":
                columns.append(f"max(amount) {inside} AS total_max_{window}d")
                chosen.append(f"total_max_{window}d")
                chosen.append(
                    f"(total_cents_{window}d / 1e6) / nullif(total_count_{window}d, 0) AS total_mean_{window}d"
                )
        last.append(f"max(day) FILTER (WHERE {where}) AS {name}_last")
        running.append(f"max({name}_last) OVER so_far AS {name}_last")
        chosen.append(f"date_diff('day', {name}_last, t) AS {name}_days_since_last")
    return f"""
COPY (
WITH snapshots(t) AS (VALUES {days}),
events AS (
    SELECT owner, CAST("at" AS DATE) AS day, kind, amount, CAST(round(amount * 1e6) AS BIGINT) AS cents
    FROM read_parquet('{source}/*.parquet')
),
windows AS (
    SELECT owner, t, {", ".join(columns)}
    FROM events JOIN snapshots ON day <= t AND day > t - {max(WINDOWS)} GROUP BY owner, t
),
firsts AS (SELECT owner, min(day) AS first FROM events GROUP BY owner),
known AS (SELECT owner, t FROM firsts JOIN snapshots ON first <= t),
steps AS (
    SELECT owner, (SELECT min(t) FROM snapshots WHERE t >= day) AS t, kind, day FROM events
),
lasts AS (SELECT owner, t, {", ".join(last)} FROM steps WHERE t IS NOT NULL GROUP BY owner, t),
history AS (
    SELECT owner, t, {", ".join(running)} FROM known LEFT JOIN lasts USING (owner, t)
    WINDOW so_far AS (PARTITION BY owner ORDER BY t)
),
labels AS (
    SELECT DISTINCT owner, t FROM events JOIN snapshots ON day > t AND day <= t + {HORIZON} WHERE kind = 'finance'
)
SELECT CAST(owner AS VARCHAR) AS owner_id, t AS snapshot_date, {", ".join(chosen)},
       CASE WHEN labels.owner IS NULL THEN 0 ELSE 1 END AS label
FROM history LEFT JOIN windows USING (owner, t) LEFT JOIN labels USING (owner, t)
) TO '{out}' (FORMAT parquet)
"""


def compare(spark: SparkSession, events: int, days: int, seed: int, folder: Path, *, alone: bool = False) -> None:
    """Compute the features on both sides, check that they are equal, print what they took; ``alone``: no DuckDB."""
    source, mine, theirs = folder / "events.parquet", folder / "spark.parquet", folder / "duckdb.parquet"
    event_log(spark, events, days, seed).write.parquet(str(source))
    config = declared(source, days, 28, arrival=False)
    tables = Tables(spark, str(folder / "run"))
    with measured(spark) as by_stage:
        stage.run(tables, config, today=START + dt.timedelta(days=days))
    with measured(spark) as by_spark:
        build_owner_features(spark, config).write.mode("overwrite").parquet(str(mine))
    stored = tables.read("owner_features")
    if alone:
        print(f"events {events:>11,}  rows {stored.count():>10,}", flush=True)
        for name, clock in (("build_owner_features", by_spark), ("stage, partials kept", by_stage)):
            print(f"  {name}  {clock.wall:8.1f} s wall {clock.cpu:8.1f} s cpu", flush=True)
        return
    import duckdb

    snapshots = [row[0] for row in stored.select("snapshot_date").distinct().collect()]
    connection = duckdb.connect()
    threads = spark.sparkContext.defaultParallelism
    connection.execute(f"SET threads = {threads}; SET memory_limit = '{DUCKDB_MEMORY}'; SET TimeZone = 'UTC'")
    connection.execute(f"SET temp_directory = '{folder}/spill'")
    with measured(spark) as by_duckdb:
        connection.execute(duckdb_sql(source, theirs, sorted(snapshots)))
    columns = spark.read.parquet(str(mine)).columns
    listed = ", ".join(columns)
    left, right = f"(SELECT {listed} FROM '{mine}/*.parquet')", f"(SELECT {listed} FROM '{theirs}')"
    stage_rows = _differing(stored, spark.read.parquet(str(mine)))
    differing, rows = (
        connection.execute(query).fetchall()[0][0]
        for query in (
            f"SELECT count(*) FROM (({left} EXCEPT {right}) UNION ALL ({right} EXCEPT {left}))",
            f"SELECT count(*) FROM {left}",
        )
    )
    print(
        f"events {events:>11,}  rows {rows:>10,}  features {len(columns) - 3}  differing rows {differing}\n"
        f"  duckdb                {by_duckdb.wall:8.1f} s wall {by_duckdb.cpu:8.1f} s cpu\n"
        f"  build_owner_features  {_beside(by_spark, by_duckdb)}\n"
        f"  stage, partials kept  {_beside(by_stage, by_duckdb)}",
        flush=True,
    )
    if differing or stage_rows:
        raise SystemExit("the two sides differ")


MORE = {
    "median": {"aggregate": "median", "of": "amount"},
    "p90": {"aggregate": "approx_percentile", "at": 0.9, "of": "amount"},
    "variance": {"aggregate": "variance", "of": "amount"}, "skew": {"aggregate": "skew", "of": "amount"},
    "last": {"aggregate": "last", "of": "amount"}, "largest": {"aggregate": "top_k", "k": 3, "of": "amount"},
    "kinds": {"aggregate": "approx_distinct", "of": "kind"}, "gap_max": {"aggregate": "gap_max"},
    "streak": {"aggregate": "streak_max"}, "regularity": {"aggregate": "regularity"},
}  # fmt: skip
"""Ten more aggregations, each over the widest window."""


def more(spark: SparkSession, events: int, days: int, seed: int, folder: Path, *, rounds: int = 2) -> None:
    """Build the stage with and without ten more aggregations, turn by turn; print seconds and their ratio."""
    source = folder / "events"
    event_log(spark, events, days, seed).write.parquet(str(source))
    plain = declared(source, days, 7, arrival=True)
    total = plain.groups["total"]
    tree = plain.model_dump(mode="json")
    tree["groups"]["total"]["measures"] |= {name: {**one, "windows": [WINDOWS[-1]]} for name, one in MORE.items()}
    sides = {"as it is": plain, "ten more": FeaturesConfig.model_validate(tree)}
    assert len(sides["ten more"].groups["total"].measures) == len(total.measures) + 10
    found: dict[str, list[Clock]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, config in sides.items():
            tables = Tables(spark, str(folder / f"{name}{turn}"))
            with measured(spark) as clock:
                stage.run(tables, config)
            found[name].append(clock)
            shutil.rmtree(folder / f"{name}{turn}")
            print(f"  {name}  {clock.wall:8.1f} s wall {clock.cpu:8.1f} s cpu", flush=True)
    best = {name: Clock(min(c.wall for c in clocks), min(c.cpu for c in clocks)) for name, clocks in found.items()}
    a, b = best["as it is"], best["ten more"]
    print(f"events {events:,}: ten more / as it is {b.wall / a.wall:.2f} x wall {b.cpu / a.cpu:.2f} x cpu", flush=True)


ADDED: dict[str, dict[str, Any]] = {
    "a ratio": {"ratios": {"a_visit": {"over": ["total_sum_84d", "total_count_84d"]}}},
    "a count of a kind of event": {"groups": {"dear": {
        "source": "events", "where": "amount > 60", "windows": [28], "measures": {"count": {"aggregate": "count"}}}}},
    "a sum": {"groups": {"web": {
        "source": "events", "where": "kind IN ('web', 'mail')", "windows": [28],
        "measures": {"sum": {"aggregate": "sum", "of": "amount"}}}}},
    "a label": {"labels": {"service": {"source": "events", "filter": "kind = 'service'", "horizon_days": HORIZON}}},
}  # fmt: skip
"""What ``add`` adds to the configuration, one by one."""


def add(spark: SparkSession, events: int, days: int, seed: int, folder: Path) -> None:
    """Build a year, add one column after the other, rebuild with all; print what each takes."""
    source = folder / "events"
    event_log(spark, events, days, seed).write.parquet(str(source))
    config, tables = declared(source, days, 7, arrival=True), Tables(spark, str(folder / "run"))
    with measured(spark) as first:
        stage.run(tables, config)
    print(
        f"events {events:,} over {days} days\n  first build  {first.wall:8.1f} s wall {first.cpu:8.1f} s cpu",
        flush=True,
    )
    taken = {}
    for name, over in ADDED.items():
        config = FeaturesConfig.model_validate(merge(config.model_dump(mode="json"), over))
        with measured(spark) as taken[name]:
            done = stage.run(tables, config)
        if done["mode"] != "added":
            raise SystemExit(f"{name}: {done['mode']}, expected that a column is added")
    rebuilt = Tables(spark, str(folder / "rebuilt"))
    with measured(spark) as full:
        stage.run(rebuilt, config)
    rows, features = tables.read("owner_features").count(), done["features"]
    for name, clock in taken.items():
        print(f"  {name:<27} {_share(clock, full)}")
    print(
        f"  full rebuild of {rows:,} rows, {features} features {full.wall:8.1f} s wall {full.cpu:8.1f} s cpu",
        flush=True,
    )
    if _differing(*(part.read("owner_features") for part in (tables, rebuilt))):
        raise SystemExit("the result differs from the rebuild")


def _beside(mine: Clock, theirs: Clock) -> str:
    ratios = f"{mine.wall / theirs.wall:.2f} x wall {mine.cpu / theirs.cpu:.2f} x cpu"
    return f"{mine.wall:8.1f} s wall {mine.cpu:8.1f} s cpu  {ratios}"


def refresh(spark: SparkSession, events: int, days: int, seed: int, folder: Path, *, label: str = "common") -> None:
    """Build a year, refresh it on seven days, rebuild the same; print what a day costs."""
    from pyspark.sql import functions as F

    source = folder / "events"
    log = event_log(spark, events, days, seed).withColumn("known", F.to_date(F.greatest("at", "arrived")))
    # A week from the day of a snapshot on, on which a label window ends too: the dearest day there is.
    first_day = START + dt.timedelta(days=84 + (days - 91) // 7 * 7)
    past = log.filter(F.col("known") < F.lit(first_day)).repartition(spark.sparkContext.defaultParallelism)
    past.drop("known").write.format("delta").save(str(source))
    config = declared(source, days, 7, arrival=True, label=label)
    tables = Tables(spark, str(folder / "run"))
    with measured(spark) as first:
        stage.run(tables, config, today=first_day)
    week = []
    for today in (first_day + dt.timedelta(days=step) for step in range(7)):
        new = log.filter(F.col("known") == F.lit(today)).drop("known")
        new.write.format("delta").mode("append").save(str(source))
        with measured(spark) as day:
            stage.run(tables, config, today=today)
        week.append(day)
    rebuilt = Tables(spark, str(folder / "rebuilt"))
    with measured(spark) as full:
        stage.run(rebuilt, config, today=today)
    a, b = (part.read("owner_features") for part in (tables, rebuilt))
    differing = _differing(a, b)
    mean = Clock(*(sum(getattr(day, of) for day in week) / 7 for of in ("wall", "cpu")))
    print(
        f"events {events:,} over {days} days, {a.count():,} rows, weekly snapshots, {label} label, differing rows"
        f" {differing}\n"
        f"  first build               {first.wall:8.1f} s wall {first.cpu:8.1f} s cpu\n"
        f"  full rebuild              {full.wall:8.1f} s wall {full.cpu:8.1f} s cpu\n"
        f"  refresh, a snapshot's day {_share(week[0], full)}\n"
        f"  refresh, the day after    {_share(week[1], full)}\n"
        f"  refresh, mean of the week {_share(mean, full)}",
        flush=True,
    )
    if differing:
        raise SystemExit("the refresh differs from the rebuild")


def _differing(a: DataFrame, b: DataFrame) -> int:
    """Count rows of either table that the other has not, by a hash of the whole row."""
    from pyspark.sql import functions as F

    def hashed(frame: DataFrame) -> DataFrame:
        return frame.select(F.xxhash64(*a.columns).alias("row"), F.hash(*a.columns).alias("again"))

    return hashed(a).exceptAll(hashed(b)).count() + hashed(b).exceptAll(hashed(a)).count()


def _share(day: Clock, full: Clock) -> str:
    of_full = f"of a rebuild {day.wall / full.wall:.3f}, {day.cpu / full.cpu:.3f}"
    return f"{day.wall:8.1f} s wall {day.cpu:8.1f} s cpu  {of_full}"


def main() -> None:
    """Run one of the benchmarks in a scratch folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare", "refresh", "more", "add"))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=None, help="default: 730 to compare, else 365")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="of compare: no DuckDB, which may spill much to disk")
    parser.add_argument("--label", choices=tuple(LABELS), default="common", help="of refresh: how many events count")
    parser.add_argument("--master", default=None, help="local[2], …; default: all cores")
    parser.add_argument("--compiler", choices=("quick", "full"), default="full", help="of the JVM; see SparkConfig")
    parser.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE", help="a Spark setting")
    parser.add_argument("--warm-up", type=int, default=0, help="events of a first round that is not reported")
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the data; default: a temporary one")
    given = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in given.setting)
    spark = get_session(SparkConfig(master=given.master, compiler=given.compiler, settings=settings))
    days = given.days or (730 if given.what == "compare" else 365)
    command: Callable[..., None] = partial(compare, alone=given.alone)
    if given.what in ("more", "add"):
        command = {"more": more, "add": add}[given.what]
    if given.what == "refresh":
        command = partial(refresh, label=given.label)
    for events in filter(None, (given.warm_up, given.events)):
        folder = Path(tempfile.mkdtemp(dir=given.scratch))
        try:
            command(spark, events, days, given.seed, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
