"""A label that lies between two numbers: the chain makes the column, and everything that reads a bundle knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.cli import main
from remedi_spark.samples.encoder import Encoder
from remedi_spark.scoring.bundle import load
from tests.cli.conftest import FASTEST

ROWS = 3000
pytestmark = pytest.mark.slow


def owners(seed: int = 0) -> pd.DataFrame:
    """Owners who buy where they spend more than their limit, whatever both are."""
    rng = np.random.default_rng(seed)
    limit = rng.lognormal(3, 1, ROWS)
    spend = limit * rng.lognormal(0, 0.5, ROWS)
    label = (np.log(spend / limit) + rng.logistic(0, 0.15, ROWS) > 0.65).astype(int)
    return pd.DataFrame({
        "owner": [f"o{i}" for i in range(ROWS)], "spend": spend, "the limit": limit, "noise": rng.normal(size=ROWS),
        "joined": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500, ROWS), unit="D"), "bought": label,
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("two_numbers")
    owners().to_parquet(made / "owners.parquet", coerce_timestamps="us")
    settings = [part for one in FASTEST for part in ("--set", one)]
    _run("train", "--table", made / "owners.parquet", "--label", "bought", "--id", "owner", "--model", made / "model",
         *settings)  # fmt: skip
    return made


def _run(*words: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert not stop.value.code


def test_both_phases_make_the_column_that_the_label_lies_in(folder: Path) -> None:
    for phase in ("work", "work/evaluation"):
        encoder = Encoder.from_dict(json.loads((folder / "model" / phase / "encoder.json").read_text()))
        assert {"spend / the limit", "the limit / spend"} & set(encoder.names_made)


def test_scores_of_spark_are_those_of_the_bundle_with_reasons_that_add_up(folder: Path) -> None:
    table = owners(seed=1)
    table.to_parquet(folder / "new.parquet", coerce_timestamps="us")
    _run("score", "--table", folder / "new.parquet", "--model", folder / "model", "--out", folder / "scores.parquet")
    bundle = load(folder / "model")
    expected = pd.Series(bundle.predict(table), index=table["owner"])
    found = pd.read_parquet(folder / "scores.parquet").set_index("owner_id")
    np.testing.assert_allclose(found["score"], expected.loc[found.index], rtol=0, atol=1e-9)
    assert table["bought"].to_numpy()[np.argsort(-expected.to_numpy())[:100]].mean() > 0.8
    contributions = bundle.explainer.contributions(bundle.contract.canonical(table))
    assert contributions.shape == (ROWS, len(bundle.contract.names))
    total = contributions.sum(axis=1)
    np.testing.assert_allclose(total - total[0], expected - expected.iloc[0], atol=1e-9)
    size = np.abs(contributions).mean(axis=0)
    spend, limit = (size[bundle.contract.names.index(name)] for name in ("spend", "the limit"))
    assert spend + limit > 0.8 * size.sum()
    assert min(spend, limit) > 0.3 * (spend + limit), "what is made of the two counts for both"
