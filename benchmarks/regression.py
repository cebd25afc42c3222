"""Deep imbalanced regression on tables: does smoothing over labels help where labels are rare?

    python benchmarks/regression.py run --sets planted,spend,rare_department --seeds 0,1,2,3,4
    python benchmarks/regression.py table --into docs/measurements/2026-11-26-smoothing.md
    python benchmarks/regression.py cost

``run`` fits one MLP of the product and one LightGBM in this process, without Spark, and adds one line a (set, seed,
model, scale, variant) to ``--results``; what is there already is not run again. Variants: ``vanilla``; ``lds`` (row
weights by the root of the density, as in the paper); ``apart`` (the same, but labels of 0 keep weight 1 where one in
twenty is 0; left out elsewhere); ``inverse`` (``apart``, by the density itself); ``auto`` (the default: ``apart`` or no
weights, as trial fits on the training rows tell); ``fds`` (nets: feature smoothing); ``both`` (``apart`` and ``fds``);
``smoter`` (resampling by the package resreg, where it is installed). Errors are measured on test rows by how many
training rows had a label like it: 100 bins of equal width, many > 100 rows, few < 20. ``table`` writes the means over
seeds with 95 % intervals (t distribution).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from pages import insert
from regression_sets import NAMES, Split, prepare
from regression_table import table as table_of

from remedi_spark.config import load_config
from remedi_spark.config.regression import ZERO_INFLATED, Weights
from remedi_spark.labels.weights import Errors, best_weights
from remedi_spark.maths.label_density import LabelDensity
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.lds import width_edges
from remedi_spark.maths.regression import shot_metrics, spearman, value_at_k
from remedi_spark.models.nets.models import build
from remedi_spark.models.nets.smoothing import FeatureSmoothing
from remedi_spark.models.nets.training import Recipe, Rows, margin, train
from remedi_spark.samples.layout import Layout, Slot

RESULTS = Path("run/regression/results.jsonl")
TREE_VARIANTS = ("vanilla", "lds", "apart", "inverse", "auto", "smoter")
NET_VARIANTS = (*TREE_VARIANTS, "fds", "both")
PLAIN = ",".join(name for name in NET_VARIANTS if name != "smoter")
WEIGHTS: dict[str, Weights] = {"lds": "sqrt_inv", "apart": "sqrt_inv", "both": "sqrt_inv", "inverse": "inverse"}
"""Kind of row weights by variant; the others have none."""
BUDGET = 0.075
SHOT_BINS = 100
SPEC = {"kind": "mlp", "embedding_dim": 8, "hidden": [128, 64], "dropout": 0.1}
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@dataclass(frozen=True)
class Fit:
    """One model to fit."""

    model: str
    scale: str
    variant: str

    @property
    def smoothed(self) -> bool:
        """Features are smoothed."""
        return self.variant in ("fds", "both")


@app.command()
def run(
    sets: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(NAMES),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0,1,2,3,4",
    scales: Annotated[str, typer.Option(help="linear, asinh or both, separated by commas.")] = "linear,asinh",
    models: Annotated[str, typer.Option(help="mlp, lightgbm or both, separated by commas.")] = "lightgbm,mlp",
    variants: Annotated[str, typer.Option(help="Which variants.")] = PLAIN,
    data: Annotated[Path | None, typer.Option(help="Folder of the fremtpl2 tables.")] = None,
    results: Annotated[Path, typer.Option(help="Lines of JSON to add to.")] = RESULTS,
) -> None:
    """Fit every variant on every set and seed."""
    torch.set_num_threads(1)
    results.parent.mkdir(parents=True, exist_ok=True)
    for seed in map(int, seeds.split(",")):
        for name in sets.split(","):
            split = prepare(name, seed, data)
            for fit in _fits(models, scales, variants):
                if fit.variant == "apart" and not _many_zeros(split.y):
                    continue
                key = {"set": name, "seed": seed, "model": fit.model, "scale": fit.scale, "variant": fit.variant}
                if key not in _done(results):
                    _add(results, key | _measure(split, fit, seed))


@app.command()
def table(
    into: Annotated[Path, typer.Option(help="Markdown file with the marks <!-- regression --> and <!-- end -->.")],
    results: Annotated[Path, typer.Option(help="What run wrote.")] = RESULTS,
) -> None:
    """Write the comparison into a page."""
    insert(table_of(pd.DataFrame(_rows(results))), "regression", into)


@app.command()
def cost(rows: int = 20_000, epochs: int = 4, repeats: int = 5) -> None:
    """Print the CPU seconds of an epoch with and without feature smoothing, paired, and of the weights."""
    torch.set_num_threads(1)
    split = prepare("planted", 0, None, rows=rows)
    scale, density, _, _ = _weighted(split.y, "linear", "sqrt_inv")
    for spec in (SPEC, {"kind": "tabm", "embedding_dim": 4, "members": 8, "blocks": 2, "width": 96, "dropout": 0.1}):
        ratios = []
        for seed in range(repeats):
            seconds = []
            for smoothing in (None, _smoothing(density)):
                recipe = _recipe(seed, smoothing, epochs=epochs)
                inner = Rows(split.x, scale.margin(split.y), np.ones(len(split.y)), np.arange(len(split.y)) % 7 == 0)
                begun = time.process_time()
                train(spec, inner, _layout(split), recipe)
                seconds.append((time.process_time() - begun) / epochs)
            ratios.append(seconds[1] / seconds[0] - 1)
            typer.echo(f"{spec['kind']} seed {seed}: {seconds[0]:.2f} s an epoch, {seconds[1]:.2f} with FDS")
        typer.echo(f"{spec['kind']}: FDS adds {np.median(ratios):+.1%} (median of {repeats} pairs, CPU)")
    begun = time.process_time()
    _weighted(split.y, "linear", "sqrt_inv")
    typer.echo(f"LDS weights of {rows} rows: {time.process_time() - begun:.3f} s, once a training")


def _fits(models: str, scales: str, variants: str) -> list[Fit]:
    wanted = variants.split(",")
    by_model = {"lightgbm": TREE_VARIANTS, "mlp": NET_VARIANTS}
    return [
        Fit(model, scale, variant)
        for model in models.split(",")
        for scale in scales.split(",")
        for variant in by_model[model]
        if variant in wanted
    ]


def _rows(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _done(results: Path) -> list[dict[str, Any]]:
    keys = ("set", "seed", "model", "scale", "variant")
    return [{name: row[name] for name in keys} for row in _rows(results)]


def _add(results: Path, row: dict[str, Any]) -> None:
    with results.open("a") as file:
        file.write(json.dumps(row) + "\n")
    about = " ".join(str(row[name]) for name in ("set", "seed", "model", "scale", "variant"))
    typer.echo(f"{about}: MAE {row['all']['mae']:.4g}, few-shot {row['few']['mae']:.4g} in {row['cpu']:.1f} CPU s")


def _measure(split: Split, fit: Fit, seed: int) -> dict[str, Any]:
    begun = time.process_time()
    learned = _resampled(split, seed) if fit.variant == "smoter" else split
    kind = _trial_choice(learned, fit.scale, seed) if fit.variant == "auto" else WEIGHTS.get(fit.variant, "none")
    scale, density, margins, weights = _weighted(learned.y, fit.scale, kind, paper=fit.variant == "lds")
    fitted = _mlp if fit.model == "mlp" else _lightgbm
    predictions = scale(fitted(learned, margins, weights, seed, _smoothing(density) if fit.smoothed else None))
    cpu = time.process_time() - begun
    edges = width_edges(split.y.min(), split.y.max(), SHOT_BINS)
    counts, _ = np.histogram(split.y, edges)
    shots = shot_metrics(split.test_y, predictions, edges=edges, train_counts=counts)
    k = max(1, int(np.ceil(BUDGET * len(predictions))))
    ranking = {"spearman": spearman(split.test_y, predictions), "value_at_k": value_at_k(split.test_y, predictions, k)}
    return {"cpu": cpu, "weights": kind, **ranking, **shots}


def _many_zeros(y: np.ndarray) -> bool:
    return bool(np.mean(y == 0) >= ZERO_INFLATED)


def _weighted(
    y: np.ndarray, scale: str, kind: Weights, *, paper: bool = False
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
    edges, lds = width_edges(margins.min(), margins.max(), config.bins), config.lds
    alone = (y == 0) & (not paper and _many_zeros(y))
    counts, _ = np.histogram(margins[~alone], edges)
    density = LabelDensity.from_histogram(
        edges, counts, reweight=kind, kernel=lds.kernel, kernel_size=lds.kernel_size, sigma=lds.sigma, exact=True
    )
    return fitted, density, margins, np.where(alone, 1.0, density.weight_of(margins))


def _trial_choice(split: Split, scale: str, seed: int) -> str:
    """Return the weights that pay on two folds of owners, as the product's ``labels/weights.py``."""
    owners, place = np.unique(split.owners, return_inverse=True)
    fold = np.random.default_rng(seed).integers(0, 5, len(owners))[place]
    errors, config = {}, load_config(task="regression").regression
    for kind in config.lds.kinds:
        rows, totals = np.zeros((2, config.bins))
        for left_out in (fold == 0, fold == 1):
            held, kept = split.y[left_out], ~left_out
            trial = Split(split.x[kept], split.y[kept], split.owners[kept], split.x[left_out], held)
            fitted, density, margins, weights = _weighted(trial.y, scale, kind)
            amounts = fitted(_lightgbm(trial, margins, weights, seed, None))
            bins = density.bin_of(fitted.margin(held))
            rows += np.bincount(bins, minlength=len(rows))
            totals += np.bincount(bins, np.abs(amounts - held), minlength=len(rows))
        errors[kind] = Errors.of_bins(rows[rows > 0], totals[rows > 0])
    return best_weights(errors)


