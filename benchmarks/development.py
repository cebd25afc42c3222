"""Try members and students on development splits inside the training parts, without Spark and without a test row.

Learners, encoder and calibrator are the product's own; only the cluster is missing: what a Spark task would run, runs
here. Minutes for all flat tables, so that a setting can be chosen before a test part is looked at.

Example: python benchmarks/development.py --data DIR --sets bank,shoppers --set base_models.models.xgboost.inputs=all
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
import typer
from quality_sets import CATEGORIES, DEMO_HORIZON, FLAT, prepare
from sklearn.metrics import average_precision_score

from remedi_spark.config import Config, load_config
from remedi_spark.config.chain import ModelConfig
from remedi_spark.ensemble.fuser_training import FuserRows, stack
from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, TrainingSet, X
from remedi_spark.models.net import LABELS
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.registry import learner_for
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.encoder_fit import lists
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.spark.whole_partitions import Ran

Array = npt.NDArray[np.float64]
KEYS = ("owner_id", "snapshot_date", "label")
LATER = 0.25
"""Share of a training part that is put aside to develop on."""
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@dataclass(frozen=True)
class LocalRows:
    """Stands for the one partition of a fit's Spark frame."""

    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.table.column_names)

    def select(self, *names: str) -> LocalRows:
        """Return some columns."""
        return LocalRows(self.table.select(list(names)))


@dataclass(frozen=True)
class Bed:
    """One development split, encoded for every fold left out."""

    encoder: Encoder
    label: Array
    fold: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    """Block of each training row; one block in ``every`` stops a fit."""
    train: list[Array]
    test: list[Array]
    test_label: Array


