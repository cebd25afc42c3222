"""The additive model, fitted by L-BFGS on the rows of all workers."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from remedi_spark.config.chain import AdditiveConfig
from remedi_spark.models.contract import TrainingSet
from remedi_spark.models.nets.fit import fit_together, net_rows, payload
from remedi_spark.samples.layout import Layout
from remedi_spark.storage.fitted import Fitted


@dataclass(frozen=True)
class AdditiveLearner:
    """Fits an :class:`AdditiveConfig`."""

    config: AdditiveConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit the path of penalties and keep the best on the inner validation rows."""
        layout, loss = data.layout.to_dict(), data.loss
        settings = self.config.model_dump(include={"n_bins", "penalties", "iterations"})

        def work(table: pa.Table) -> bytes:
            from remedi_spark.models.additive.training import train_additive

            slots = Layout.from_dict(layout)
            return payload(train_additive(net_rows(table, slots.width), slots, loss=loss, **settings), loss)

        return fit_together(data, work)
