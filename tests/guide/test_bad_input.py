"""What a user may give by mistake: a defined result, or one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.config import load_config
from remedi_spark.errors import InputError
from remedi_spark.guides.log import history_table, read_events, vocabulary
from remedi_spark.progress import LOGGER
from tests.cli.conftest import Command
from tests.guide.conftest import ITEMS, log_of, write


def events_of(spark: Any, path: Path, *overrides: str) -> Any:
    config = load_config(path, overrides)
    assert config.features is not None and config.guide is not None
    return *read_events(spark, config.features, config.guide), config.guide


@pytest.fixture
def few() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "owner": ["a", "a", "b", "c", "c"], "category": ["x", "y", "x", None, " "],
            "aisle": ["p", None, "p", "p", None],
            "day": pd.to_datetime(["2026-01-03", "2026-01-03", "2026-02-01", "2026-02-02", "2026-02-03"]),
            "spend": [1.0, None, np.nan, 3.0, 4.0],
        }
    )  # fmt: skip


def test_an_item_column_with_one_level_is_refused(spark: Any, few: pd.DataFrame, tmp_path: Path) -> None:
    events, _, guide = events_of(spark, write(tmp_path, few.assign(category="x")))
    with pytest.raises(InputError, match=r"guide.item: only 'x' in column 'category' .* expected at least two items"):
        vocabulary(events, guide)


def test_of_many_levels_those_with_the_most_buyers_are_looked_at(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = np.arange(4000)
    many = pd.DataFrame({"owner": codes.astype(str), "category": [f"code {code}" for code in codes]})
    common = pd.DataFrame({"owner": ["1", "2", "3"] * 2, "category": ["often"] * 3 + ["also"] * 3})
    frame = pd.concat([many, common]).assign(aisle="p", day=pd.Timestamp("2026-01-01"), spend=1.0)
    events, _, guide = events_of(spark, write(tmp_path, frame), "guide.max_items=5")
    LOGGER.addHandler(caplog.handler)  # it may have been set not to propagate
    found = vocabulary(events, guide)
    LOGGER.removeHandler(caplog.handler)
    assert len(found.names) == 5 and {"often", "also"} <= set(found.names)
    assert "4002 items in column 'category': the 5 with the most buyers" in caplog.text


def test_nulls_are_no_items_and_no_amounts(spark: Any, few: pd.DataFrame, tmp_path: Path) -> None:
    events, owners, guide = events_of(spark, write(tmp_path, few))
    items = vocabulary(events, guide)
    assert (items.names, items.parents) == (("x", "y"), ("p", ""))
    rows = history_table(events, owners, items, 2).toPandas()
    bought, alone = rows[rows["item"].notna()], rows[rows["item"].isna()]
    assert sorted(zip(bought["owner_id"], bought["item"], bought["amount"], strict=True)) == [
        ("a", 0, 1.0), ("a", 1, 0.0), ("b", 0, 0.0)
    ]  # fmt: skip
    assert set(alone["owner_id"]) == {"a", "b", "c"} and (rows["known"] >= rows["day"]).all()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("guide.item=categroy", "guide.item: no column 'categroy' (did you mean 'category'?)"),
        ("guide.value=aisle", "guide.value: '`aisle`' is of type string, expected a number"),
        ("guide.source=event", "guide.source: no source 'event'"),
        ("guide.top_n=0", "top_n: found 0"),
        ("guide.rates=[0.5, 0.1]", "rates: found [0.5, 0.1], expected the smaller share first"),
        ("guide=null", "no section 'guide'"),
        ("guide.horizon_days=100", "found 0 snapshots with 100 days before and after them"),
    ],
)
def test_one_line_says_what_is_wrong(
    remedi: Command, few: pd.DataFrame, tmp_path: Path, override: str, said: str
) -> None:
    outcome = remedi("guide", "--config", str(write(tmp_path, few)), "--set", override)
    assert outcome.code == 2, outcome.err
    last = outcome.err.strip().splitlines()[-1]
    assert said in last or said.split(" (did", maxsplit=1)[0] in last
    assert not (tmp_path / "run" / "guide").exists()


@pytest.mark.slow
def test_two_snapshots_items_hidden_whole_and_parents_of_half_of_the_items(
    spark: Any, remedi: Command, tmp_path: Path
) -> None:
    """One snapshot to learn from and one to measure on; hidden items show no buyer at all (K = 0)."""
    frame = log_of(owners=60, days=85)
    path = write(tmp_path, frame.assign(aisle=frame["aisle"].where(frame["category"].isin(ITEMS[::2]))))
    more = ["guide.cold.shown=[0]", "guide.learning_snapshots=6", "guide.test_snapshots=2"]
    overrides = [word for one in ("features.snapshots.data_end=2026-03-26", *more) for word in ("--set", one)]
    done = remedi("guide", "--config", str(path), "--json", *overrides)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["tests"] == ["2026-02-26"] and "cold" in found["methods"]
    lists = spark.read.format("delta").load(str(tmp_path / "run" / "guide")).toPandas()
    assert set(lists["owner_id"]) == set(frame["owner"]) and len(lists) == 10 * frame["owner"].nunique()
    assert lists["score"].between(0, 1).all()
    assert set(lists["item"]) == set(ITEMS), "items without a parent are shown too"
    fewer = remedi("guide", "--config", str(path), *overrides, "--set", "features.snapshots.data_end=2026-03-25")
    assert fewer.code == 2 and "found 1 snapshots with 28 days before and after them" in fewer.message
