"""The guide from events to lists, on a small log in which it is known who buys what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Command
from tests.guide.conftest import ITEMS, write

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def made(spark: Any, log: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    from remedi_spark.config import load_config
    from remedi_spark.guiding import guide

    odd = pd.DataFrame(
        {
            "owner": ["nobody", "nobody"], "category": [None, ""], "aisle": None, "spend": 1.0,
            "day": pd.Timestamp("2026-02-01"),
        }
    )  # fmt: skip
    path = write(tmp_path_factory.mktemp("guide"), pd.concat([log, odd]))
    return path, guide(load_config(path))


def lists_of(spark: Any, path: Path) -> pd.DataFrame:
    frame = spark.read.format("delta").load(str(path.parent / "run" / "guide")).toPandas()
    return frame.sort_values(["owner_id", "rank"], ignore_index=True)


def test_each_owner_gets_ten_items_best_first(spark: Any, made: tuple[Path, dict[str, Any]], log: pd.DataFrame) -> None:
    lists = lists_of(spark, made[0])
    assert set(lists["owner_id"]) == {*log["owner"], "nobody"}
    for _, own in lists.groupby("owner_id"):
        assert list(own["rank"]) == list(range(1, 11)) and own["item"].is_unique
        assert own["score"].is_monotonic_decreasing
    assert lists["score"].between(0, 1).all() and set(lists["item"]) <= set(ITEMS)
    assert lists["why"].str.len().gt(0).all() and lists["snapshot_date"].astype(str).eq("2026-06-17").all()
    had = set(zip(log["owner"], log["category"], strict=True))
    new = [pair not in had for pair in zip(lists["owner_id"], lists["item"], strict=True)]
    assert lists["new_to_owner"].tolist() == new


def test_an_owner_without_purchases_gets_what_others_buy(spark: Any, made: tuple[Path, dict[str, Any]]) -> None:
    lists = lists_of(spark, made[0])
    own = lists[lists["owner_id"] == "nobody"]
    assert len(own) == 10 and own["why"].str.startswith("no purchases known yet; ").all() and own["new_to_owner"].all()


def test_scores_are_probabilities_and_lists_beat_popularity(
    spark: Any, made: tuple[Path, dict[str, Any]], log: pd.DataFrame
) -> None:
    lists, methods = lists_of(spark, made[0]), made[1]["methods"]["all"]
    assert methods["guide"]["ndcg"]["lead"] == 0
    assert methods["popular"]["ndcg"]["lead_low"] > 0
    # Owners go on as they did: the mean score is the share of the listed pairs bought in four weeks of the past.
    last = log[log["day"] > "2026-05-20"]
    bought = set(zip(last["owner"], last["category"], strict=True))
    rate = np.mean([pair in bought for pair in zip(lists["owner_id"], lists["item"], strict=True)])
    assert abs(lists["score"].mean() - rate) < 0.08
    page = (made[0].parent / "run" / "model_guide" / "guide.html").read_text()
    assert "tifu_knn" in page and "Discovery" in page and "<script" not in page


def test_a_rerun_does_nothing_and_options_make_only_the_lists_again(
    spark: Any, made: tuple[Path, dict[str, Any]], remedi: Command, log: pd.DataFrame
) -> None:
    before = lists_of(spark, made[0])
    again = remedi("guide", "--config", str(made[0]))
    assert again.code == 0, again.err
    assert "guide-model: done before" in again.err and "guide: done before" in again.err
    fewer = remedi("guide", "--config", str(made[0]), "--discovery", "--top-n", "3", "--exclude", ITEMS[0], "--json")
    assert fewer.code == 0, fewer.err
    assert "guide-model: done before" in fewer.err and json.loads(fewer.out)["guide"].endswith("guide")
    lists = lists_of(spark, made[0])
    assert lists["rank"].max() == 3 and ITEMS[0] not in set(lists["item"])
    had = set(zip(log["owner"], log["category"], strict=True))
    recent = log[log["day"] > pd.Timestamp("2026-06-17") - pd.Timedelta(days=168)]
    assert not set(zip(lists["owner_id"], lists["item"], strict=True)) & set(
        zip(recent["owner"], recent["category"], strict=True)
    )
    assert had and set(before["model_version"]) == set(lists["model_version"])
