"""Try members and students on development splits inside the training parts, without Spark and without a test row.

Learners, encoder and calibrator are the product's own; only the cluster is missing: what a Spark task would run, runs
here. Minutes for all flat tables, so that a setting can be chosen before a test part is looked at.

Example: python benchmarks/development.py --data DIR --sets bank,shoppers --set base_models.models.xgboost.inputs=all
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
import typer
from quality_sets import CATEGORIES, DEMO_HORIZON, FLAT, PARTED, prepare
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from remedi_spark.config import Config, load_config
from remedi_spark.config.chain import ModelConfig
from remedi_spark.ensemble.fuser import BASELINES, fuser_inputs, scorer, training_function
from remedi_spark.ensemble.relative import Relative
from remedi_spark.ensemble.synthetic import Teacher, mix
from remedi_spark.labels.alignment import aligned, log_odds
from remedi_spark.labels.classification import Classification
from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.maths.ranking import expected_average_precision
from remedi_spark.models.combinations import POSITIVES, try_combinations
from remedi_spark.models.contract import ROW_WEIGHT, TARGET, VALID, TrainingSet, X
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.registry import learner_for
from remedi_spark.models.table_examples import TableExamples
from remedi_spark.samples.arrays import lists
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.encoder_fit import passing_features
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import ModelStore

Array = npt.NDArray[np.float64]
KEYS = ("owner_id", "snapshot_date", "label")
LATER = 0.25
"""Share of a training part that is put aside to develop on."""
KNOWN = (*FLAT, *PARTED, *CATEGORIES)
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


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
    """Encoded rows without each fold, last those without none; the training rows' own fold is always left out."""
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
    elif name in FLAT and FLAT[name].order:
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
    passing = _passing(rows, contract, train, config)
    levels = {i: _levels(rows[f"f{i}"], label, fold, folds) for i in contract.categories}
    levels |= {i: Levels((), np.empty((0, folds)), np.empty((0, folds))) for i in passing}
    encoder = Encoder(
        contract, levels, np.bincount(fold, minlength=folds).astype(float), np.bincount(fold, label, folds), folds,
        True, config.encoding.smoothing, config.encoding.max_codes,
    )  # fmt: skip
    positions = encoder.positions(rows)
    encoder = _combined(encoder, encoder.fixed(rows, positions), label, fold, config)
    fixed = encoder.fixed(rows, positions)
    left_out: list[int | None] = [*range(folds), None]
    seen = [np.hstack([fixed, encoder.targets(positions, k, fold)]) if positions else fixed for k in left_out]
    unseen = [encoder.transform(fresh, k) for k in left_out]
    return Bed(encoder, label, fold, block, seen, unseen, test["label"].to_numpy(dtype=np.float64))


def _combined(encoder: Encoder, fixed: Array, label: Array, fold: Any, config: Config) -> Encoder:
    """Return the encoder with the differences and ratios that are worth a place, as the product's fits have it."""
    most = config.encoding.combine
    if not most or label.sum() < POSITIVES:
        return encoder
    found = try_combinations(fixed, label, fold, encoder.layout.where("number"), (), most, config.seed)
    return replace(encoder, made=found.made)


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


def _passing(rows: pd.DataFrame, contract: FeatureContract, train: pd.DataFrame, config: Config) -> dict[int, float]:
    """Return the features whose levels come and go, where there is a time."""
    if "snapshot_date" not in train:
        return {}
    days = pd.to_datetime(train["snapshot_date"])
    late = (days > days.quantile(1 - LATER, interpolation="lower")).to_numpy()
    every = pd.DataFrame({"feature": [-1], "total": [len(late)], "late": [late.sum()]})
    counted = [every]
    for i in contract.categories:
        by_level = pd.DataFrame({"level": rows[f"f{i}"].fillna(NULL_LEVEL), "late": late}).groupby("level")["late"]
        levels = by_level.agg(total="size", late="sum")
        counted.append(levels[levels["total"] >= config.encoding.min_rows].assign(feature=i))
    return passing_features(pd.concat(counted), every, config.encoding)


def _levels(values: pd.Series, label: Array, fold: Any, folds: int) -> Levels:
    """Count rows and labels by level and fold, most frequent level first."""
    named = values.where(values.notna(), NULL_LEVEL)
    rows = pd.crosstab(named, fold).reindex(columns=range(folds), fill_value=0)
    sums = pd.crosstab(named, fold, values=label, aggfunc="sum").reindex_like(rows).fillna(0)
    order = np.lexsort((rows.index.to_numpy(dtype=str), -rows.to_numpy().sum(axis=1)))
    return Levels(tuple(rows.index[order]), rows.to_numpy(float)[order], sums.to_numpy(float)[order])


