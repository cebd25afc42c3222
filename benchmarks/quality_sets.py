"""The tables of the quality benchmark, each split into a training and a test file.

Where a table has an order in time, the last quarter tests; elsewhere a quarter of the owners does, drawn anew by seed.
Purchase data (Complete Journey) enter as the owner features that ``remedi features`` builds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

TEST_SHARE = 0.25
LARGEST = 60_000
"""Rows kept of a larger table: ten systems times five seeds have to end."""
DEMO = "conf/complete_journey.yaml"
DEMO_TEST_FROM = date(2017, 7, 20)
DEMO_HORIZON = 28


@dataclass(frozen=True)
class Split:
    """Files of one table and seed: ``owner_id``, ``label``, perhaps ``snapshot_date``, and features."""

    train: Path
    test: Path
    time: str | None


@dataclass(frozen=True)
class FlatSet:
    """A flat table: its file, how to read label, owner and order, and what must not be a feature."""

    file: str
    label: Callable[[pd.DataFrame], pd.Series[int]]
    drop: tuple[str, ...]
    owner: str | None = "owner_id"
    order: str | None = None


FLAT: dict[str, FlatSet] = {
    "coil": FlatSet("coil2000_train.parquet", lambda d: d["label"], ("label",)),
    "bank": FlatSet("bank_marketing.parquet", lambda d: d["label"], ("label",), order="row_order"),
    "shoppers": FlatSet("online_shoppers.parquet", lambda d: d["label"], ("label",)),
    "pg15": FlatSet(
        "pg15_motor.parquet", lambda d: (d["Numtpbi"] > 0).astype(int),
        ("Numtppd", "Numtpbi", "Indtppd", "Indtpbi", "CalYear"), owner="PolNum",
    ),
    "ausprivauto": FlatSet(
        "ausprivauto.parquet", lambda d: d["ClaimOcc"].astype(int), ("ClaimOcc", "ClaimNb", "ClaimAmount"), owner=None
    ),
    "fremtpl2": FlatSet(
        "fremtpl2_freq.parquet", lambda d: (d["ClaimNb"] > 0).astype(int), ("ClaimNb",), owner="IDpol"
    ),
}  # fmt: skip
CATEGORIES = {
    "infant": "INFANT FORMULA",
    "sushi": "SUSHI",
    "tobacco": "TOBACCO OTHER",
    "automotive": "AUTOMOTIVE PRODUCTS",
    "floral": "FLORAL-FRESH CUT",
}
PARTED = (
    "health_cross_sell", "bookbinders", "otp_response", "powerco_churn", "motor_claims17", "travel_insurance",
    "vehicle_fraud", "ul_surrender", "starbucks_promo", "tuango",
)  # fmt: skip
"""Flat tables of other companies below ``more/``, each with ``label``, ``owner_id`` and ``part``: train or test."""
DATED = ("ul_surrender", "vehicle_fraud")
"""Those of them that have a ``snapshot_date``."""
NAMES = (*CATEGORIES, *FLAT)


def prepare(name: str, seed: int, data: Path | None, work: Path) -> Split:
    """Write (once) and return the files of a set.

    Args:
        name: one of ``NAMES``.
        seed: draws the test owners of tables without an order.
        data: folder of the flat tables.
        work: where files go.
    """
    folder = work / f"{name}_{seed}"
    dated = name in CATEGORIES or name in DATED
    split = Split(folder / "train.parquet", folder / "test.parquet", "snapshot_date" if dated else None)
    if split.test.exists():
        return split
    folder.mkdir(parents=True, exist_ok=True)
    if name in CATEGORIES:
        train, test = _demo(CATEGORIES[name], work / "features" / name)
    else:
        if data is None:
            raise SystemExit(f"set {name!r} is read from a folder; name it with --data")
        train, test = _parted(name, data) if name in PARTED else _flat(FLAT[name], data, seed)
    train.to_parquet(split.train, index=False)
    test.to_parquet(split.test, index=False)
    return split


def _flat(source: FlatSet, data: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.read_parquet(data / source.file)
    if source.owner:  # a few policies of pg15 stand twice in one year
        table = table.drop_duplicates(source.owner)
    if len(table) > LARGEST:
        table = table.sample(LARGEST, random_state=0).reset_index(drop=True)
    label = source.label(table)
    owner = table[source.owner] if source.owner else pd.Series(np.arange(len(table)))
    order = None if source.order is None else table[source.order].to_numpy()
    named = [name for name in (source.owner, source.order) if name]
    table = table.drop(columns=[*source.drop, *named])
    table = _as_floats(table)
    table.insert(0, "label", label.astype("int64").to_numpy())
    table.insert(0, "owner_id", owner.astype(str).to_numpy())
    if order is not None:
        table = table.iloc[np.argsort(order, kind="stable")]
        cut = int(len(table) * (1 - TEST_SHARE))
        return table.iloc[:cut], table.iloc[cut:]
    owners = np.sort(table["owner_id"].unique())
    held = np.random.default_rng(seed).choice(owners, int(len(owners) * TEST_SHARE), replace=False)
    mine = table["owner_id"].isin(held)
    return table[~mine], table[mine]


def _parted(name: str, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.read_parquet(data / "more" / f"{name}.parquet")
    if len(table) > LARGEST:
        table = table.sample(LARGEST, random_state=0).sort_index().reset_index(drop=True)
    label, test = table["label"].astype("int64"), table["part"] == "test"
    table = _as_floats(table.drop(columns=["part", "label"])).assign(label=label)
    if name in DATED:
        table["snapshot_date"] = pd.to_datetime(table["snapshot_date"].astype(str)).dt.date
    return table[~test], table[test]


def _as_floats(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with whole numbers and booleans as floats."""
    whole = [name for name in table.columns if pd.api.types.is_bool_dtype(table[name]) or
             pd.api.types.is_integer_dtype(table[name])]  # fmt: skip
    return table.astype(dict.fromkeys(whole, "float64"))


def _demo(category: str, root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not (root / "owner_features" / "_delta_log").exists():
        subprocess.run(
            [sys.executable, "-m", "remedi_spark.cli", "features", "--config", DEMO, "--root", str(root),
             "--set", f"features.label.category={category}"],
            check=True,
        )  # fmt: skip
    import pyarrow.dataset

    files = pyarrow.dataset.dataset(root / "owner_features", partitioning="hive", ignore_prefixes=["_", "."])
    table = files.to_table().to_pandas().rename(columns={"household_id": "owner_id"})
    table = table[table["label"].notna()]
    table["snapshot_date"] = pd.to_datetime(table["snapshot_date"].astype(str)).dt.date
    table = table.sort_values(["snapshot_date", "owner_id"], ignore_index=True)
    table["label"] = table["label"].astype("int64")
    last = DEMO_TEST_FROM - timedelta(days=DEMO_HORIZON)
    return table[table["snapshot_date"] <= last], table[table["snapshot_date"] >= DEMO_TEST_FROM]
