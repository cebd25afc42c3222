"""The guide from events to lists, on a small log in which it is known who buys what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.guides.guide_schema import CONTRACT
from tests.cli.conftest import Command
from tests.guide.conftest import ITEMS, daily_rates, write

STRANGERS = ("nobody", "silent")
"""Owners without a purchase."""
pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def made(spark: Any, log: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two snapshots are all; half of the items have words; one owner has events without an item, another has none."""
    from remedi_spark.config import load_config
    from remedi_spark.guiding import guide

    odd = pd.DataFrame(
        {
            "owner": ["nobody", "nobody"], "category": [None, ""], "aisle": None, "spend": 1.0,
            "day": pd.Timestamp("2026-02-01"),
        }
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("guide")
    pd.DataFrame({"owner": ["o000", "silent"], "city": ["x", None]}).to_parquet(folder / "owners.parquet")
    events = pd.concat([log, odd], ignore_index=True)
    events["words"] = events["category"].where(events["category"].isin(ITEMS[::2]))
    path = write(folder, events, texts=["words"])
    return path, guide(load_config(path))


def lists_of(spark: Any, path: Path) -> pd.DataFrame:
    frame = spark.read.format("delta").load(str(path.parent / "run" / "guide")).toPandas()
    return frame.sort_values(["owner_id", "rank"], ignore_index=True)


def test_each_owner_gets_ten_items_best_first(spark: Any, made: tuple[Path, dict[str, Any]], log: pd.DataFrame) -> None:
    lists = lists_of(spark, made[0])
    assert set(lists["owner_id"]) == {*log["owner"], *STRANGERS}
    for _, own in lists.groupby("owner_id"):
        assert list(own["rank"]) == list(range(1, 11)) and own["item"].is_unique
        assert own["score"].is_monotonic_decreasing
    assert lists["score"].between(0, 1).all() and set(lists["item"]) <= set(ITEMS)
    assert lists["why"].str.len().gt(0).all() and lists["snapshot_date"].astype(str).eq("2026-06-17").all()
    had = set(zip(log["owner"], log["category"], strict=True))
    new = [pair not in had for pair in zip(lists["owner_id"], lists["item"], strict=True)]
    assert lists["new_to_owner"].tolist() == new


def test_the_table_keeps_its_contract_and_is_handed_over(
    spark: Any, made: tuple[Path, dict[str, Any]], remedi: Command, tmp_path: Path
) -> None:
    table = str(made[0].parent / "run" / "guide")
    rows = spark.read.format("delta").load(table)
    assert [(field.name, field.metadata["comment"]) for field in rows.schema.fields] == list(CONTRACT.comments.items())
    broken = " OR ".join(f"NOT ({column.check})" for column in CONTRACT.columns if column.check)
    nulls = " OR ".join(f"{column.name} IS NULL" for column in CONTRACT.columns)
    assert rows.where(f"{broken} OR {nulls}").count() == 0
    done = remedi("export", "--guide", table, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rows"] == rows.count() > 0


def test_an_owner_without_purchases_gets_what_others_buy(spark: Any, made: tuple[Path, dict[str, Any]]) -> None:
    lists = lists_of(spark, made[0])
    own = lists[lists["owner_id"].isin(STRANGERS)]
    assert len(own) == 20 and own["why"].str.startswith("no purchases known yet; ").all() and own["new_to_owner"].all()


def test_scores_are_probabilities_and_lists_beat_popularity(
    spark: Any, made: tuple[Path, dict[str, Any]], log: pd.DataFrame
) -> None:
    lists, methods = lists_of(spark, made[0]), made[1]["methods"]["all"]
    assert methods["guide"]["ndcg"]["lead"] == 0
    assert methods["popular"]["ndcg"]["lead_low"] > 0
    truth = 1 - (1 - daily_rates()) ** 28
    own = lists[~lists["owner_id"].isin(STRANGERS)]
    planted = truth[own["owner_id"].str[1:].astype(int), own["item"].map(ITEMS.index)]
    assert abs(own["score"].mean() - planted.mean()) < 0.05
    assert np.corrcoef(own["score"], planted)[0, 1] > 0.8
    upper = own["score"].to_numpy() > own["score"].median()
    assert abs(own["score"][upper].mean() - planted[upper].mean()) < 0.08
    page = (made[0].parent / "run" / "model_guide" / "guide.html").read_text()
    assert "TIFU-kNN" in page and "Discovery" in page and "<script" not in page


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


def test_a_stock_list_limits_the_lists_and_brings_items_that_nobody_has_bought(
    spark: Any, made: tuple[Path, dict[str, Any]], remedi: Command, tmp_path: Path
) -> None:
    stock = tmp_path / "stock.csv"
    listed = [*ITEMS[:6], "cheese blue"]  # a parent for half of them; of the new one only the words tell
    stock.write_text("name,aisle\n" + "".join(f"{name},{name.split()[0] * (k % 2)}\n" for k, name in enumerate(listed)))
    given = f"guide.stock={{path: {stock}, column: name}}"
    outcome = remedi("guide", "--config", str(made[0]), "--set", given)
    assert outcome.code == 0, outcome.err
    assert "guide-model: done before" in outcome.err
    lists = lists_of(spark, made[0])
    assert set(lists["item"]) == set(listed)
    new = lists[lists["item"] == "cheese blue"]
    assert new["new_to_owner"].all() and new["why"].str.startswith(("new; ", "no purchases")).all()
    nothing = remedi("guide", "--config", str(made[0]), "--set", "guide.rates=[0, 1]", *exclude_all())
    assert nothing.code == 2 and "is left to show" in nothing.err


def exclude_all() -> list[str]:
    return [text for item in ITEMS for text in ("--exclude", item)]


def test_the_lists_are_the_same_however_the_rows_arrive(
    spark: Any, made: tuple[Path, dict[str, Any]], log: pd.DataFrame, tmp_path: Path
) -> None:
    """Sums, samples and models go by owner, not by where a row happened to be."""
    from remedi_spark.config import load_config
    from remedi_spark.guides.log import HISTORY, Vocabulary
    from remedi_spark.guides.maths.views import View
    from remedi_spark.guides.passes import Passes, catalogue_of

    config = load_config(made[0])
    assert config.guide is not None
    rows = spark.read.format("delta").load(str(made[0].parent / "run" / HISTORY))
    facts = json.loads((made[0].parent / "run" / "model_guide" / "guide_facts.json").read_text())
    catalogue = catalogue_of(Vocabulary.from_dict(facts["vocabulary"]))
    found = []
    for parts in (1, 7):
        passes = Passes(rows.repartition(parts), catalogue, config.guide, 28, 122)
        seen = passes.seen([View(facts["latest"] - 56, "learn", (0, 5), 0.25)])
        known = passes.known_items(seen)
        pairs = passes.training(seen[0], passes.scenes(seen, known)[0], 0.5).toPandas()
        found.append(pairs.sort_values(["owner_id", "item"], ignore_index=True))
    assert len(found[0]) and found[0].drop(columns="x").equals(found[1].drop(columns="x"))
    np.testing.assert_array_equal(np.stack(list(found[0]["x"])), np.stack(list(found[1]["x"])))
