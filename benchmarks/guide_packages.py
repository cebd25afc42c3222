"""Recommenders of public packages as peers of the guide, each left out where its package is missing.

    pip install implicit cornac

``implicit`` (ALS, item-item BM25 and cosine) and ``cornac`` (EASE, BPR) see of each owner what the other peers
see: the last six windows of a horizon each, or lines that decay.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from remedi_spark.guides.maths.history import Readings
from remedi_spark.guides.maths.recommend import presence, profile

Array = Any
NEEDS = {
    "implicit_als": ("implicit",), "implicit_bm25": ("implicit",), "implicit_cosine": ("implicit",),
    "cornac_ease": ("cornac",), "cornac_bpr": ("cornac",),
}  # fmt: skip
GRID: dict[str, list[tuple[Any, ...]]] = {
    "implicit_als": [(x, k, alpha) for x in ("presence", "profile") for k in (8, 32) for alpha in (0.5, 2.0)],
    "implicit_bm25": [(x, b) for x in ("windows", "profile") for b in (0.2, 0.8)],
    "implicit_cosine": [("presence",), ("profile",), ("ever",)],
    "cornac_ease": [(x, lam) for x in ("presence", "profile", "ever") for lam in (50.0, 300.0, 1500.0)],
    "cornac_bpr": [(16, 0.01), (16, 0.05), (48, 0.01)],
}  # fmt: skip


def installed() -> dict[str, list[tuple[Any, ...]]]:
    """Return the grid of the peers whose packages are there, and print which are left out."""
    missing = {name: [one for one in of if importlib.util.find_spec(one) is None] for name, of in NEEDS.items()}
    for name, of in missing.items():
        if of:
            print(f"  {name} is left out: package {' and '.join(of)} not installed", flush=True)
    return {name: GRID[name] for name, of in missing.items() if not of}


def score(name: str, readings: Readings, setting: tuple[Any, ...]) -> Array:
    """Return a package's scores of all pairs, shape (n, I)."""
    return {
        "implicit_als": _als, "implicit_bm25": _bm25, "implicit_cosine": _cosine,
        "cornac_ease": _ease, "cornac_bpr": _bpr,
    }[name](readings, *setting)  # fmt: skip


def _matrix(readings: Readings, name: str) -> csr_matrix:
    """Return what the owners have had in one of four ways."""
    ways = {
        "presence": presence, "profile": profile, "ever": lambda r: r.ever, "windows": lambda r: r.windows.sum(axis=0),
    }  # fmt: skip
    return csr_matrix(ways[name](readings).astype(np.float64))


def _recommended(model: Any, rows: csr_matrix) -> Array:
    """Ask a model of implicit for all items of all owners; what it does not name is last."""
    model.fit(rows, show_progress=False)
    owners = np.arange(rows.shape[0])
    ids, values = model.recommend(owners, rows, N=rows.shape[1], filter_already_liked_items=False)
    scores = np.zeros(rows.shape)
    place, _ = np.nonzero(ids >= 0)
    scores[place, ids[ids >= 0]] = values[ids >= 0]
    return scores


def _als(readings: Readings, data: str, factors: int, alpha: float) -> Array:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors, 0.05, alpha, dtype=np.float64, random_state=0, num_threads=1)
    return _recommended(model, _matrix(readings, data))


def _bm25(readings: Readings, data: str, b: float) -> Array:
    from implicit.nearest_neighbours import BM25Recommender

    return _recommended(BM25Recommender(K=200, K1=1.2, B=b, num_threads=1), _matrix(readings, data))


def _cosine(readings: Readings, data: str) -> Array:
    from implicit.nearest_neighbours import CosineRecommender

    return _recommended(CosineRecommender(K=200, num_threads=1), _matrix(readings, data))


def _ease(readings: Readings, data: str, penalty: float) -> Array:
    from cornac.models import EASE

    # Its penalty is in units of counts: rows of fractions are brought to the size of counts.
    rows = _matrix(readings, data)
    return _of_all(EASE(lamb=penalty, posB=False, verbose=False), rows / max(float(rows.data.mean()), 1e-12))


def _bpr(readings: Readings, factors: int, penalty: float) -> Array:
    from cornac.models import BPR

    model = BPR(k=factors, max_iter=50, learning_rate=0.05, lambda_reg=penalty, num_threads=1, seed=0)
    return _of_all(model, _matrix(readings, "ever"))


def _of_all(model: Any, rows: csr_matrix) -> Array:
    """Fit a model of cornac; return its scores of all pairs. Owners without a row are 0."""
    from cornac.data import Dataset

    owners, items = rows.shape
    found = rows.tocoo()
    numbers = (OrderedDict((k, k) for k in range(count)) for count in (owners, items))
    uir = (found.row.astype(int), found.col.astype(int), found.data.astype(float))
    model.fit(Dataset(owners, items, *numbers, uir, seed=0))
    return np.stack([np.asarray(model.score(owner)).ravel() for owner in range(owners)])
