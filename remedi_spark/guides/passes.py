"""The guide on Spark: each pass sends the blocks of owners through one function of :mod:`.blocks` or :mod:`.lists`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.config.guide import GuideConfig
from remedi_spark.guides.blocks import EVERYBODY, Block, Seen, sums_of, training_pairs
from remedi_spark.guides.lists import LIST_SCHEMA, TEST_SCHEMA, Plan, list_block, test_block
from remedi_spark.guides.log import BLOCK, ITEM, KEY, Vocabulary
from remedi_spark.guides.maths.content import similarity
from remedi_spark.guides.maths.items import COUNTS, Items
from remedi_spark.guides.maths.pairs import Catalogue, Scene
from remedi_spark.guides.maths.recommend import Recommenders, RecommenderSettings, learn
from remedi_spark.guides.maths.views import View
from remedi_spark.maths.checks import FloatArray
from remedi_spark.spark.kept import shared
from remedi_spark.spark.side_by_side import side_by_side

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PAIR_SCHEMA = "owner_id string, item int, target double, x array<double>"
FEW = 50
"""An item is cold only if it has had less than one in so many owners as a buyer."""


def catalogue_of(items: Vocabulary) -> Catalogue:
    """Return parents as numbers, and how alike the items' words are."""
    _, parent = np.unique(np.array(items.parents, dtype=str), return_inverse=True)
    return Catalogue(parent.astype(np.int64), similarity(items.texts))


def sample_of(history: DataFrame, share: float) -> DataFrame:
    """Return the rows of a sample of the owners, as :func:`remedi_spark.guides.maths.views.in_sample` draws it."""
    return history.where(F.shiftrightunsigned(KEY, 11) / F.lit(2.0**53) < F.lit(share))


