"""Stage ``guide-model``: the pooled model of owner and item pairs, measured on later snapshots, then fitted on all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER, ROW_HASH
from remedi_spark.config import Config
from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.config.guide import GuideConfig
from remedi_spark.errors import InputError
from remedi_spark.features.event_days import calendar_of
from remedi_spark.guides.blocks import Seen
from remedi_spark.guides.evaluate import calibrators_of, measured
from remedi_spark.guides.lists import Plan
from remedi_spark.guides.log import HISTORY, ITEM, as_day, blocks_for, history_table, read_events, vocabulary
from remedi_spark.guides.maths.items import Items
from remedi_spark.guides.maths.views import View
from remedi_spark.guides.passes import Passes, catalogue_of
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, TrainingSet, X
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.progress import log
from remedi_spark.report.page.guide import render_guide
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import uniform
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import write_bytes
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PAIRS = "guide_pairs"
AT_ONCE = 4
"""Views whose recommenders are held at once."""
COLD_TEST = 10
"""Buyers that a hidden item shows where cold items are measured."""
CALIBRATED_ON = 200_000
"""Pairs at most, about."""
_VALID = 0.05
_CANDIDATES = 4
"""Different pairs that the cheap scores choose of an owner, about, in units of ``candidates``."""


@dataclass(frozen=True)
class Calendar:
    """Snapshots as days since 1970: learning, testing, and the one of the lists."""

    learn: tuple[int, ...]
    test: tuple[int, ...]
    latest: int

    @classmethod
    def of(cls, first: int, end: int, horizon: int, config: GuideConfig) -> Calendar:
        """Deal out the snapshots whose horizon is over, backwards from the end of the data.

        Raises:
            InputError: there are fewer than two with a history.
        """
        days = list(range(end - horizon, first + horizon - 1, -horizon))
        days = days[: config.learning_snapshots + config.test_snapshots][::-1]
        if len(days) < 2:
            raise InputError(
                f"guide: found {len(days)} snapshots with {horizon} days before and after them in the events of"
                f" {as_day(first)} to {as_day(end)}, expected at least 2, one to learn from and one to measure on;"
                " give more history, or a shorter guide.horizon_days"
            )
        tests = min(config.test_snapshots, len(days) - 1)
        return cls(tuple(days[:-tests]), tuple(days[-tests:]), end)


def run(workspace: Workspace, config: Config) -> None:
    """Build the history, fit and measure; write ``guide_history``, ``guide_model`` and its facts, and the page."""
    features, guide = config.features, config.guide
    if features is None or guide is None:
        missing = "features" if features is None else "guide"
        raise InputError(f"configuration: no section {missing!r}; the guide is built from events by it")
    tables, horizon = workspace.tables, guide.horizon_days or features.label.horizon_days
    events, owners = read_events(tables.spark, features, guide)
    with kept(events) as rows:
        items = vocabulary(rows, guide)
        blocks = blocks_for(owners.count(), len(items.names))
        tables.overwrite(history_table(rows, owners, items, blocks), HISTORY)
    history = tables.read(HISTORY)
    with kept(history) as stored:
        count = stored.select("key").distinct().count()
        passes = Passes(stored, catalogue_of(items), guide, horizon, count)
        calendar = _calendar(stored, features.snapshots.data_end, horizon, guide)
        model = _Model(workspace, passes, config.seed)
        facts = model.make(calendar, items.names)
    store = workspace.models(FINAL)
    store.save("guide_facts", {"vocabulary": items.to_dict(), "horizon": horizon, "latest": calendar.latest, **facts})
    page = render_guide({"label": f"{guide.item} within {horizon} days", **facts["measures"]})
    write_bytes(workspace.bundle / "guide.html", page.encode())


def _calendar(history: DataFrame, end: Any, horizon: int, guide: GuideConfig) -> Calendar:
    days = [row[0] for row in history.where(F.col(ITEM).isNotNull()).select("day").distinct().collect()]
    found = calendar_of(as_day(day) for day in days)
    assert found is not None, "a vocabulary has items, and these have events"
    first, last = found.bounds
    zero = as_day(0)
    return Calendar.of((first - zero).days, ((end or last) - zero).days, horizon, guide)


def _views(days: Sequence[int], role: str, shown: tuple[int, ...], share: float) -> list[View]:
    """Return each day's view as it is, and with hidden items if ``shown`` names how many buyers these keep."""
    hidden = [View(t, role, shown, share) for t in days if shown]
    return [*(View(t, role) for t in days), *hidden]


