"""Who the owners are, what they do in a period of 28 days, and how likely they are to buy in the next one.

Time runs in periods: period k covers the days 28 k … 28 k + 27 of the world, snapshot t_k is the last day before it.
A purchase in period k is one draw with probability

    p = σ(a + 1.1 log(1 + w) + 0.9 log(1 + c) + 0.5 s + 0.3 m + 1.2 exp(−(x / 4)² / 2) + 0.35 sin(season) + b + 0.25 z)

- w, c: web visits and visits of the configurator in period k − 1; s: a service visit, m: an opened mail then;
- x: months between t_k and the end of the vehicle's financing (the life cycle); b: the owner's customer segment;
- z: the intent of period k − 1, which nobody sees. It also drives w and c, so most of it shows in them.

Everything but z is in the tables. Nothing depends on earlier purchases. ``a`` is set so that the mean of p is the base
rate asked for. All counts are redrawn from their hash wherever they are needed, so that no step waits for another.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.simulation.draws import Draws

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

START = dt.date(2024, 1, 1)
"""Day 0 of the world."""
PERIOD = 28
"""Days of a period: the label's horizon."""
FIRST_PERIOD = 3
"""The first period with a snapshot: three periods of history lie before it."""
REGIONS = ("north", "east", "south", "west", "centre", "islands")
SEGMENTS = ("private", "family", "business")
MODELS = ("city", "compact", "estate", "suv", "van")
TERMS = (24, 36, 48)
"""Months of financing."""
PAGES = ("home", "service", "configurator", "finance", "stock")
OLDEST_DAYS = 4 * 365
"""Vehicles were registered from so many days before the world's first day on …"""
NEWCOMERS = 0.2
"""… but for this share of the owners, who come during it."""


def owners(spark: SparkSession, count: int, days: int, draws: Draws) -> DataFrame:
    """Return one row an owner: id, attributes, and the day (number) of registration."""
    owner = F.col("owner_id")
    newcomer = draws.uniform("newcomer", owner) < NEWCOMERS
    when = draws.uniform("registered", owner)
    registered = F.when(newcomer, F.floor(when * days)).otherwise(F.floor(when * OLDEST_DAYS) - OLDEST_DAYS)
    return spark.range(1, count + 1).select(
        F.col("id").alias("owner_id"),
    ).withColumns(
        {
            "region": draws.choice(REGIONS, "region", owner),
            "segment": draws.choice(SEGMENTS, "segment", owner),
            "age": F.greatest(F.lit(18), F.round(48 + 14 * draws.normal("age", owner)).cast("int")),
            "registered_day": registered.cast("int"),
            "model": draws.choice(MODELS, "model", owner),
            "finance_months": draws.choice(tuple(map(str, TERMS)), "term", owner).cast("int"),
        }
    )  # fmt: skip


def periods(people: DataFrame, first: int, last: int) -> DataFrame:
    """Repeat each owner for the periods first … last − 1 in which the vehicle is registered; adds ``period``."""
    numbers = F.explode(F.sequence(F.lit(first), F.lit(last - 1))).alias("period")
    return people.select("*", numbers).filter(F.col("registered_day") < (F.col("period") + 1) * PERIOD)


def web_visits(draws: Draws, period: Column) -> Column:
    """Return the number of web visits (other than of the configurator) in a period."""
    return draws.geometric(1.3 * F.exp(0.7 * intent(draws, period)), "web", F.col("owner_id"), period)


def configurator_visits(draws: Draws, period: Column) -> Column:
    """Return the number of visits of the configurator in a period."""
    return draws.geometric(0.25 * F.exp(0.9 * intent(draws, period)), "configurator", F.col("owner_id"), period)


def has_service(draws: Draws, period: Column) -> Column:
    """Whether the vehicle is serviced in a period: about twice a year, more often before summer."""
    rate = 0.15 + 0.04 * _season(period)
    return draws.uniform("service", F.col("owner_id"), period) < rate


def has_mail(draws: Draws, period: Column) -> Column:
    """Whether a campaign mail is sent in a period; who gets it is drawn without regard to intent."""
    return draws.uniform("mail", F.col("owner_id"), period) < 0.5


def opens_mail(draws: Draws, period: Column) -> Column:
    """Whether the mail, if one is sent, is opened."""
    chance = 1.0 / (1.0 + F.exp(1.2 - 0.6 * intent(draws, period)))
    return draws.uniform("opened", F.col("owner_id"), period) < chance


def intent(draws: Draws, period: Column) -> Column:
    """Return z: a trait of the owner and a mood that lasts about two periods; standard normal."""
    owner = F.col("owner_id")
    mood = (draws.normal("mood", owner, period) + draws.normal("mood", owner, period - 1)) / math.sqrt(2.0)
    return math.sqrt(0.5) * draws.normal("trait", owner) + math.sqrt(0.5) * mood


def propensity(draws: Draws) -> Column:
    """Return the logit of p without its constant, for a row of :func:`periods`."""
    before = F.col("period") - 1
    age_days = F.col("period") * PERIOD - 1 - F.col("registered_day")
    months_left = F.col("finance_months") - age_days / 30.4375
    mailed = has_mail(draws, before) & opens_mail(draws, before)
    # Nothing was done before the vehicle was registered.
    active = (F.col("registered_day") < F.col("period") * PERIOD).cast("double")
    segment = F.when(F.col("segment") == "business", 0.4).when(F.col("segment") == "family", 0.1).otherwise(-0.2)
    return (
        1.1 * F.log1p(web_visits(draws, before)) * active
        + 0.9 * F.log1p(configurator_visits(draws, before)) * active
        + 0.5 * has_service(draws, before).cast("double") * active
        + 0.3 * mailed.cast("double") * active
        + 1.2 * F.exp(-0.5 * F.pow(months_left / 4.0, F.lit(2.0)))
        + 0.35 * _season(F.col("period"))
        + segment
        + 0.25 * intent(draws, before)
    )


def constant(logits: DataFrame, base_rate: float) -> float:
    """Return a with mean σ(a + logit) = base rate, for a table with one column ``logit``.

    The logits are counted in bins of 1/256, of which there are few whatever the number of owners; a is then bisected.
    """
    bins = logits.groupBy(F.round(F.col("logit") * 256).alias("bin")).count().collect()
    counted = sorted((row["bin"] / 256, row["count"]) for row in bins)
    total = sum(count for _, count in counted)
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = sum(count / (1.0 + math.exp(-(middle + logit))) for logit, count in counted) / total
        low, high = (middle, high) if mean < base_rate else (low, middle)
    return (low + high) / 2


def _season(period: Column) -> Column:
    return F.sin(2.0 * math.pi * (period * PERIOD / 365.25 - 0.1))