def fit_member(bed: Bed, model: ModelConfig, config: Config) -> tuple[Array, Array, list[Fitted]]:
    """Return margins of the training rows, each by the fold model that never saw it, mean margins of the others, and
    the models.
    """
    own, others, fits = np.zeros(len(bed.label)), np.zeros(len(bed.test_label)), []
    for k in range(bed.encoder.folds):
        use = bed.fold != k
        rows = Rows(bed.train[k][use], bed.label[use], np.ones(use.sum()), bed.valid[use] + k)
        fits.append(fit_rows(rows, "logistic", model, bed, config, config.seed * 1000 + k))
        predict = load_predictor(fits[-1])
        own[~use] = predict(bed.train[k][~use])
        others += predict(bed.test[k]) / bed.encoder.folds
    return own, others, fits


@dataclass(frozen=True)
class Rows:
    """What one fit learns from: encoded rows, target, weight, and the block that tells whether a row stops it."""

    x: Array
    target: Array
    weight: Array
    block: npt.NDArray[np.int64]


def fit_rows(rows: Rows, loss: str, model: ModelConfig, bed: Bed, config: Config, seed: int) -> Fitted:
    """Fit one model on some rows."""
    every = max(2, round(1 / config.base_models.validation_share))
    x = rows.x.copy()
    x[:, bed.encoder.layout.beside_codes() if model.inputs == "codes" else []] = 0.0
    table = pa.table({X: lists(x), TARGET: rows.target, ROW_WEIGHT: rows.weight, VALID: rows.block % every == 0})
    data = TrainingSet(
        TableExamples(table), bed.encoder.layout, loss, float(bed.label.mean()), len(x), 1, seed,
    )  # fmt: skip
    return learner_for(model).fit(data)


def try_set(name: str, bed: Bed, config: Config, students: Mapping[str, Config]) -> list[dict[str, Any]]:
    """Return AP, AUC and log-loss on the development rows of members, combiners and students, and AP out of fold.

    ``students`` are further configurations by name, each of which distils another student from the same teacher.
    """
    rows: list[dict[str, Any]] = []

    def add(what: str, own: Array, others: Array, seconds: float = 0.0, **more: Any) -> None:
        row = {"set": name, "seed": config.seed, "what": what, "seconds": round(seconds, 1), **more}
        row |= {
            "ap": average_precision_score(bed.test_label, others), "auc": roc_auc_score(bed.test_label, others),
            "log_loss": log_loss(bed.test_label, expit(others)), "ap_oof": average_precision_score(bed.label, own),
        }  # fmt: skip
        rows.append({key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()})
        typer.echo(json.dumps(rows[-1]))

    logits, fresh, lines, models = [], [], {}, {}
    for member, model in Classification(config, ModelStore(Path())).members(config.base_models.models).items():
        start = time.process_time()
        own, others, models[member] = fit_member(bed, model, config)
        platt = PlattCalibrator.fit(own, bed.label)
        lines[member] = [[platt.a, platt.b]]
        logits.append(platt.a * own + platt.b)
        fresh.append(platt.a * others + platt.b)
        add(member, logits[-1], fresh[-1], time.process_time() - start)
    own_all, fresh_all = np.column_stack(logits), np.column_stack(fresh)
    add("mean", own_all.mean(1), fresh_all.mean(1))
    margins, fuser, relative = combine(bed, own_all, fresh_all, list(models), config)
    for what, (own, others) in margins.items():
        add(what, own, others)
    teacher = Teacher(models, partial(aligned, lines, 0.0), fuser, relative)
    own, theirs = margins["fuser"]

    def distilled_by(settings: Config, what: str) -> tuple[Array, float]:
        start = time.process_time()
        found = distil(bed, own, teacher, settings)
        share = expected_average_precision(found, expit(theirs)) / expected_average_precision(theirs, expit(theirs))
        add(what, own, found, time.process_time() - start, kept=float(share))
        return found, share

    distilled, share = distilled_by(config, "distilled")
    for what, settings in students.items():
        distilled_by(settings, what)
    kind = config.student.kind
    ships = "distilled" if kind == "distilled" or (kind == "auto" and share >= config.student.keep) else "selection"
    add("student", own, distilled if ships == "distilled" else margins["selection"][1], ships=ships)
    return rows


