"""Relative features: what a row's scores say of one another. Numpy alone, computed where the row is.

For a row with scores p_1 … p_M (and their margins l_m) there are, per model m, ``logit`` = l_m, ``d`` = p_m − mean(p),
``dl`` = l_m − mean(l), ``z`` = dl / (σ(l) + ε), ``zp`` (the same of p), ``rank`` (1 = highest, ties by model order) and
``q``, the percentile of p_m in a stored quantile grid of the training rows. Per row: ``mean``, ``std`` and ``range`` of
the margins. With peer columns also ``peer_<column>``, the percent rank among the owners of the same snapshot and peer
group, which needs other rows and so comes from Spark (:func:`remedi_spark.ensemble.peers.with_peer_ranks`).

Source: REMEDI, arXiv 2505.07245 ("deviation from ensemble mean", "rank among peers"; "peers" is ambiguous, so both
readings are built). Departure: z is on margins, where models of rare events differ. In a regression p is the predicted
amount, and a margin the standardised amount.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from remedi_spark.models.contract import Array

EPSILON = 1e-6
PER_MODEL = ("logit", "d", "dl", "z", "zp", "rank", "q")
PER_ROW = ("mean", "std", "range")


def relative_features(scores: Array, margins: Array, grids: Sequence[Sequence[float]]) -> Array:
    """Return the relative features of each row, in the order of :func:`relative_names` without peers.

    Args:
        scores: probabilities or amounts, (rows, models).
        margins: their margins, (rows, models).
        grids: for each model the quantiles of its scores on training rows, ascending.

    Returns:
        An array (rows, 7 x models + 3).
    """
    center, spread = margins.mean(1, keepdims=True), margins.std(1, keepdims=True)
    center_p, spread_p = scores.mean(1, keepdims=True), scores.std(1, keepdims=True)
    deviation, deviation_p = margins - center, scores - center_p
    # σ of equal scores is not exactly 0 in floating point; below ε it is noise and z must be 0.
    z = deviation / (spread + EPSILON)
    zp = deviation_p / (spread_p + EPSILON * np.abs(center_p) + 1e-300)
    extent = np.ptp(margins, axis=1, keepdims=True)
    q = np.column_stack([percentiles(column, grid) for column, grid in zip(scores.T, grids, strict=True)])
    return np.hstack([margins, deviation_p, deviation, z, zp, ranks(scores), q, center, spread, extent])


def ranks(scores: Array) -> Array:
    """Return each model's rank among the models of its row: 1 = highest, ties by model order; (rows, models)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.empty_like(scores)
    np.put_along_axis(ranked, order, np.arange(1.0, scores.shape[1] + 1)[None, :], axis=1)
    return ranked


def percentiles(values: Array, grid: Sequence[float]) -> Array:
    """Return the share of the grid below or at each value, halfway through its ties; in [0, 1]."""
    below, upto = (np.searchsorted(grid, values, side) for side in ("left", "right"))
    return (below + upto) / (2 * len(grid))


def relative_names(models: Sequence[str], peers: Sequence[str] = ()) -> list[str]:
    """Return the names of all relative features, in order."""
    per_model = [f"{kind}_{m}" for kind in PER_MODEL for m in models]
    return [*per_model, *PER_ROW, *peer_names(models, peers)]


def peer_names(models: Sequence[str], peers: Sequence[str]) -> list[str]:
    """Return the names of the percent ranks among peers."""
    return [f"peer_{name}_{m}" for name in peers for m in models]


@dataclass(frozen=True)
class Relative:
    """How a table of scores, one column a model, becomes what the fuser reads."""

    models: list[str]
    grids: dict[str, list[float]]
    margin: Callable[[Array], Array]
    """From scores to margins."""
    peers: tuple[str, ...] = ()
    """Peer columns whose percent ranks stand in the table."""

    @property
    def names(self) -> list[str]:
        """Names of the features, in order."""
        return relative_names(self.models, self.peers)

    def __call__(self, table: pa.Table | pa.RecordBatch) -> dict[str, Array]:
        """Return the features by name, each (rows,) of float64."""
        scores = _matrix(table, self.models)
        found = relative_features(scores, self.margin(scores), [self.grids[m] for m in self.models])
        names = peer_names(self.models, self.peers)
        peers = dict(zip(names, _matrix(table, names).T, strict=True))
        return dict(zip(relative_names(self.models), found.T, strict=True)) | peers


def _matrix(table: pa.Table | pa.RecordBatch, names: Sequence[str]) -> Array:
    columns = [np.asarray(table.column(name), dtype=np.float64) for name in names]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))