def _smoothing(density: LabelDensity) -> FeatureSmoothing:
    fds = load_config(task="regression").regression.fds
    return FeatureSmoothing(density.edges, fds.kernel, fds.kernel_size, fds.sigma, fds.momentum)


def _layout(split: Split) -> Layout:
    return Layout(tuple(Slot(i, "number") for i in range(split.x.shape[1])))


def _recipe(seed: int, smoothing: FeatureSmoothing | None, epochs: int = 40) -> Recipe:
    return Recipe(
        loss="mse", epochs=epochs, max_steps=3000, batch_size=None, learning_rate=3e-3, weight_decay=3e-4, patience=6,
        n_bins=16, seed=seed, smoothing=smoothing,
    )  # fmt: skip


def _stops(split: Split, seed: int) -> np.ndarray:
    """A sixth of the owners decides when to stop."""
    owners = np.unique(split.owners)
    return np.isin(split.owners, np.random.default_rng(seed).choice(owners, len(owners) // 6, replace=False))


def _mlp(
    split: Split, margins: np.ndarray, weights: np.ndarray, seed: int, smoothing: FeatureSmoothing | None
) -> np.ndarray:
    rows = Rows(split.x, margins, weights, _stops(split, seed))
    trained = train(SPEC, rows, _layout(split), _recipe(seed, smoothing))
    net = build(trained.spec)
    net.load_state_dict(trained.state)
    return margin(net, split.test_x, pool=False)


def _lightgbm(
    split: Split, margins: np.ndarray, weights: np.ndarray, seed: int, smoothing: FeatureSmoothing | None
) -> np.ndarray:
    import lightgbm

    stop = _stops(split, seed)
    model = lightgbm.LGBMRegressor(
        n_estimators=1000, learning_rate=0.05, num_leaves=15, min_child_samples=50, colsample_bytree=0.6,
        subsample=0.8, subsample_freq=1, reg_lambda=5.0, random_state=seed, n_jobs=1, verbose=-1,
    )  # fmt: skip
    model.fit(
        split.x[~stop], margins[~stop], sample_weight=weights[~stop], eval_X=split.x[stop], eval_y=margins[stop],
        eval_sample_weight=[weights[stop]], callbacks=[lightgbm.early_stopping(50, verbose=False)],
    )  # fmt: skip
    return np.asarray(model.predict(split.test_x))


def _resampled(split: Split, seed: int) -> Split:
    """SMOTER (Torgo et al., 2013) by the package resreg, balanced; labels above the upper decile are relevant."""
    import resreg

    known = np.nan_to_num(split.x)
    relevance = resreg.sigmoid_relevance(split.y, cl=None, ch=np.quantile(split.y, 0.9))
    x, y = resreg.smoter(known, split.y, relevance, relevance_threshold=0.5, k=5, over="balance", random_state=seed)
    return Split(np.asarray(x), np.asarray(y), np.arange(len(y)), split.test_x, split.test_y)


if __name__ == "__main__":
    app()
