"""Suggested features beside the hand-made ones: average precision of one plain LightGBM on the same rows.

    python benchmarks/suggested.py
    python benchmarks/suggested.py --online-retail online_retail.parquet

The demo's log is written as Parquet with its product columns, ``remedi features --suggest`` drafts a configuration for
it, and both tables are built with the same label, snapshots and owners. The last snapshots are the test; training ends
a horizon before. The interval is of the ratio of both figures, over owners drawn again. For Online Retail (UCI,
not part of this package) the hand-made side is the plain one of a textbook: recency, frequency and money.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.spark import SparkConfig
from remedi_spark.features.build import build_owner_features
from remedi_spark.features.suggest import suggest
from remedi_spark.spark.session import get_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DEMO = Path(__file__).parent.parent / "conf" / "complete_journey.yaml"
KEYS = ["owner_id", "snapshot_date", "label"]
SEEDS = 5
RETAIL = "https://archive.ics.uci.edu/dataset/352/online+retail"


def demo(spark: SparkSession, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the hand-made declaration and the suggested one, over one log."""
    from remedi_spark.features.reading import read_tables

    hand = yaml.safe_load(DEMO.read_text(encoding="utf-8"))["features"]
    log = str(folder / "log.parquet")
    read_tables(spark, FeaturesConfig.model_validate(hand), {})["events"].write.parquet(log)
    label = f"{hand['label']['column']}={hand['label']['category']}"
    draft = yaml.safe_load(suggest(spark, log, hand["entity"], "transaction_timestamp", label))["features"]
    return hand, draft | {
        "label": hand["label"] | {"parent": draft["label"].get("parent")},
        "snapshots": hand["snapshots"],
    }


def online_retail(spark: SparkSession, folder: Path, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return recency, frequency and money, and the suggested declaration: who buys within four weeks?"""
    log = str(folder / "log.parquet")
    rows = pd.read_parquet(path)
    rows["InvoiceDate"] = pd.to_datetime(rows["InvoiceDate"]).astype("datetime64[us]")
    rows["value"] = rows["Quantity"] * rows["UnitPrice"]
    text = {name: rows[name].astype("string") for name in ("InvoiceNo", "StockCode", "Description", "Country")}
    rows.assign(**text).dropna(subset=["CustomerID"]).astype({"CustomerID": "int64"}).to_parquet(log)
    draft = yaml.safe_load(suggest(spark, log))["features"]
    draft["label"] |= {"filter": "Quantity > 0"}
    measures = {
        "recency": {"aggregate": "days_since_last"}, "age": {"aggregate": "days_since_first"},
        "frequency": {"aggregate": "distinct", "of": "InvoiceNo"}, "money": {"aggregate": "sum", "of": "value"},
        "days": {"aggregate": "active_days"}, "gap": {"aggregate": "gap_mean", "windows": [84]},
    }  # fmt: skip
    hand = draft | {"groups": {"total": {"source": "events", "measures": measures}}}
    return hand, draft


def average_precision(frame: pd.DataFrame, horizon: int) -> tuple[pd.DataFrame, int]:
    """Return label and score of the test rows, and the number of features."""
    import lightgbm as lgb

    rows = frame[frame["label"].notna()]
    days = sorted(rows["snapshot_date"].unique())
    first = days[int(len(days) * 0.7)]
    train = rows[pd.to_datetime(rows["snapshot_date"]) <= pd.Timestamp(first) - pd.Timedelta(horizon, "D")]
    test = rows[rows["snapshot_date"] >= first]
    columns = [name for name in frame.columns if name not in KEYS]
    inputs = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in columns}
    used = [name for name, number in inputs.items() if number]
    scores = np.zeros(len(test))
    for seed in range(SEEDS):
        model = lgb.LGBMClassifier(
            n_estimators=200, learning_rate=0.03, num_leaves=15, min_child_samples=50, colsample_bytree=0.5,
            subsample=0.8, subsample_freq=1, random_state=seed, n_jobs=1, verbose=-1,
        )  # fmt: skip
        model.fit(train[used].to_numpy(float), train["label"].astype(int))
        scores += model.predict_proba(test[used].to_numpy(float))[:, 1] / SEEDS
    return test[KEYS].assign(score=scores), len(used)


def compare(spark: SparkSession, name: str, hand: dict[str, Any], draft: dict[str, Any]) -> None:
    """Build both, train on both, print both."""
    from sklearn.metrics import average_precision_score

    found = {}
    for side, declared in (("hand-made", hand), ("suggested", draft)):
        config = FeaturesConfig.model_validate(declared)
        frame = build_owner_features(spark, config).toPandas().sort_values(["owner_id", "snapshot_date"])
        found[side] = average_precision(frame, config.label.horizon_days)
        rows = found[side][0]
        ap = average_precision_score(rows["label"].astype(int), rows["score"])
        print(f"{name:14} {side}: {found[side][1]:4} features, {len(rows):,} test rows, AP {ap:.4f}", flush=True)
    both = found["hand-made"][0].merge(found["suggested"][0], on=KEYS, suffixes=("_hand", "_draft"))
    owners, rng, ratios = both["owner_id"].unique(), np.random.default_rng(0), []
    by_owner = dict(both.groupby("owner_id").indices)
    for _ in range(500):
        drawn = np.concatenate([by_owner[owner] for owner in rng.choice(owners, len(owners))])
        rows = both.iloc[drawn]
        label = rows["label"].astype(int)
        ratios.append(
            average_precision_score(label, rows["score_draft"]) / average_precision_score(label, rows["score_hand"])
        )
    label = both["label"].astype(int)
    ratio = average_precision_score(label, both["score_draft"]) / average_precision_score(label, both["score_hand"])
    low, high = np.quantile(ratios, [0.025, 0.975])
    print(f"{name:14} suggested / hand-made: {ratio:.3f} [{low:.3f}, {high:.3f}]", flush=True)


def main() -> None:
    """Compare on the demo, and on Online Retail where its file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--online-retail", default=None, metavar="PATH", help=f"its table as Parquet: {RETAIL}")
    given = parser.parse_args()
    spark = get_session(SparkConfig(driver_memory="3g", shuffle_partitions=4))
    with tempfile.TemporaryDirectory() as folder:
        if given.online_retail:
            compare(spark, "Online Retail", *online_retail(spark, Path(folder), given.online_retail))
        else:
            compare(spark, "demo", *demo(spark, Path(folder)))


if __name__ == "__main__":
    main()
