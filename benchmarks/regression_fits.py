"""Fits of benchmarks/regression.py in this process: scale, row weights, trial fits, one MLP and one LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from regression_sets import Split

from remedi_spark.config import load_config
from remedi_spark.config.regression import TRIED, ZERO_INFLATED, Weighting
from remedi_spark.labels.counts import weigh
from remedi_spark.labels.weights import NONE, Errors, best_weights
from remedi_spark.maths.expectile import expectile_gradient, expectile_hessian, expectile_loss
from remedi_spark.maths.label_density import LabelDensity, width_edges
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.relevance import Relevance
from remedi_spark.maths.smearing import Smearing
from remedi_spark.models.nets.models import build
from remedi_spark.models.nets.smoothing import FeatureSmoothing
from remedi_spark.models.nets.training import Recipe, Rows, margin, train
from remedi_spark.samples.layout import Layout, Slot

SPEC = {"kind": "mlp", "embedding_dim": 8, "hidden": [128, 64], "dropout": 0.1}
FOLDS, LEFT_OUT = 5, 2
"""As in the product's trial fits: so many folds of owners, of which so many are left out in turn."""
PLAIN = Weighting("none")
Learner = Callable[[Split, np.ndarray, np.ndarray, int, FeatureSmoothing | None], np.ndarray]
"""From training rows, margins, row weights, seed and smoothing to margins of the test rows."""


def many_zeros(y: np.ndarray) -> bool:
    """Labels of 0 are a point mass."""
    return bool(np.mean(y == 0) >= ZERO_INFLATED)


def weighted(
    y: np.ndarray, scale: str, weighting: Weighting, *, paper: bool = False
) -> tuple[LabelScale, LabelDensity, np.ndarray, np.ndarray]:
    """Return scale, density, margins and row weights as the product's ``labels/counts.py``, in numpy.

    ``paper``: no zeros apart.
    """
    unit = float(np.median(np.abs(y[y != 0]))) if scale == "asinh" else 1.0
    learned = np.arcsinh(y / unit) if scale == "asinh" else y
    lowest = 0.0 if y.min() >= 0 else -np.inf
    fitted = LabelScale(scale, unit, float(learned.mean()), float(learned.std()), lowest)  # type: ignore[arg-type]
    margins = fitted.margin(y)
    config = load_config(task="regression").regression
    edges = width_edges(margins.min(), margins.max(), config.bins)
    alone = (y == 0) & (not paper and many_zeros(y))
    counts, _ = np.histogram(margins[~alone], edges)
    relevance = Relevance.of(y, zeros_apart=bool(alone.any()))
    density = weigh(edges, counts.astype(float), fitted, config.lds, weighting, relevance)
    return fitted, density, margins, np.where(alone, 1.0, density.weight_of(margins))


def folds(split: Split, seed: int) -> Iterator[tuple[np.ndarray, Split]]:
    """Yield each fold left out, as a mask (n,), and the split that has its rows for the test."""
    owners, place = np.unique(split.owners, return_inverse=True)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(owners))[place]
    for number in range(LEFT_OUT):
        held = fold == number
        yield held, Split(split.x[~held], split.y[~held], split.owners[~held], split.x[held], split.y[held])


def out_of_fold(split: Split, scale: str, weighting: Weighting, seed: int, learner: Learner) -> np.ndarray:
    """Return out-of-fold margins, shape (n,); nan in the folds that are never left out."""
    _, _, margins, weights = weighted(split.y, scale, weighting)
    found = np.full(len(split.y), np.nan)
    for held, trial in folds(split, seed):
        found[held] = learner(trial, margins[~held], weights[~held], seed, None)
    return found


def errors_of(split: Split, scale: str, margins: np.ndarray) -> Errors:
    """Return the errors of out-of-fold margins as the product's ``labels/weights.py``."""
    fitted, density, own, _ = weighted(split.y, scale, PLAIN)
    known = ~np.isnan(margins)
    bins, errors = density.bin_of(own[known]), np.abs(fitted(margins[known]) - split.y[known])
    rows, totals = np.bincount(bins), np.bincount(bins, errors)
    return Errors.of_bins(rows[rows > 0], totals[rows > 0])


def trial_choice(split: Split, scale: str, seed: int) -> Weighting:
    """Return the weights that trial fits choose, as the product."""
    tried = {one.name: errors_of(split, scale, out_of_fold(split, scale, one, seed, lightgbm)) for one in TRIED}
    name = best_weights(tried)
    return next(one for one in TRIED if one.name == name)


def blend_choice(split: Split, scale: str, seed: int) -> Weighting:
    """Return kind and share of a blend of two models' margins, one with the whole weights and one without."""
    plain = out_of_fold(split, scale, PLAIN, seed, lightgbm)
    tried = {NONE: errors_of(split, scale, plain)}
    for kind in ("sqrt_inv", "inverse"):
        whole = out_of_fold(split, scale, Weighting(kind), seed, lightgbm)  # type: ignore[arg-type]
        blends = {Weighting(kind, share): (1 - share) * plain + share * whole for share in SHARES}  # type: ignore[arg-type]
        tried |= {one.name: errors_of(split, scale, margins) for one, margins in blends.items()}
    known = {one.name: one for kind in ("sqrt_inv", "inverse") for one in _shares(kind)}
    return {NONE: PLAIN, **known}[best_weights(tried)]


