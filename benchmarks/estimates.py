"""Estimates without labels, looked at afterwards: how often the interval held what the labels then showed.

    remedi features --config conf/complete_journey.yaml --set features.label.category=SUSHI --root run/sushi
    python benchmarks/estimates.py run/sushi run/infant --origins 20 --every 7
    python benchmarks/estimates.py --online-retail online_retail.parquet --root run/retail

At each origin a boosted model is fitted by owner fold on the snapshots whose labels were known, calibrated on its
out-of-fold margins, and its twin is judged on the latest of them: the product's own steps with one cheap model. Then
the snapshot of the origin is scored, estimated, and its labels are looked at. Beside the shipped estimate: the naive
one (probabilities taken at their word, sampling alone), the one corrected by EM for a shift of the prior, and the one
whose calibration is weighted towards the scored rows by a domain classifier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import lightgbm
import numpy as np
import pandas as pd
import typer
import yaml

from remedi_spark.cli import main as remedi
from remedi_spark.config.spark import SparkConfig
from remedi_spark.maths.calibrator_choice import best_calibrator
from remedi_spark.maths.expected import Correction, Estimate, corrected, estimate, learned, prior_shift
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.maths.recalibration import Recalibration, for_later_rows
from remedi_spark.maths.score_grid import ScoredRows
from remedi_spark.scoring.monitoring.holdout import GROUPS, HoldoutScores
from remedi_spark.spark.session import get_session
from remedi_spark.storage.tables import Tables

KEYS = ["owner_id", "snapshot_date", "label"]
FOLDS = 3
TREES = {
    "objective": "binary", "learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 60, "feature_fraction": 0.5,
    "bagging_fraction": 0.8, "bagging_freq": 1, "verbosity": -1, "num_threads": 1, "seed": 0, "deterministic": True,
}  # fmt: skip
ROUNDS = 60
METRICS = ("recall_at_k", "precision_at_k", "lift_at_k", "ap")
AT_THEIR_WORD = Recalibration(np.array([0.0, 1.0]), np.diag([1e-12, 1e-12]))
RETAIL = ("85123A", "22423", "85099B", "47566")
"""Products of the Online Retail log, each of which is a label: who buys it within 28 days."""


@dataclass(frozen=True)
class Case:
    """One origin: what was known, and what came."""

    log: str
    origin: pd.Timestamp
    scored: np.ndarray
    labels: np.ndarray
    holdout: HoldoutScores
    weighted: HoldoutScores
    """The same, weighted towards the scored rows."""


def fit(rows: pd.DataFrame, features: list[str]) -> tuple[list[lightgbm.Booster], object]:
    """Return one booster a fold of owners, and the calibrator of their out-of-fold margins."""
    fold = pd.util.hash_array(rows["owner_id"].astype(str).to_numpy()) % FOLDS
    x, y = rows[features], rows["label"].to_numpy()
    boosters, margins = [], np.zeros(len(rows))
    for k in range(FOLDS):
        data = lightgbm.Dataset(x[fold != k], y[fold != k], free_raw_data=True)
        boosters.append(lightgbm.train(TREES, data, ROUNDS))
        margins[fold == k] = boosters[-1].predict(x[fold == k], raw_score=True)
    return boosters, best_calibrator(margins, y, groups=fold, seed=0)


def score(model: tuple[list[lightgbm.Booster], object], rows: pd.DataFrame, features: list[str]) -> np.ndarray:
    """Return calibrated probabilities."""
    boosters, calibrate = model
    return calibrate(np.mean([one.predict(rows[features], raw_score=True) for one in boosters], axis=0))


def cases(log: str, table: pd.DataFrame, origins: int, every: int, embargo: int) -> Iterator[Case]:
    """Yield the latest origins that have 20 positives in training and hold-out."""
    features = [name for name in table.columns if name not in KEYS]
    days = sorted(table.loc[table["label"].notna(), "snapshot_date"].unique())
    chosen, wait = [], timedelta(days=embargo)
    for day in reversed(days):
        if not chosen or chosen[-1] - day >= timedelta(days=every):
            chosen.append(day)
    for day in chosen[:origins][::-1]:
        known = [one for one in days if one <= day - wait]
        tests = known[-max(1, len(known) // 4) :]
        learned = [one for one in known if tests and one <= tests[0] - wait]
        parts = [table[table["snapshot_date"].isin(some)] for some in (learned, tests, known, [day])]
        if min(part["label"].sum() for part in parts[:2]) < 20 or not parts[3]["label"].sum():
            continue
        twin, shipped = fit(parts[0], features), fit(parts[2], features)
        tested, scored = score(twin, parts[1], features), score(shipped, parts[3], features)
        groups = pd.util.hash_array(parts[1]["owner_id"].astype(str).to_numpy()) % GROUPS
        labels = parts[1]["label"].to_numpy(dtype=float)
        weights = towards(parts[1][features], parts[3][features])
        yield Case(
            log, day, scored, parts[3]["label"].to_numpy(dtype=float),
            HoldoutScores.of(tested, labels, groups.astype(float)),
            HoldoutScores.of(tested, labels * weights, groups.astype(float), weights),
        )  # fmt: skip


def towards(then: pd.DataFrame, now: pd.DataFrame) -> np.ndarray:
    """Return weights of rows so that they look like those of now: a domain classifier's odds, at most 10, mean 1."""
    both, is_now = pd.concat([then, now]), np.repeat([0, 1], [len(then), len(now)])
    half = np.arange(len(both)) % 2
    odds = np.zeros(len(both))
    for k in range(2):
        model = lightgbm.train(TREES, lightgbm.Dataset(both[half != k], is_now[half != k]), 30)
        odds[half == k] = np.exp(model.predict(both[half == k], raw_score=True))
    found = np.minimum(odds[: len(then)] * len(then) / len(now), 10)
    return found / found.mean()