class _Model:
    """Fits and measures."""

    def __init__(self, workspace: Workspace, passes: Passes, seed: int) -> None:
        self._tables, self._store, self._passes, self._seed = workspace.tables, workspace.models(FINAL), passes, seed
        self._config = passes.config

    def make(self, calendar: Calendar, names: Sequence[str]) -> dict[str, Any]:
        """Fit on the learning snapshots, measure and calibrate on the test ones; fit again on all of them."""
        config, cold = self._config, self._config.cold
        hides = cold.share > 0 and bool(cold.shown)
        every = (*calendar.learn, *calendar.test)
        learn = _views(every, "learn", cold.shown if hides else (), cold.share)
        test = _views(calendar.test, "test", (COLD_TEST,) if hides else (), cold.share)
        seen = self._passes.seen([*learn, *test])
        known = self._passes.known_items(seen)
        kept_share = self._kept(len(learn))
        width = self._write_pairs(seen[: len(learn)], known[: len(learn)], kept_share)
        pairs = self._tables.read(PAIRS)
        until = [view.name for view in learn if view.t in calendar.learn]
        honest = self._fit(pairs.where(F.col("view").isin(until)), width, kept_share)
        eligible = self._eligible(learn, known)
        plan = Plan(self._passes.items, self._passes.horizon, config.candidates, config.top_n, eligible, honest)
        log("guide", f"measuring on {', '.join(str(as_day(t)) for t in calendar.test)}")
        tests = self._tests(list(zip(seen, known, strict=True))[len(learn) :], plan)
        with kept(tests) as rows:
            measures, calibrators = measured(rows, int(eligible.sum())), calibrators_of(rows, self._seed)
        self._store.save_fitted(self._fit(pairs, width, kept_share), "guide_model")
        return {
            "measures": {"tests": [str(as_day(t)) for t in calendar.test], "items": int(eligible.sum()), **measures},
            "calibrators": calibrators, "eligible": [name for name, fine in zip(names, eligible, strict=True) if fine],
        }  # fmt: skip

    def _kept(self, views: int) -> float:
        """Return the share of the pairs without a purchase that is fitted on."""
        config, passes = self._config, self._passes
        each = min(passes.items, _CANDIDATES * config.candidates)
        total = passes.owners * passes.fitted * each * max(views, 1)
        return float(min(1.0, config.trees.rows / max(total, 1.0)))

    def _write_pairs(self, seen: Sequence[Seen], known: Sequence[Items], share: float) -> int:
        for start in range(0, len(seen), AT_ONCE):
            some = list(zip(seen, known, strict=True))[start : start + AT_ONCE]
            scenes = self._passes.scenes([one for one, _ in some], [items for _, items in some])
            frames = [
                self._passes.training(one, scene, share).withColumn("view", F.lit(one.view.name))
                for (one, _), scene in zip(some, scenes, strict=True)
            ]
            rows = frames[0]
            for more in frames[1:]:
                rows = rows.unionByName(more)
            hashed = rows.withColumn(ROW_HASH, F.xxhash64(OWNER, ITEM, "view"))
            if start == 0:
                self._tables.overwrite(hashed, PAIRS)
            else:
                self._tables.append(hashed, PAIRS)
        first = self._tables.read(PAIRS).select(F.size(X)).head(1)
        if not first:
            raise InputError("guide: no owner has a candidate at the learning snapshots; expected events before them")
        return int(first[0][0])

    def _fit(self, pairs: DataFrame, width: int, share: float) -> Fitted:
        held = uniform(OWNER, self._seed) < _VALID
        bought_held = F.sum(F.when(held, F.col(TARGET)))
        counts = pairs.agg(F.count("*"), F.sum(TARGET), bought_held, F.min(ROW_HASH)).collect()[0]
        rows, positives = int(counts[0]), int(counts[1] or 0)
        if not counts[2]:  # too few owners: some rows of all of them, one at least
            held = (uniform(ROW_HASH, self._seed) < _VALID) | (F.col(ROW_HASH) == F.lit(counts[3]))
        if not 0 < positives < rows:
            raise InputError(
                f"guide: {positives} of {rows} pairs at the learning snapshots have a purchase within the horizon,"
                " expected some with and some without; give more history, or another guide.horizon_days"
            )
        trees = self._config.trees
        how = LightGBMConfig(
            engine="native", num_iterations=trees.trees, learning_rate=trees.learning_rate,
            num_leaves=trees.num_leaves, min_data_in_leaf=max(1, min(trees.min_data_in_leaf, rows // 50)),
            feature_fraction=trees.feature_fraction, lambda_l2=trees.lambda_l2, max_bin=127, refit_below=0,
            early_stopping=trees.trees,
        )  # fmt: skip
        examples = SparkExamples(pairs.select(X, TARGET, F.lit(1.0).alias(ROW_WEIGHT), held.alias(VALID), ROW_HASH))
        layout = Layout(tuple(Slot(place, "number") for place in range(width)))
        data = TrainingSet(examples, layout, "logistic", positives / rows, rows, 1, self._seed, positives=positives)
        # A share of the pairs without a purchase was kept: the odds are that much too high (Elkan, 2001).
        return LightGBMLearner(how).fit(data).on_line(1.0, float(np.log(share)))

    def _eligible(self, learn: Sequence[View], known: Sequence[Items]) -> Any:
        low, high = self._config.rates
        whole = [items for view, items in zip(learn, known[: len(learn)], strict=True) if not view.shown]
        share = np.mean([items.share for items in whole], axis=0)
        return ((share >= low) & (share <= high)) | whole[-1].cold

    def _tests(self, some: Sequence[tuple[Seen, Items]], plan: Plan) -> DataFrame:
        scenes = self._passes.scenes([one for one, _ in some], [items for _, items in some])
        rows = self._passes.owners * self._passes.fitted * plan.items * len(some)
        sampled = min(1.0, CALIBRATED_ON / max(rows, 1.0))
        frames = [self._passes.tests(one, scene, plan, sampled) for (one, _), scene in zip(some, scenes, strict=True)]
        found = frames[0]
        for more in frames[1:]:
            found = found.unionByName(more)
        return found
