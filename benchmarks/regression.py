"""Deep imbalanced regression on tables: does smoothing over labels help where labels are rare?

    python benchmarks/regression.py run --sets planted,spend,rare_department --seeds 0,1,2,3,4
    python benchmarks/regression.py table --into docs/measurements/2026-11-26-smoothing.md
    python benchmarks/regression.py cost

``run`` fits one MLP of the product and one LightGBM in this process, without Spark, and adds one line a (set, seed,
model, scale, variant) to ``--results``; what is there already is not run again. Variants: ``vanilla``; ``lds`` (row
weights by the root of the density, as in the paper); ``apart`` (the same, but labels of 0 keep weight 1 where one in
twenty is 0; left out elsewhere); ``inverse`` (``apart``, by the density itself); ``auto`` (the default: a share of
``apart``, of ``inverse`` or no weights, as trial fits on the training rows tell); ``blend`` (two fits, one with the
weights and one without, their margins mixed by the same shares and chosen by the same rule on the same inner folds);
``smeared`` (no weights, brought back to the mean amount by out-of-fold residuals); ``relevance`` (a quarter of
the weights by how extreme a label is, as SERA); ``owners`` (a quarter of ``inverse``, which is divided by the root
of how many rows of a bin are the owner's); ``expectile`` (LightGBM: expectile loss of level .6); ``fds`` (nets: feature
smoothing); ``both`` (``apart`` and ``fds``); ``balanced`` (nets: Balanced MSE); ``smoter`` (resampling by the package
resreg, where it is installed).
Errors are measured on test rows by how many training rows had a label like it: 100 bins of equal width, many > 100
rows, few < 20. ``table`` writes the means over seeds with 95 % intervals (t distribution) against no weights on
``--against``, and ``goal`` the means over sets.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from pages import insert
from regression_balanced import balanced_mlp
from regression_fits import PLAIN as NO_WEIGHTS
from regression_fits import (
    SPEC,
    blend_choice,
    discounted,
    layout_of,
    lightgbm,
    many_zeros,
    mlp,
    recipe,
    resampled,
    smeared,
    smoothing_of,
    trial_choice,
    weighted,
)
from regression_sets import NAMES, Split, prepare
from regression_table import goal_table
from regression_table import table as table_of

from remedi_spark.config.regression import Weighting
from remedi_spark.maths.label_density import width_edges
from remedi_spark.maths.regression import shot_metrics, spearman, value_at_k
from remedi_spark.maths.relevance import Relevance, sera
from remedi_spark.models.nets.training import Rows, train

RESULTS = Path("run/regression/results.jsonl")
TREE_VARIANTS = ("vanilla", "lds", "apart", "inverse", "auto", "blend", "smeared", "relevance", "owners", "smoter")
NET_VARIANTS = (*TREE_VARIANTS, "fds", "both", "balanced")
TREE_VARIANTS = (*TREE_VARIANTS, "expectile")
PLAIN = ",".join(name for name in NET_VARIANTS if name != "smoter")
_ROOT = Weighting("sqrt_inv")
WEIGHTS = {
    "lds": _ROOT,
    "apart": _ROOT,
    "both": _ROOT,
    "inverse": Weighting("inverse"),
    "relevance": Weighting("relevance", 0.25),
    "owners": Weighting("inverse", 0.25),
}
"""Row weights by variant; the others have none."""
BUDGET = 0.075
LEVEL = 0.6
"""Of the expectile loss."""
SHOT_BINS = 100
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
                if fit.variant == "apart" and not many_zeros(split.y):
                    continue
                key = {"set": name, "seed": seed, "model": fit.model, "scale": fit.scale, "variant": fit.variant}
                if key not in _done(results):
                    _add(results, key | _measure(split, fit, seed))


@app.command()
def table(
    into: Annotated[Path, typer.Option(help="Markdown file with the marks <!-- regression --> and <!-- end -->.")],
    results: Annotated[Path, typer.Option(help="What run wrote.")] = RESULTS,
    against: Annotated[
        str, typer.Option(help="Scale of the fit without weights that the others are held against.")
    ] = "linear",
) -> None:
    """Write the comparison into a page."""
    insert(table_of(pd.DataFrame(_rows(results)), against), "regression", into)


@app.command()
def goal(
    into: Annotated[Path, typer.Option(help="Markdown file with the marks <!-- goal --> and <!-- end -->.")],
    results: Annotated[Path, typer.Option(help="What run wrote.")] = RESULTS,
) -> None:
    """Write into a page what the choices cost and gain in the mean over sets, against no weights on either scale."""
    insert(goal_table(pd.DataFrame(_rows(results))), "goal", into)


@app.command()
def cost(rows: int = 20_000, epochs: int = 4, repeats: int = 5) -> None:
    """Print the CPU seconds of an epoch with and without feature smoothing, paired, and of the weights."""
    torch.set_num_threads(1)
    split = prepare("planted", 0, None, rows=rows)
    scale, density, _, _ = weighted(split.y, "linear", _ROOT)
    for spec in (SPEC, {"kind": "tabm", "embedding_dim": 4, "members": 8, "blocks": 2, "width": 96, "dropout": 0.1}):
        ratios = []
        for seed in range(repeats):
            seconds = []
            for smoothing in (None, smoothing_of(density)):
                plan = recipe(seed, smoothing, epochs=epochs)
                inner = Rows(split.x, scale.margin(split.y), np.ones(len(split.y)), np.arange(len(split.y)) % 7 == 0)
                begun = time.process_time()
                train(spec, inner, layout_of(split), plan)
                seconds.append((time.process_time() - begun) / epochs)
            ratios.append(seconds[1] / seconds[0] - 1)
            typer.echo(f"{spec['kind']} seed {seed}: {seconds[0]:.2f} s an epoch, {seconds[1]:.2f} with FDS")
        typer.echo(f"{spec['kind']}: FDS adds {np.median(ratios):+.1%} (median of {repeats} pairs, CPU)")
    begun = time.process_time()
    weighted(split.y, "linear", _ROOT)
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
    weighting, predictions = _fitted(split, fit, seed)
    cpu = time.process_time() - begun
    edges = width_edges(split.y.min(), split.y.max(), SHOT_BINS)
    counts, _ = np.histogram(split.y, edges)
    apart = many_zeros(split.y)
    shots = shot_metrics(split.test_y, predictions, edges=edges, train_counts=counts, zeros_apart=apart)
    k = max(1, int(np.ceil(BUDGET * len(predictions))))
    relevance = Relevance.of(split.y, zeros_apart=apart)(split.test_y)
    return {
        "cpu": cpu, "weights": weighting.name, "spearman": spearman(split.test_y, predictions),
        "value_at_k": value_at_k(split.test_y, predictions, k), "sera": sera(split.test_y, predictions, relevance),
        **shots,
    }  # fmt: skip


def _fitted(split: Split, fit: Fit, seed: int) -> tuple[Weighting, np.ndarray]:
    """Return the weights used and the predicted amounts of the test rows."""
    learner = mlp if fit.model == "mlp" else partial(lightgbm, level=LEVEL if fit.variant == "expectile" else None)
    learner = balanced_mlp if fit.variant == "balanced" else learner
    learned = resampled(split, seed) if fit.variant == "smoter" else split
    weighting = _weighting(learned, fit, seed)
    scale, density, margins, weights = weighted(learned.y, fit.scale, weighting, paper=fit.variant == "lds")
    if fit.variant == "blend":
        kind, share = weighting
        parts = [(1 - share, NO_WEIGHTS), (share, Weighting(kind))]
        fits = [part * learner(learned, margins, weighted(learned.y, fit.scale, one)[3], seed, None)
                for part, one in parts if part]  # fmt: skip
        return weighting, scale(np.sum(fits, axis=0))
    if fit.variant == "owners":
        weights = discounted(learned, fit.scale, weighting)
    found = learner(learned, margins, weights, seed, smoothing_of(density) if fit.smoothed else None)
    if fit.variant == "smeared":
        return weighting, smeared(learned, scale, fit.scale, seed, learner)(found)
    return weighting, scale(found)


def _weighting(split: Split, fit: Fit, seed: int) -> Weighting:
    if fit.variant == "auto":
        return trial_choice(split, fit.scale, seed)
    if fit.variant == "blend":
        return blend_choice(split, fit.scale, seed)
    return WEIGHTS.get(fit.variant, NO_WEIGHTS)


if __name__ == "__main__":
    app()