def figures(found: list[Case], budget: float, embargo: int, sds: list[float]) -> Iterator[dict[str, object]]:
    """Yield each method's estimates and what was realised, case by case in the order of time."""
    ways = ["naive", "shipped", "covariate", *(f"prior {sd:g}" for sd in sds)]
    past: dict[str, list[tuple[pd.Timestamp, str, float, Estimate]]] = {name: [] for name in ways}
    wait = timedelta(days=embargo)
    for case in found:
        rows = ScoredRows.of(case.scored)
        k = max(1, int(np.ceil(budget * len(case.scored))))
        true = ranking_metrics(case.labels, case.scored, k)
        for name in ways:
            known = case.weighted.known if name == "covariate" else case.holdout.known
            if name == "naive":
                known = AT_THEIR_WORD
            if name.startswith("prior"):
                shift = prior_shift(rows, known, case.holdout.prior or 0.01, sd=float(name.split()[1]))
                known = Recalibration(known.mean + np.array([shift, 0]), known.covariance)
            if name != "naive":
                known = for_later_rows(known)
            plain = estimate(rows, k, known)
            for metric in METRICS:
                ripe = [pair for day, at, *pair in past[name] if at == metric and day + wait <= case.origin]
                one = corrected(metric, plain[metric], learned(ripe) if name != "naive" else Correction())
                past[name].append((case.origin, metric, true[metric], plain[metric]))
                yield {
                    "log": case.log, "origin": str(case.origin)[:10], "way": name, "metric": metric,
                    "positives": int(case.labels.sum()), "held": one.low <= true[metric] <= one.high,
                    "error": one.value - true[metric], "width": one.high - one.low, "true": true[metric],
                    "estimated": one.value, "low": one.low, "high": one.high,
                }  # fmt: skip


