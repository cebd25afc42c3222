"""The fuser on Spark: fit it in a barrier stage, score tables with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import types as t

from remedi_spark.columns import CARRIED, FOLD, LABEL, PART, ROW_HASH, WEIGHT
from remedi_spark.config.chain import EXPERTS, FuserConfig
from remedi_spark.ensemble.relative import Relative, peer_names
from remedi_spark.models.contract import Array, FitError
from remedi_spark.models.row_draws import at_most
from remedi_spark.samples.holdout import TEST
from remedi_spark.spark.kept import shared
from remedi_spark.spark.partitions import shape
from remedi_spark.spark.torch_partitions import run_counted
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NUMBERS_OF_A_WORKER = 100_000_000
BASELINES = ("mean", "rank_mean", "stack_lr", "selection")


def fuser_inputs(columns: list[str], *, relative: bool) -> list[str]:
    """Return the relative features that gate and experts read; if not ``relative``, the margins alone."""
    return columns if relative else [name for name in columns if name.startswith("logit_")]


def fit_fuser(
    train: DataFrame, relative: Relative, inputs: list[str], config: FuserConfig, *, loss: str, folds: int, seed: int,
    rows: int, positives: int,
) -> Fitted:  # fmt: skip
    """Fit fusers (folds x seeds), stacks and selections of the margins together in one barrier stage.

    Args:
        train: training rows: a score column a model, ``label`` (as it is learned), ``weight``, ``fold``, ``row_hash``.
        relative: how scores become relative features.
        inputs: those of them that gate and experts read.
        config: shape and fit of the fuser.
        loss: ``logistic`` or ``mse``.
        folds: number of folds; a head never sees the fold that it will score.
        seed: of weights and batches.
        rows: how many rows ``train`` has.
        positives: how many of them have a label above 0.

    Raises:
        FitError: the workers ended with different weights.
    """
    train = at_most(train, config.max_rows, rows=rows, positives=positives if loss == "logistic" else 0)
    workers = 1 + min(rows, config.max_rows) * len(inputs) // _NUMBERS_OF_A_WORKER
    columns = [*_scores_of(relative), LABEL, WEIGHT, FOLD]
    work = training_function(relative, inputs, config, loss, folds, seed)
    ran = run_counted(shape(train.select(*columns, ROW_HASH), workers).select(*columns), work, workers)
    results = [one.result for one in ran]
    if len(set(results)) != 1:
        raise FitError("the workers of the fuser ended with different weights")
    info = _load(results[0])
    curve = np.asarray(info["curve"])
    facts = {
        "models": relative.models, "inputs": inputs, "curve": info["curve"], "best_step": _best_steps(curve),
        "rows_used": sum(one.rows for one in ran),
        "selection": dict(zip(relative.models, info["selection"][-1], strict=True)),
    }  # fmt: skip
    return Fitted("net", results[0], facts)


def _scores_of(relative: Relative) -> list[str]:
    return [*relative.models, *peer_names(relative.models, relative.peers)]


def _best_steps(curve: Any) -> list[int]:
    return [] if np.isnan(curve).any() else [10 * int(i) for i in curve.argmin(0)]


def training_function(
    relative: Relative, inputs: list[str], config: FuserConfig, loss: str, folds: int, seed: int
) -> Any:
    """Return what a worker runs on its rows; it captures plain values only."""
    settings = config.model_dump(exclude={"relative_features", "max_rows"})

    def work(table: pa.Table) -> bytes:
        import torch

        from remedi_spark.ensemble.fuser_training import FuserRecipe, FuserRows, stack, train_fuser

        features = relative(table)
        rows = FuserRows(
            logits=_stacked(features, [f"logit_{m}" for m in relative.models]), inputs=_stacked(features, inputs),
            label=table.column(LABEL).to_numpy(), weight=table.column(WEIGHT).to_numpy(),
            fold=table.column(FOLD).to_numpy().astype(np.int64),
        )  # fmt: skip
        trained = train_fuser(rows, FuserRecipe(folds=folds, seed=seed, loss=loss, **settings))
        stored = io.BytesIO()
        tree = {
            "spec": trained.spec.__dict__, "state": trained.state, "curve": trained.curve,
            "stacks": stack(rows, folds, loss=loss), "selection": trained.selection,
        }  # fmt: skip
        torch.save(tree, stored)
        return stored.getvalue()

    return work


def _stacked(features: dict[str, Array], names: list[str]) -> Array:
    return np.column_stack([features[name] for name in names])


def _load(payload: bytes) -> dict[str, Any]:
    import torch

    return dict(torch.load(io.BytesIO(payload), weights_only=True))


def fuse(scores: DataFrame, relative: Relative, fitted: Fitted) -> DataFrame:
    """Return key columns, ``fuser``, the baselines and the gates of every row, and base models' scores of test rows.

    These are handed on, so that whoever compares fuser and base models reads one table; of the other rows, which are
    the most, they would be stored twice.
    """
    stored = shared(scores.sparkSession, fitted)
    added = ["fuser", *BASELINES, *[f"gate_{expert}" for expert in EXPERTS]]
    fields = [scores.schema[name] for name in (*CARRIED, *relative.models)]
    schema = t.StructType([*fields, *[t.StructField(name, t.DoubleType()) for name in added]])

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        score = None
        for batch in batches:
            score = score or scorer(stored(), relative)
            measured = pc.equal(batch.column(PART), TEST)
            bases = [pc.if_else(measured, batch.column(name), None) for name in relative.models]
            columns = [*[batch.column(name) for name in CARRIED], *bases, *map(pa.array, score(batch))]
            yield pa.RecordBatch.from_arrays(columns, [*CARRIED, *relative.models, *added])

    return scores.select(*CARRIED, *_scores_of(relative)).mapInArrow(run, schema)  # type: ignore[arg-type]


def scorer(fitted: Fitted, relative: Relative) -> Any:
    """Return the function from a batch to what :func:`fuse` adds to it, in that order."""
    import torch

    from remedi_spark.ensemble.fuser_net import FuserSpec

    stored = _load(fitted.payload)
    spec = FuserSpec(**stored["spec"])
    net = spec.build()
    net.load_state_dict(stored["state"])
    stacks, selection = np.asarray(stored["stacks"]), np.asarray(stored["selection"])
    heads = np.asarray(spec.fold_of_head)
    models, inputs = fitted.info["models"], fitted.info["inputs"]

    def score(batch: pa.RecordBatch) -> list[Any]:
        features = relative(batch)
        logits = _stacked(features, [f"logit_{m}" for m in models])
        fold = batch.column(FOLD).to_numpy()
        with torch.inference_mode():
            fused, gates = net(torch.as_tensor(logits).float(), spec.standardise(_stacked(features, inputs)))
        # A row of fold k: only the heads that never saw fold k; any other row: all heads.
        use = ((heads[None, :] == fold[:, None]) | (fold[:, None] < 0)).astype(np.float64)
        use /= use.sum(1, keepdims=True)
        stacked = np.hstack([logits, np.ones((len(logits), 1))]) * stacks[fold]  # fold -1: the stack of all folds
        percentiles = _stacked(features, [f"q_{m}" for m in models])
        mean_gates = np.einsum("nhe,nh->ne", gates.numpy(), use)
        return [
            (fused.double().numpy() * use).sum(1), logits.mean(1), percentiles.mean(1), stacked.sum(1),
            (logits * selection[fold]).sum(1), *mean_gates.T,
        ]  # fmt: skip

    return score
