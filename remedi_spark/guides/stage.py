"""Stage ``guide``: the owners' lists at the end of the data, as the warehouse reads them.

Columns: those of :mod:`remedi_spark.guides.guide_schema`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.config.guide import GuideConfig, Stock
from remedi_spark.errors import InputError, nearest
from remedi_spark.features.expressions import require
from remedi_spark.features.reading import read_location
from remedi_spark.guides.guide_schema import CONTRACT
from remedi_spark.guides.lists import Plan
from remedi_spark.guides.log import HISTORY, Vocabulary, as_day
from remedi_spark.guides.maths.history import BoolArray
from remedi_spark.guides.maths.views import View
from remedi_spark.guides.passes import Passes, catalogue_of
from remedi_spark.progress import log, run_id, warn
from remedi_spark.spark.kept import kept
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.spark.names import quoted
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from remedi_spark.storage.store import ModelStore

GUIDE = "guide"
NEW_ITEMS = 500
"""Most items of the stock list that no event names: each of them is scored for every owner."""


def run(workspace: Workspace, config: Config) -> None:
    """Write the lists of the last day of the data into ``guide``; only rows of that day and model are replaced."""
    moment = datetime.now(UTC).replace(microsecond=0)
    guide, tables, store = config.guide, workspace.tables, workspace.models(FINAL)
    assert guide is not None and config.features is not None, "the stage before it asks for them"
    facts = store.load("guide_facts")
    model, known = store.load_fitted("guide_model"), Vocabulary.from_dict(facts["vocabulary"])
    stocked = _stocked(tables.spark, guide, known)
    items = known if stocked is None else _with_new(known, stocked)
    shown = _shown(guide, items, facts["eligible"], len(known.names), stocked)
    version = version_of(store)
    with kept(tables.read(HISTORY)) as history:
        owners = history.select("key").distinct().count()
        passes = Passes(history, catalogue_of(items), guide, int(facts["horizon"]), owners)
        seen = passes.seen([View(int(facts["latest"]), "list")])
        scenes = passes.scenes(seen, passes.known_items(seen))
        plan = Plan(len(items.names), passes.horizon, guide.candidates, guide.top_n, shown, model)
        rows = passes.lists(seen[0], scenes[0], plan, facts["calibrators"], items.names)
        day = as_day(facts["latest"])
        names = [{"item": place, "name": name} for place, name in enumerate(items.names)]
        texts = CONTRACT.comments
        numbers = local_rows(tables.spark, names, "item int, name string")
        lists = rows.join(F.broadcast(numbers), "item").select(
            OWNER, F.to_date(F.lit(str(day))).alias(SNAPSHOT), "rank", F.col("name").alias("item"), "score", "why",
            "new_to_owner", F.lit(version).alias("model_version"), F.lit(run_id()).alias("run_id"),
            F.lit(moment).cast("timestamp").alias("scored_at"),
        )  # fmt: skip
        lists = lists.select(*(F.col(name).alias(name, metadata={"comment": text}) for name, text in texts.items()))
        where = f"{SNAPSHOT} = '{day}' AND model_version = '{version}'"
        tables.overwrite(lists, GUIDE, where=where, partition_by=(SNAPSHOT,))
    log("guide", f"{owners} owners at {day}, {int(shown.sum())} items to choose from")


def version_of(store: ModelStore) -> str:
    """Return a hash of the fitted model and of what its scores depend on."""
    model, facts = store.load_fitted("guide_model"), store.load("guide_facts")
    stated = json.dumps([facts["vocabulary"], facts["calibrators"], facts["horizon"], model.info], sort_keys=True)
    return hashlib.sha256(model.payload + stated.encode()).hexdigest()[:12]


def _stocked(spark: SparkSession, guide: GuideConfig, known: Vocabulary) -> dict[str, tuple[str, str]] | None:
    """Return the items of the stock list with parent and words, or None where there is no list."""
    if guide.stock is None:
        return None
    stock = read_location(spark, guide.stock, "guide.stock")
    require(stock, guide.stock.column, "guide.stock.column")
    item = F.trim(F.col(quoted(guide.stock.column)).cast("string"))

    def column(name: str | None) -> Any:
        there = name is not None and name in stock.columns
        return F.coalesce(F.col(quoted(str(name))).cast("string"), F.lit("")) if there else F.lit("")

    words = F.concat_ws(" ", *(column(name) for name in guide.texts))
    picked = stock.select(item.alias("item"), column(guide.parent).alias("parent"), words.alias("words"))
    listed = picked.where("item != ''").groupBy("item").agg(F.min("parent").alias("parent"), F.min("words").alias("w"))
    numbers = local_rows(spark, [{"item": name} for name in known.names], "item string")
    new = listed.join(F.broadcast(numbers), "item", "left_anti").count()
    if new > NEW_ITEMS:
        raise InputError(
            f"guide.stock: {new} of its items are in no event, expected at most {NEW_ITEMS} new ones;"
            f" is {guide.stock.column!r} the column with what guide.item names?"
        )
    found = {row["item"]: (row["parent"], row["w"]) for row in listed.collect()}
    if not found:
        raise InputError(f"guide.stock: no item in {_name(guide.stock)}, expected at least one; check its column")
    return found


def _name(stock: Stock) -> str:
    return str(stock.table or stock.path or stock.package)


def _with_new(known: Vocabulary, stocked: dict[str, tuple[str, str]]) -> Vocabulary:
    """Add the items that no event names, behind the others."""
    new = sorted(set(stocked) - set(known.names))
    return Vocabulary(
        (*known.names, *new), (*known.parents, *(stocked[name][0] for name in new)),
        (*known.texts, *(" ".join([name, *stocked[name]]) for name in new)),
    )  # fmt: skip


def _shown(
    guide: GuideConfig, items: Vocabulary, eligible: list[str], known: int, stocked: dict[str, Any] | None
) -> BoolArray:
    """Return which items may be in a list, shape (I,)."""
    for name in guide.exclude:
        if name not in items.names:
            warn("guide", f"exclude: no item {name!r}{nearest(name, items.names)}")
    fine = set(eligible) | set(items.names[known:])
    shown = np.array(
        [name in fine and name not in guide.exclude and (stocked is None or name in stocked) for name in items.names]
    )
    if not shown.any():
        raise InputError(
            f"guide: none of {len(items.names)} items is left to show, expected at least one; check guide.rates,"
            " guide.exclude and guide.stock"
        )
    return shown