def retail_features(source: Path, root: Path) -> list[Path]:
    """Run stage 1 on the Online Retail log once for each label; return the roots."""
    roots = []
    for product in RETAIL:
        roots.append(root / product)
        if (roots[-1] / "owner_features").exists():
            continue
        windows = {"windows": [28, 84]}
        measures = {
            "lines": {"aggregate": "count"}, "days": {"aggregate": "active_days", **windows},
            "last": {"aggregate": "days_since_last"}, "units": {"aggregate": "sum", "of": "Quantity"},
        }  # fmt: skip
        spend = {
            "spend": {"aggregate": "sum", "of": "Quantity * UnitPrice"},
            "products": {"aggregate": "distinct", "of": "StockCode", **windows},
        }  # fmt: skip
        events = {"table": str(source), "event_time": "InvoiceDate"}
        tree = {
            "root": str(roots[-1]), "spark": {"shuffle_partitions": 4},
            "features": {
                "entity": "CustomerID", "sources": {"events": events}, "windows": [14, 56, 168],
                "label": {"source": "events", "column": "StockCode", "category": product, "horizon_days": 28},
                "snapshots": {"start": "2011-02-01", "every_days": 7, "data_end": "2011-12-08"},
                "quarantine": {"max_share": 0.3},  # a quarter of the lines has no customer
                "groups": {"total": {"source": "events", "measures": measures | spend},
                           "mine": {"source": "events", "where": "StockCode = {category}", "measures": measures}},
            },
        }  # fmt: skip
        config = root / f"{product}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(tree))
        try:
            remedi(["features", "--config", str(config)])
        except SystemExit as stop:
            if stop.code:
                raise
    return roots


def main(
    roots: Annotated[list[Path] | None, typer.Argument(help="Roots with owner_features.")] = None,
    online_retail: Annotated[Path | None, typer.Option(help="The Online Retail log as Parquet.")] = None,
    root: Annotated[Path, typer.Option(help="Where its features go.")] = Path("run/retail"),
    origins: int = 12,
    every: int = 7,
    budget: float = 0.07,
    embargo: int = 28,
    sd: Annotated[list[float] | None, typer.Option(help="Deviations of the prior's shift to try.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of what was fitted; what is there is not fitted again.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file of all cases.")] = None,
) -> None:
    """Print, by log and method, how often the 90 % interval held what came, the mean error and the width."""
    places = [*(roots or []), *(retail_features(online_retail, root) if online_retail else [])]
    rows: list[dict[str, object]] = []
    for place in places:
        found = kept(place, keep, origins, every, embargo)
        rows.extend(figures(found, budget, embargo, sd or [0.2, 0.5]))
        shown(pd.DataFrame(rows), place.name)
    told = pd.DataFrame(rows)
    if out is not None:
        told.to_parquet(out)
    shown(told, None)
    typer.echo(json.dumps({"cases": int(told[["log", "origin"]].drop_duplicates().shape[0])}))


def kept(place: Path, keep: Path | None, origins: int, every: int, embargo: int) -> list[Case]:
    """Return the cases of a root, fitted now or before."""
    file = None if keep is None else keep / f"{place.name}.npz"
    if file is not None and file.exists():
        return [unpacked(place.name, one) for one in np.load(file, allow_pickle=True)["cases"]]
    found = list(cases(place.name, rows_of(place), origins, every, embargo))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        packed = [
            {"origin": one.origin, "scored": one.scored, "labels": one.labels, "holdout": one.holdout.to_dict(),
             "weighted": one.weighted.to_dict()}
            for one in found
        ]  # fmt: skip
        np.savez(file, cases=np.array(packed, dtype=object))
    return found


def unpacked(log: str, one: dict[str, Any]) -> Case:
    """Return a case that was kept."""
    counts = (HoldoutScores.from_dict(one[name]) for name in ("holdout", "weighted"))
    return Case(log, one["origin"], one["scored"], one["labels"], *counts)


def rows_of(root: Path) -> pd.DataFrame:
    """Return the owner features below a root, texts as codes."""
    table = Tables(get_session(SparkConfig()), str(root)).read("owner_features").toPandas()
    table["snapshot_date"] = pd.to_datetime(table["snapshot_date"])
    for name in table.columns.difference(KEYS):
        text = pd.api.types.is_object_dtype(table[name])
        table[name] = table[name].astype("category").cat.codes if text else table[name].astype(float)
    return table


def shown(found: pd.DataFrame, log: str | None) -> None:
    """Print a table of coverage, bias and width by method and metric."""
    part = found if log is None else found[found["log"] == log]
    if not len(part):
        return
    typer.echo(f"\n{log or 'all'}: {part[['log', 'origin']].drop_duplicates().shape[0]} cases")
    grouped = part.groupby(["metric", "way"], sort=False)
    table = grouped.agg(held=("held", "mean"), bias=("error", "mean"), width=("width", "mean"), true=("true", "mean"))
    table["mae"] = grouped["error"].apply(lambda error: error.abs().mean())
    typer.echo(table.round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
