"""Torch nets, trained by ``torch.distributed`` where several workers train together."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from remedi_spark.config.chain import DeepFMConfig, MLPConfig, NetConfig, TabMConfig
from remedi_spark.models.contract import LABELS, ROW_WEIGHT, TARGET, VALID, FitError, TrainingSet, X
from remedi_spark.samples.arrays import matrix
from remedi_spark.samples.layout import Layout
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from remedi_spark.models.nets.smoothing import FeatureSmoothing
    from remedi_spark.models.nets.training import Rows, Trained


@dataclass(frozen=True)
class NetLearner:
    """Fits any :class:`NetConfig`.

    Attributes:
        config: the net and its optimiser.
        label_weight: share of the label's log-loss in a student's loss.
    """

    config: MLPConfig | TabMConfig | DeepFMConfig
    label_weight: float = 0.0

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit; all workers must end with the same weights, bit for bit."""
        smoothing = data.amounts.smoothing if data.amounts else None
        work = _training_function(
            self.config, self.label_weight, data.layout.to_dict(), data.loss, data.seed, smoothing
        )
        return fit_together(data, work)


def fit_together(data: TrainingSet, work: Callable[[pa.Table], bytes]) -> Fitted:
    """Run ``work`` on all workers' rows at once; it returns a net's bytes, the same on every worker."""
    columns = [X, TARGET, ROW_WEIGHT, VALID, *([LABELS] if LABELS in data.examples.columns else [])]
    ran = data.examples.run(work, columns, data.workers)
    results = [one.result for one in ran]
    if len({hashlib.sha256(result).digest() for result in results}) != 1:
        raise FitError("the workers of a torch fit ended with different weights")
    return Fitted("net", results[0], {**_info(results[0]), "rows_used": sum(one.rows for one in ran)})


def _training_function(
    config: MLPConfig | TabMConfig | DeepFMConfig, label_weight: float, layout: dict[str, Any], loss: str, seed: int,
    smoothing: FeatureSmoothing | None,
) -> Any:  # fmt: skip
    """Return what each worker runs; it captures plain values only."""
    spec = _spec(config)
    settings = config.model_dump(include=set(NetConfig.model_fields))

    def work(table: pa.Table) -> bytes:
        from remedi_spark.models.nets import training

        slots = Layout.from_dict(layout)
        recipe = training.Recipe(
            loss=loss, epochs=settings["epochs"], max_steps=settings["max_steps"], batch_size=settings["batch_size"],
            learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"],
            patience=settings["patience"], n_bins=settings["n_bins"], seed=seed, label_weight=label_weight,
            smoothing=smoothing,
        )  # fmt: skip
        trained = training.train(spec, net_rows(table, slots.width), slots, recipe)
        return payload(trained, loss)

    return work


def payload(trained: Trained, loss: str) -> bytes:
    """Return a trained net as bytes that :class:`NetPredictor` reads."""
    import torch

    stored = io.BytesIO()
    pool = loss == "logistic"
    torch.save({"spec": trained.spec, "state": trained.state, "curve": trained.curve, "pool": pool}, stored)
    return stored.getvalue()


def _spec(config: MLPConfig | TabMConfig | DeepFMConfig) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "kind": config.kind, "embedding_dim": config.embedding_dim, "dropout": config.dropout
    }  # fmt: skip
    if isinstance(config, TabMConfig):
        return {**spec, "members": config.members, "blocks": config.blocks, "width": config.width}
    return {**spec, "hidden": list(config.hidden)}


def net_rows(table: pa.Table, width: int) -> Rows:
    """Return one worker's rows of a training set."""
    from remedi_spark.models.nets.training import Rows

    def values(name: str) -> Any:
        return table.column(name).to_numpy()

    labels = np.asarray(values(LABELS), dtype=np.float64) if LABELS in table.column_names else None
    x = matrix(table.column(X).combine_chunks(), width)
    return Rows(x, values(TARGET), values(ROW_WEIGHT), np.asarray(values(VALID), dtype=bool), labels)


def _info(payload: bytes) -> dict[str, Any]:
    import torch

    curve = torch.load(io.BytesIO(payload), weights_only=True)["curve"]
    return {"epochs": len(curve), "curve": curve}
