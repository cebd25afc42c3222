"""Rank owners of many tables with remedi_spark and its peers, on the same rows.

    python benchmarks/quality.py run --data DIR --peer-python ENV/bin/python --seeds 0,1,2,3,4
    python benchmarks/quality.py table --into docs/measurements/2026-11-27-peers.md

``run`` adds one line a (set, seed, system) to ``RESULTS``; what is there already is not run again. Peers: one LightGBM
with sane settings, and AutoGluon ``best_quality`` in the environment that ``--peer-python`` names (left out without
it). ``table`` compares them: relative differences of AP with an interval over sets (a bootstrap of whole sets), wins
and losses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from pages import insert
from quality_sets import NAMES, Split, prepare
from quality_table import tables

from remedi_spark.maths.ranking import ranking_metrics

RESULTS = Path("run/quality/results.jsonl")
BUDGET = 0.075
KEPT = ("ap", "auc", "recall_at_k", "lift_at_k")
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.command()
def run(
    sets: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(NAMES),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0,1,2,3,4",
    data: Annotated[Path | None, typer.Option(help="Folder of the flat tables.")] = None,
    peer_python: Annotated[Path | None, typer.Option(help="Python that has AutoGluon.")] = None,
    peer_seconds: Annotated[int, typer.Option(help="AutoGluon's time_limit.")] = 300,
    preset: Annotated[str, typer.Option(help="Of remedi train: quick, standard, best.")] = "standard",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Passed on to remedi train.")] = None,
    systems: Annotated[str, typer.Option(help="Which of remedi, lightgbm, autogluon.")] = "remedi,lightgbm,autogluon",
    results: Annotated[Path, typer.Option(help="Lines of JSON to add to.")] = RESULTS,
) -> None:
    """Run every system on every set and seed."""
    work = results.parent
    work.mkdir(parents=True, exist_ok=True)
    wanted = systems.split(",")
    for seed in map(int, seeds.split(",")):
        for name in sets.split(","):
            done = {row["system"] for row in _rows(results) if (row["set"], row["seed"]) == (name, seed)}
            split = prepare(name, seed, data, work)
            if "lightgbm" in wanted and "one_lightgbm" not in done:
                _add(results, name, seed, _one_lightgbm(split, seed))
            if "remedi" in wanted and "student" not in done:
                _add(results, name, seed, _remedi(split, seed, preset, overrides or []))
            if "autogluon" in wanted and peer_python and "autogluon" not in done:
                _add(results, name, seed, _autogluon(split, seed, peer_python, peer_seconds))


@app.command()
def table(
    into: Annotated[Path, typer.Option(help="Markdown file with the marks <!-- quality --> and <!-- end -->.")],
    results: Annotated[Path, typer.Option(help="What run wrote.")] = RESULTS,
) -> None:
    """Write the comparison into a page."""
    insert(tables(pd.DataFrame(_rows(results))), "quality", into)


def _rows(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _add(results: Path, name: str, seed: int, found: list[dict[str, Any]]) -> None:
    with results.open("a") as file:
        for row in found:
            file.write(json.dumps({"set": name, "seed": seed, **row}) + "\n")
            typer.echo(f"{name} seed {seed} {row['system']}: AP {row['ap']:.4f} in {row['seconds']:.0f} s")


def _measure(system: str, split: Split, scores: np.ndarray, seconds: float) -> dict[str, Any]:
    labels = pd.read_parquet(split.test, columns=["label"])["label"].to_numpy()
    metrics = ranking_metrics(labels, scores, max(1, int(np.ceil(BUDGET * len(labels)))))
    return {"system": system, "seconds": seconds, **{metric: metrics[metric] for metric in KEPT}}


def _remedi(split: Split, seed: int, preset: str, overrides: list[str]) -> list[dict[str, Any]]:
    model = split.test.parent / "model"
    command = [
        sys.executable, "-m", "remedi_spark.cli", "train", "--table", str(split.train), "--test", str(split.test),
        "--label", "label", "--id", "owner_id", "--model", str(model), "--preset", preset, "--set", f"seed={seed}",
        *(["--time", split.time] if split.time else []), *[part for one in overrides for part in ("--set", one)],
    ]  # fmt: skip
    start = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - start
    metrics = json.loads((model / "metrics.json").read_text())
    return [
        {"system": name, "seconds": seconds, **{metric: found[metric] for metric in KEPT}}
        for name, found in metrics["models"].items()
    ]


def _one_lightgbm(split: Split, seed: int) -> list[dict[str, Any]]:
    """One LightGBM: native categories, a tenth of the owners decides when to stop."""
    import lightgbm

    train, test = pd.read_parquet(split.train), pd.read_parquet(split.test)
    features = [name for name in train.columns if name not in ("owner_id", "snapshot_date", "label")]
    for name in features:
        if not pd.api.types.is_numeric_dtype(train[name]):
            levels = pd.CategoricalDtype(sorted(train[name].dropna().unique()))
            train[name], test[name] = train[name].astype(levels), test[name].astype(levels)
    owners = train["owner_id"].unique()
    stop = train["owner_id"].isin(np.random.default_rng(seed).choice(owners, len(owners) // 10, replace=False))
    start = time.time()
    model = lightgbm.LGBMClassifier(
        n_estimators=2000, learning_rate=0.03, num_leaves=31, min_child_samples=30, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.7, reg_lambda=1.0, random_state=seed, n_jobs=2, verbose=-1,
    ).fit(
        train.loc[~stop, features], train.loc[~stop, "label"],
        eval_set=[(train.loc[stop, features], train.loc[stop, "label"])],
        callbacks=[lightgbm.early_stopping(100, verbose=False)],
    )  # fmt: skip
    scores = np.asarray(model.predict_proba(test[features]))[:, 1]
    return [_measure("one_lightgbm", split, scores, time.time() - start)]


def _autogluon(split: Split, seed: int, python: Path, seconds: int) -> list[dict[str, Any]]:
    folder = split.test.parent
    scores, facts = folder / "autogluon.parquet", folder / "autogluon.json"
    command = [
        str(python), str(Path(__file__).with_name("peer_autogluon.py")), "--train", str(split.train),
        "--test", str(split.test), "--scores", str(scores), "--facts", str(facts),
        "--models", str(folder / "autogluon"), "--seconds", str(seconds), "--seed", str(seed),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    probability = pd.read_parquet(scores)["autogluon"].to_numpy(dtype=np.float64)
    return [_measure("autogluon", split, probability, json.loads(facts.read_text())["seconds"])]


if __name__ == "__main__":
    app()