def combine(
    bed: Bed, own: Array, fresh: Array, names: list[str], config: Config
) -> tuple[dict[str, tuple[Array, Array]], Fitted, Relative]:  # fmt: skip
    """Return the margins of stack, selection and fuser: out of fold, and on the development rows; and the fuser."""
    grids = {name: np.quantile(expit(column), np.linspace(0, 1, config.meta_features.grid)).tolist()
             for name, column in zip(names, own.T, strict=True)}  # fmt: skip
    relative = Relative(names, grids, log_odds)
    scores, others = (
        {name: expit(column) for name, column in zip(names, part.T, strict=True)} for part in (own, fresh)
    )
    inputs = fuser_inputs(relative.names, relative=config.fuser.relative_features)
    work = training_function(relative, inputs, config.fuser, "logistic", bed.encoder.folds, config.seed)
    ones = np.ones(len(own))
    payload = work(pa.table({**scores, "label": bed.label, "weight": ones, "fold": bed.fold}))
    fitted = Fitted("net", payload, {"models": names, "inputs": inputs})
    score = scorer(fitted, relative)
    found = [score(pa.table({**part, "fold": fold})) for part, fold in
             ((scores, bed.fold), (others, np.full(len(fresh), -1)))]  # fmt: skip
    by_name = [dict(zip(("fuser", *BASELINES), margins, strict=False)) for margins in found]
    margins = {what: (by_name[0][name], by_name[1][name]) for what, name in
               (("stack", "stack_lr"), ("selection", "selection"), ("fuser", "fuser"))}  # fmt: skip
    return margins, fitted, relative


def distil(bed: Bed, taught: Array, teacher: Teacher, config: Config) -> Array:
    """Return the mean margin of the student's models on the development rows.

    Args:
        bed: the split.
        taught: the teacher's out-of-fold margins of the training rows.
        teacher: says those of made-up rows.
        config: names the student's models, and how many rows are made up.
    """
    layout, prior = bed.encoder.layout, bed.label.mean()
    x, targets = bed.train[0][:, : layout.fixed], np.stack([one[:, layout.fixed :] for one in bed.train], axis=1)
    rows, margins, blocks, ask = [bed.train[-1]], [taught], [bed.valid], teacher.margins()
    for copy in range(round(config.student.synthetic)):
        mixed, encodings = mix(x, targets, layout, np.random.default_rng([config.seed, copy]))
        rows.append(np.hstack([mixed, encodings[:, -1]]))
        margins.append(ask(mixed, encodings))
        blocks.append(bed.valid)
    margin = np.concatenate(margins)
    p = expit(margin)
    weight = np.sqrt(p * (1 - p) / (prior * (1 - prior)))
    lessons = Rows(np.vstack(rows), margin, weight, np.concatenate(blocks) + bed.encoder.folds)
    seed = config.seed * 1000 + 500 + bed.encoder.folds
    fits = [fit_rows(lessons, "mse", model, bed, config, seed) for model in config.student.enabled.values()]
    found: Array = np.mean([load_predictor(one)(bed.test[-1]) for one in fits], axis=0)
    return found


@app.command()
def main(
    sets: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(FLAT),
    seeds: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "0",
    data: Annotated[Path | None, typer.Option(help="Folder of the flat tables.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="As for remedi train.")] = None,
    students: Annotated[
        list[str] | None,
        typer.Option(
            "--student", help="NAME:SETTING,SETTING: one more student from the same teacher, with other settings."
        ),
    ] = None,
    cap: Annotated[int, typer.Option(help="Training rows at most.")] = 24_000,
    work: Annotated[Path, typer.Option(help="Where prepared tables go.")] = Path("run/development"),
) -> None:
    """Print one line of JSON a member, blend and student."""
    torch.set_num_threads(1)
    for seed in map(int, seeds.split(",")):
        config = load_config(None, [*(overrides or []), f"seed={seed}"])
        for name in sets.split(","):
            if name not in KNOWN:
                raise SystemExit(f"--sets: no set {name!r}; expected some of {', '.join(KNOWN)}")
            train, test = split(name, data, work, seed, cap)
            more = {
                what: load_config(None, [*(overrides or []), f"seed={seed}", *given.split(",")])
                for what, _, given in (one.partition(":") for one in students or [])
            }
            try_set(name, encode(train, test, config), config, more)


if __name__ == "__main__":
    app()