@dataclass(frozen=True)
class Passes:
    """Passes over the rows of ``guide_history``."""

    history: DataFrame
    catalogue: Catalogue
    config: GuideConfig
    horizon: int
    owners: int

    @property
    def items(self) -> int:
        """Number of items I."""
        return len(self.catalogue.parent)

    @property
    def sample(self) -> float:
        """Share of the owners that the recommenders are learned on."""
        return min(1.0, self.config.recommenders.owners / self.owners)

    @property
    def fitted(self) -> float:
        """Share of the owners that the model is fitted on and measured with."""
        return min(1.0, self.config.trees.owners / self.owners)

    def seen(self, views: Sequence[View]) -> list[Seen]:
        """Count the buyers of each item that were known at each view."""
        first = self.history.where(F.col(ITEM).isNotNull()).groupBy(KEY, ITEM).agg(F.min("known").alias("known"))
        days = sorted({view.t for view in views})
        counts = [F.count(F.when(F.col("known") <= t, 1)).alias(f"t{t}") for t in days]
        rows = first.groupBy(ITEM).agg(*counts).collect()
        buyers = {t: np.zeros(self.items) for t in days}
        for row in rows:
            for t in days:
                buyers[t][row[ITEM]] = row[f"t{t}"]
        return [Seen(view, buyers[view.t], self.sample) for view in views]

    def known_items(self, seen: Sequence[Seen]) -> list[Items]:
        """Add up what is known of the items at each view."""
        items, horizon, given = self.items, self.horizon, shared(self.history.sparkSession, list(seen))

        def work(frame: pd.DataFrame) -> pd.DataFrame:
            return sums_of(frame, items, horizon, given())

        columns = ", ".join(f"{name} long" for name in COUNTS)
        parts = self.history.groupBy(BLOCK).applyInPandas(work, f"view int, item int, {columns}")
        found = parts.groupBy("view", "item").agg(*(F.sum(name).alias(name) for name in COUNTS)).toPandas()
        known = []
        for place, one in enumerate(seen):
            of_view = found[found["view"] == place].set_index("item")[list(COUNTS)]
            sums = of_view.reindex(range(items), fill_value=0).to_numpy(dtype=np.int64)
            owners = int(of_view[COUNTS[0]].to_dict()[EVERYBODY])
            few = min(self.config.cold.buyers, owners / FEW)
            known.append(Items.of(sums, owners, one.view.hidden(items) | (one.buyers <= few)))
        return known

    def scenes(self, seen: Sequence[Seen], known: Sequence[Items]) -> list[Scene]:
        """Learn the simple recommenders of each view, each in one task."""
        return side_by_side(lambda pair: self._scene(*pair), list(zip(seen, known, strict=True)))

    def _scene(self, seen: Seen, known: Items) -> Scene:
        items, horizon, settings = self.items, self.horizon, self.config.recommenders
        how = RecommenderSettings(settings.ease_penalty, settings.ridge_penalty, settings.neighbours)

        def work(frame: pd.DataFrame) -> pd.DataFrame:
            sample = seen.view.seen(Block.of(frame, items).history, seen.buyers, seen.sample)
            return pd.DataFrame({"learned": [_packed(learn(sample, seen.view.t, horizon, how))]})

        rows = self._sample(seen, known).withColumn("__all", F.lit(0)).groupBy("__all")
        found = rows.applyInPandas(work, "learned binary").collect()
        if not found:  # a sample of nobody, as may happen with a handful of owners
            empty = pd.DataFrame(columns=["owner_id", "key", "item", "day", "known", "lines", "amount"])
            packed = work(empty)["learned"][0]
            return Scene(known, _unpacked(packed), self.catalogue)
        return Scene(known, _unpacked(bytes(found[0][0])), self.catalogue)

    def _sample(self, seen: Seen, known: Items) -> DataFrame:
        """Return the sample's rows, and those of all buyers of cold items, who are few."""
        rows = sample_of(self.history, self.sample)
        cold = [int(item) for item in np.flatnonzero(known.cold & ~seen.view.hidden(self.items))]
        if self.sample >= 1 or not cold:
            return rows
        buyers = self.history.where(F.col(ITEM).isin(cold) & (F.col("known") <= seen.view.t)).select(KEY).distinct()
        more = self.history.where(F.shiftrightunsigned(KEY, 11) / F.lit(2.0**53) >= F.lit(self.sample))
        return rows.unionByName(more.join(buyers, KEY, "left_semi").select(rows.columns))

    def training(self, seen: Seen, scene: Scene, kept: float) -> DataFrame:
        """Return the pairs of a learning view."""
        items, horizon, each, fitted = self.items, self.horizon, self.config.candidates, self.fitted
        given = shared(self.history.sparkSession, (seen, scene))

        def work(frame: pd.DataFrame) -> pd.DataFrame:
            return training_pairs(frame, items, horizon, *given(), each, fitted, kept)

        return self._sent(sample_of(self.history, fitted), work, PAIR_SCHEMA)

    def tests(self, seen: Seen, scene: Scene, plan: Plan, sampled: float) -> DataFrame:
        """Return the measured lists of a test view, and pairs to calibrate with."""
        given, fitted = shared(self.history.sparkSession, (plan, seen, scene)), self.fitted

        def work(frame: pd.DataFrame) -> pd.DataFrame:
            return test_block(frame, *given(), fitted, sampled)

        return self._sent(sample_of(self.history, fitted), work, TEST_SCHEMA)

    def lists(self, seen: Seen, scene: Scene, plan: Plan, calibrators: dict[str, Any], names: Any) -> DataFrame:
        """Return the lists of all owners."""
        given = shared(self.history.sparkSession, (plan, seen, scene))
        discovery, active = self.config.discovery, self.config.active_within_days

        def work(frame: pd.DataFrame) -> pd.DataFrame:
            return list_block(frame, *given(), calibrators, names, discovery, active)

        return self._sent(self.history, work, LIST_SCHEMA)

    @staticmethod
    def _sent(rows: DataFrame, work: Callable[[pd.DataFrame], pd.DataFrame], schema: str) -> DataFrame:
        return rows.groupBy(BLOCK).applyInPandas(work, schema)


def _packed(learned: Recommenders) -> bytes:
    """Return it as bytes, in single precision: what is a feature needs no more.

    Pickled as Spark pickles what it sends. Not numpy's own format: its header is read with :mod:`ast`, which fails at
    times when two threads do so at once (CPython issue 106905), and scenes are read in several.
    """
    arrays = {one.name: np.asarray(getattr(learned, one.name), dtype=np.float32) for one in fields(Recommenders)}
    return pickle.dumps(arrays, protocol=pickle.HIGHEST_PROTOCOL)


def _unpacked(payload: bytes) -> Recommenders:
    arrays: dict[str, FloatArray] = {name: one.astype(np.float64) for name, one in pickle.loads(payload).items()}
    return Recommenders(**{**arrays, "neighbours": int(arrays["neighbours"])})  # type: ignore[arg-type]