def split(name: str, data: Path | None, work: Path, seed: int, cap: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a training part as the benchmark splits the whole: later rows where there is an order, else owners."""
    found = prepare(name, seed, data, work)
    rows = pd.read_parquet(found.train)
    if found.time:
        days = np.sort(rows["snapshot_date"].unique())
        cut = days[int(len(days) * (1 - LATER))]
        early = rows["snapshot_date"] <= cut - pd.Timedelta(days=DEMO_HORIZON)
        train, test = rows[early], rows[rows["snapshot_date"] > cut]
    elif FLAT[name].order:
        cut = int(len(rows) * (1 - LATER))
        train, test = rows.iloc[:cut], rows.iloc[cut:]
    else:
        train, test = _by_owner(rows, LATER, seed + 100)
    if len(train) > cap:
        _, train = _by_owner(train, cap / len(train), seed + 200)
    return train.reset_index(drop=True), test.reset_index(drop=True)


def _by_owner(rows: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the other owners, and of a share of the owners."""
    owners = np.sort(rows["owner_id"].unique())
    held = rows["owner_id"].isin(np.random.default_rng(seed).choice(owners, int(len(owners) * share), replace=False))
    return rows[~held], rows[held]


def encode(train: pd.DataFrame, test: pd.DataFrame, config: Config) -> Bed:
    """Assign folds by owner and fit the product's encoder from pandas counts."""
    features = [
        Feature(name, "number" if pd.api.types.is_numeric_dtype(train[name]) else "category")
        for name in train.columns
        if name not in KEYS and train[name].nunique(dropna=False) > 1
    ]
    contract = FeatureContract(tuple(features))
    rows, fresh = (contract.canonical(part) for part in (train, test))
    folds, label = config.base_models.folds, train["label"].to_numpy(dtype=np.float64)
    fold, block = _folds(train, folds, config.seed)
    levels = {i: _levels(rows[f"f{i}"], label, fold, folds) for i in contract.categories}
    encoder = Encoder(
        contract, levels, np.bincount(fold, minlength=folds).astype(float), np.bincount(fold, label, folds), folds,
        True, config.encoding.smoothing, config.encoding.max_codes,
    )  # fmt: skip
    positions = encoder.positions(rows)
    fixed = encoder.fixed(rows, positions)
    seen = [np.hstack([fixed, encoder.targets(positions, k, fold)]) if positions else fixed for k in range(folds)]
    unseen = [encoder.transform(fresh, k) for k in range(folds)]
    return Bed(encoder, label, fold, block, seen, unseen, test["label"].to_numpy(dtype=np.float64))


def _folds(train: pd.DataFrame, folds: int, seed: int) -> tuple[Any, Any]:
    """Deal owners to folds and blocks, buyers and others apart."""
    buyer = train.groupby("owner_id")["label"].max()
    number = np.empty(len(buyer), dtype=np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(buyer))
    for kind in (0, 1):
        mine = shuffled[buyer.to_numpy()[shuffled] == kind]
        number[mine] = np.arange(len(mine))
    of_row = number[buyer.index.get_indexer(train["owner_id"])]
    return of_row % folds, of_row // folds


def _levels(values: pd.Series, label: Array, fold: Any, folds: int) -> Levels:
    """Count rows and labels by level and fold, most frequent level first."""
    named = values.where(values.notna(), NULL_LEVEL)
    rows = pd.crosstab(named, fold).reindex(columns=range(folds), fill_value=0)
    sums = pd.crosstab(named, fold, values=label, aggfunc="sum").reindex_like(rows).fillna(0)
    order = np.lexsort((rows.index.to_numpy(dtype=str), -rows.to_numpy().sum(axis=1)))
    return Levels(tuple(rows.index[order]), rows.to_numpy(float)[order], sums.to_numpy(float)[order])


def fit_member(bed: Bed, model: ModelConfig, config: Config, target: Array | None = None) -> tuple[Array, Array]:
    """Return margins of the training rows, each by the fold model that never saw it, and mean margins of the others.

    ``target``: a teacher's log-odds, for a part of the student; None: the labels.
    """
    layout = bed.encoder.layout
    hidden = layout.beside_codes() if model.inputs == "codes" else []
    every = max(2, round(1 / config.base_models.validation_share))
    own, others = np.zeros(len(bed.label)), np.zeros(len(bed.test_label))
    weight = config.student.label_weight if target is not None else 0.0
    for k in range(bed.encoder.folds):
        use = bed.fold != k
        x = bed.train[k][use].copy()
        x[:, hidden] = 0.0
        columns = {
            X: lists(x), TARGET: (bed.label if target is None else target)[use], ROW_WEIGHT: np.ones(len(x)),
            VALID: (bed.valid[use] + k) % every == 0, **({LABELS: bed.label[use]} if weight else {}),
        }  # fmt: skip
        data = TrainingSet(
            LocalRows(pa.table(columns)), layout, "logistic" if target is None else "mse",  # type: ignore[arg-type]
            float(bed.label[use].mean()), len(bed.label), 1, config.seed * 1000 + k,
        )  # fmt: skip
        predict = load_predictor(learner_for(model, label_weight=weight).fit(data))
        own[~use] = predict(bed.train[k][~use])
        others += predict(bed.test[k]) / bed.encoder.folds
    return own, others


def without_spark() -> Any:
    """Let learners run here what they would run in a Spark task."""
    modules = ("lightgbm_task", "xgboost", "catboost", "net")
    return [
        patch(f"remedi_spark.models.{module}.{name}", stand_in)
        for module in modules
        for name, stand_in in (
            ("shape", lambda frame, workers: frame),
            ("run_counted", lambda frame, work, workers: [Ran(work(frame.table), frame.table.num_rows)]),
        )
    ]  # fmt: skip


def try_set(name: str, bed: Bed, config: Config) -> list[dict[str, Any]]:
    """Return AP out of fold and on the development rows of members, blends and student."""
    rows: list[dict[str, Any]] = []

    def add(what: str, own: Array | None, others: Array, seconds: float = 0.0) -> None:
        row = {"set": name, "seed": config.seed, "what": what, "seconds": round(seconds, 1)}
        row["ap"] = round(float(average_precision_score(bed.test_label, others)), 4)
        row["ap_oof"] = None if own is None else round(float(average_precision_score(bed.label, own)), 4)
        rows.append(row)
        typer.echo(json.dumps(row))

    logits, fresh, as_they_are = [], [], {}
    for member, model in config.base_models.models.items():
        if not model.enabled:
            continue
        start = time.process_time()
        own, others = fit_member(bed, model, config)
        add(member, own, others, time.process_time() - start)
        as_they_are[member] = others
        platt = PlattCalibrator.fit(own, bed.label)
        logits.append(platt.a * own + platt.b)
        fresh.append(platt.a * others + platt.b)
    own_all, fresh_all = np.column_stack(logits), np.column_stack(fresh)
    stacks = np.asarray(
        stack(FuserRows(own_all, own_all, bed.label, np.ones(len(bed.label)), bed.fold), bed.encoder.folds,
              ridge=config.fuser.stack_ridge, nonnegative=True)
    )  # fmt: skip
    stacked = (own_all * stacks[bed.fold, :-1]).sum(1) + stacks[bed.fold, -1]
    teacher = (stacked + own_all.mean(1)) / 2
    add("mean", own_all.mean(1), fresh_all.mean(1))
    add("stack", stacked, fresh_all @ stacks[-1, :-1])
    add("half of each (the fuser's start)", teacher, fresh_all @ stacks[-1, :-1] + fresh_all.mean(1))
    parts = []
    for part, model in config.student.enabled.items():
        start = time.process_time()
        parts.append(fit_member(bed, model, config, target=teacher)[1])
        add(f"student: {part}", None, parts[-1], time.process_time() - start)
    parts += [as_they_are[name] for name in config.student.members if name in as_they_are]
    add("student", None, np.mean(parts, axis=0))
    return rows


@app.command()
def main(
    sets: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(FLAT),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0",
    data: Annotated[Path | None, typer.Option(help="Folder of the flat tables.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="As for remedi train.")] = None,
    cap: Annotated[int, typer.Option(help="Training rows at most.")] = 24_000,
    work: Annotated[Path, typer.Option(help="Where prepared tables go.")] = Path("run/development"),
) -> None:
    """Print one line of JSON a member, blend and student."""
    torch.set_num_threads(1)
    for replaced in without_spark():
        replaced.start()
    for seed in map(int, seeds.split(",")):
        config = load_config(None, [*(overrides or []), f"seed={seed}"])
        for name in sets.split(","):
            if name not in (*FLAT, *CATEGORIES):
                raise SystemExit(f"--sets: no set {name!r}; expected some of {', '.join((*FLAT, *CATEGORIES))}")
            train, test = split(name, data, work, seed, cap)
            try_set(name, encode(train, test, config), config)


if __name__ == "__main__":
    app()