SHARES = (0.25, 0.5, 0.75, 1.0)


def _shares(kind: str) -> list[Weighting]:
    return [Weighting(kind, share) for share in SHARES]  # type: ignore[arg-type]


def discounted(split: Split, scale: str, weighting: Weighting) -> np.ndarray:
    """Return weights whose share by the label is divided by the root of how many rows of its bin are the owner's."""
    _, density, margins, whole = weighted(split.y, scale, Weighting(weighting.kind))
    places = np.stack([np.unique(split.owners, return_inverse=True)[1], density.bin_of(margins)])
    _, place, rows = np.unique(places, axis=1, return_inverse=True, return_counts=True)
    alone = (split.y == 0) & many_zeros(split.y)
    less = np.where(alone, 1.0, whole / np.sqrt(rows[place.ravel()]))
    less[~alone] /= less[~alone].mean()
    return np.asarray(1 - weighting.share + weighting.share * less)


def expectile_objective(level: float) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return the loss in the form of LightGBM's scikit-learn interface."""

    def objective(y: np.ndarray, z: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        weight = 1.0 if w is None else w
        return expectile_gradient(z, y, level) * weight, expectile_hessian(z, y, level) * weight

    return objective


def expectile_metric(level: float) -> Callable[..., tuple[str, float, bool]]:
    """Return the metric that stops it, in the same form."""

    def metric(y: np.ndarray, z: np.ndarray, w: np.ndarray | None) -> tuple[str, float, bool]:
        return "expectile", float(np.average(expectile_loss(z, y, level), weights=w)), False

    return metric


def smeared(split: Split, scale: LabelScale, kind: str, seed: int, learner: Learner) -> Smearing:
    """Return the way back to the mean amount, from out-of-fold residuals without weights."""
    margins = out_of_fold(split, kind, PLAIN, seed, learner)
    known = ~np.isnan(margins)
    return Smearing.of(scale, scale.margin(split.y[known]) - margins[known])


def smoothing_of(density: LabelDensity) -> FeatureSmoothing:
    """Return the default smoothing of features."""
    fds = load_config(task="regression").regression.fds
    return FeatureSmoothing(density.edges, fds.kernel, fds.kernel_size, fds.sigma, fds.momentum)


def layout_of(split: Split) -> Layout:
    """Return the layout of a split: numbers alone."""
    return Layout(tuple(Slot(i, "number") for i in range(split.x.shape[1])))


def recipe(seed: int, smoothing: FeatureSmoothing | None, epochs: int = 40) -> Recipe:
    """Return how a net is trained."""
    return Recipe(
        loss="mse", epochs=epochs, max_steps=3000, batch_size=None, learning_rate=3e-3, weight_decay=3e-4, patience=6,
        n_bins=16, seed=seed, smoothing=smoothing,
    )  # fmt: skip


def stops(split: Split, seed: int) -> np.ndarray:
    """A sixth of the owners decides when to stop."""
    owners = np.unique(split.owners)
    return np.isin(split.owners, np.random.default_rng(seed).choice(owners, len(owners) // 6, replace=False))


def mlp(
    split: Split, margins: np.ndarray, weights: np.ndarray, seed: int, smoothing: FeatureSmoothing | None
) -> np.ndarray:
    """Fit the product's MLP; see :data:`Learner`."""
    rows = Rows(split.x, margins, weights, stops(split, seed))
    trained = train(SPEC, rows, layout_of(split), recipe(seed, smoothing))
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    return margin(net, split.test_x, pool=False)


def lightgbm(
    split: Split, margins: np.ndarray, weights: np.ndarray, seed: int, smoothing: FeatureSmoothing | None,
    level: float | None = None,
) -> np.ndarray:  # fmt: skip
    """Fit a LightGBM; see :data:`Learner`. ``level``: by expectile loss, else by squared error."""
    import lightgbm as library

    stop = stops(split, seed)
    model = library.LGBMRegressor(
        n_estimators=1000, learning_rate=0.05, num_leaves=15, min_child_samples=50, colsample_bytree=0.6,
        subsample=0.8, subsample_freq=1, reg_lambda=5.0, random_state=seed, n_jobs=1, verbose=-1,
        objective="regression" if level is None else expectile_objective(level),
    )  # fmt: skip
    model.fit(
        split.x[~stop], margins[~stop], sample_weight=weights[~stop], eval_X=split.x[stop], eval_y=margins[stop],
        eval_metric=None if level is None else expectile_metric(level), eval_sample_weight=[weights[stop]],
        callbacks=[library.early_stopping(50, verbose=False)],
    )  # fmt: skip
    return np.asarray(model.predict(split.test_x))


def resampled(split: Split, seed: int) -> Split:
    """SMOTER (Torgo et al., 2013) by the package resreg, balanced; labels above the upper decile are relevant."""
    import resreg

    known = np.nan_to_num(split.x)
    relevance = resreg.sigmoid_relevance(split.y, cl=None, ch=np.quantile(split.y, 0.9))
    x, y = resreg.smoter(known, split.y, relevance, relevance_threshold=0.5, k=5, over="balance", random_state=seed)
    return Split(np.asarray(x), np.asarray(y), np.arange(len(y)), split.test_x, split.test_y)
