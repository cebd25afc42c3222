"""What a scoring run measures of its rows before and after it writes them, and what stops it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from remedi_spark.config import Config
from remedi_spark.progress import run_id, side_work, warn
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.monitoring.costs import FEATURES, costs
from remedi_spark.scoring.monitoring.estimates import estimated, holdout_of
from remedi_spark.scoring.monitoring.history import after_training, earlier, realised, rows_before, to_frame
from remedi_spark.scoring.monitoring.measures import (
    Measure,
    Scored,
    against_training,
    drifted,
    in_words,
    row_counts,
    with_costs,
)

if TYPE_CHECKING:
    import pandas as pd

    from remedi_spark.scoring.batch import Batch
    from remedi_spark.scoring.monitoring.distribution import Counts, Distribution
    from remedi_spark.storage.tables import Tables

TOLD = 3
"""Figures beyond their limits that are named on stderr; the table has them all."""


class Monitor:
    """Measures batches, refuses those beyond a limit, and writes all figures in the end.

    Only a limit that the user has set stops a batch. Whatever else goes wrong here is said, and the scores are written.
    """

    def __init__(self, tables: Tables, name: str, config: Config, feeds: Mapping[str, str] | None = None) -> None:
        """Measure into table ``name`` of ``tables``; ``feeds`` has the source of each feature, where it is known."""
        self._feeds = feeds or {}
        self.moment = datetime.now(UTC).replace(microsecond=0)
        self._tables, self._name, self._config = tables, name, config
        self._open: Scored | None = None
        self._past: pd.DataFrame | None = None
        self._found: list[Scored] = []

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._found:
            with self._aside("writing the figures of monitoring"):
                self._tables.append(to_frame(self._tables.spark, self._found), self._name)

    def look(self, batch: Batch, day: date | None = None, *, budget: float, top_k: int | None = None) -> None:
        """Measure a batch, and the list of its best ``budget`` or ``top_k`` rows, before its scores are written.

        Raises:
            InputError: a figure is beyond a limit that stops.
        """
        counted = batch.counts() if self._config.monitoring.enabled else None
        self._open = None
        if counted is None:
            return
        with self._aside("measuring the rows"):
            self._open = self._scored(batch, day, *counted)
            if self._config.monitoring.lift_stop is not None:  # past scores may stop these: they come first
                self._open.measures.extend(self._realised(day))
        if self._open is None:
            return
        k = min(batch.rows, top_k or max(1, math.ceil(batch.rows * budget)))
        with self._aside("estimating what drift costs"):
            self._open.measures[:] = self._with_costs(batch, self._open.measures, k)
        with self._aside("estimating what the list holds"):
            self._open.measures.extend(self._estimated(batch, counted[0], k))
        if self._open.refused:
            self._found.append(self._open)
        self._open.refuse()
        self._warn_of(self._open.worst)

    def _scored(self, batch: Batch, day: date | None, counts: Counts, distribution: Distribution) -> Scored:
        limits, parts = self._config.monitoring, batch.parts
        snapshot = None if day is None else str(day)
        self._past = None
        with self._aside("reading the figures of earlier runs"):
            self._past = earlier(self._tables, self._name)
        honest = after_training(day, distribution.until, _label_days(self._config))
        names = FeatureContract.from_dict(parts.encoder["contract"]).names
        measures = [
            *row_counts(batch.rows, rows_before(self._past, batch.table, snapshot), limits),
            Measure("table", "labels", "after_training", float(honest)),
            *against_training(counts, distribution, names, limits),
        ]
        return Scored(batch.table, snapshot, parts.model_version, run_id(), self.moment, measures)

    def _with_costs(self, batch: Batch, measures: list[Measure], k: int) -> list[Measure]:
        """Add what the drift of the features that have moved most costs the list; nothing of amounts."""
        limits, names = self._config.monitoring, FeatureContract.from_dict(batch.parts.encoder["contract"]).names
        found = drifted(measures, names)[:FEATURES] if batch.parts.binary and limits.loss_warn is not None else []
        if not found:
            return measures
        lost = costs(batch.canonical, batch.rows, batch.parts, found, k / batch.rows)
        recall, ap = ({names[one.feature]: getattr(one, each) for one in lost} for each in ("recall", "ap"))
        return list(with_costs(measures, recall, ap, limits))

    def _estimated(self, batch: Batch, counts: Counts, k: int) -> list[Measure]:
        """Estimate what the list holds; nothing of amounts."""
        if counts.chances is None or not self._config.monitoring.estimates or self._open is None:
            return []
        name = " ".join(filter(None, (self._open.snapshot, self._open.model_version)))
        holdout = holdout_of(batch.parts)
        return list(estimated(counts.chances, k, holdout, name, self._past, self._config.monitoring))

    def _realised(self, day: date | None) -> list[Measure]:
        """Measure past scores whose labels have become known."""
        if day is None or self._config.task != "classification":
            return []
        return list(realised(self._tables, self._past, self._config.monitoring, self._config.label_columns[0]))

    def done(self, *, past: bool = False) -> None:
        """Keep what was measured of a batch that is written; with ``past``, past scores are measured now as well."""
        if self._open is None:
            return
        self._found.append(self._open)
        if past and self._config.monitoring.lift_stop is None and self._open.snapshot is not None:
            with self._aside("measuring past scores"):
                found = self._realised(date.fromisoformat(self._open.snapshot[:10]))
                self._open.measures.extend(found)
                self._warn_of([one for one in found if one.state != "ok"])

    def _warn_of(self, worst: Sequence[Measure]) -> None:
        if worst:
            named = "; ".join(in_words(one, self._feeds.get(one.name)) for one in worst[:TOLD])
            more = f"; and {len(worst) - TOLD} more" if len(worst) > TOLD else ""
            warn("monitoring", f"{named}{more} (all in {self._tables.location(self._name)})")

    def _aside(self, what: str) -> AbstractContextManager[None]:
        advice = f"see {self._tables.location(self._name)}; --set monitoring.enabled=false does without"
        return side_work("monitoring", what, advice)


def _label_days(config: Config) -> int:
    """Days from a snapshot to the end of its label window."""
    return 0 if config.target is None else config.target.gap_days + config.target.horizon_days
