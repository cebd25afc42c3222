"""The what-if page computes in a real browser what the bundle computes, for its owners and for changes of all kinds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from catboost import CatBoostRegressor, FeaturesData, Pool

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import (
    BetaCalibrator,
    IdentityCalibrator,
    IsotonicCalibrator,
    PlattCalibrator,
)
from remedi_spark.maths.label_scale import LabelScale, ScoreMap
from remedi_spark.models.catboost.fit import serialized
from remedi_spark.report import what_if_data
from remedi_spark.report.page.what_if import WhatIf, render_what_if
from remedi_spark.report.what_if import what_if, write_what_if
from remedi_spark.report.what_if_data import compact, page_data, student_trees
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.layout import Made
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.workspace import Workspace
from tests.reporting.browser import POLICY, ask, browse, needs_chromium
from tests.reporting.conftest import HOSTILE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDS, ROWS = 2, 600
BRANDS = ["a", "Köln", "c, 'd'", HOSTILE]
CONTRACT = FeatureContract((
    Feature("spend", "number"), Feature("brand", "category"), Feature("visits", "number"), Feature("active", "boolean"),
    Feature("joined", "date"), Feature("seen", "timestamp"), Feature("shop", "category"), Feature("idle", "number"),
))  # fmt: skip
MADE = (Made("ratio", 0, 1), Made("difference", 4, 3), Made("difference", 1, 0))
PAGE = WhatIf("buys within 28 days", "a1b2c3", "2026-03-01", 1000, 0, 0, "")


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Rows of every kind of feature, with nulls; ``idle`` is constant, so that no tree reads it."""
    rng = np.random.default_rng(seed)
    start = datetime(2025, 1, 1)
    days = rng.integers(0, 400, rows)
    return pd.DataFrame({
        "spend": np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(1, 40, rows)),
        "brand": np.where(rng.random(rows) < 0.1, None, rng.choice(BRANDS, rows).astype(object)),
        "visits": rng.poisson(2, rows).astype(float),
        "active": pd.array(rng.choice([True, False, None], rows), dtype="boolean"),
        "joined": [None if i % 7 == 0 else (start + timedelta(days=int(i))).date() for i in days],
        "seen": pd.to_datetime([start + timedelta(seconds=int(s)) for s in rng.integers(0, 4e7, rows)]),
        "shop": [f"s{i}" for i in rng.integers(0, 40, rows)],
        "idle": 7.0,
    })  # fmt: skip


def encoder_of(frame: pd.DataFrame, label: Any, fold: Any) -> Encoder:
    levels, canonical = {}, CONTRACT.canonical(frame)
    for i in CONTRACT.categories:
        values = canonical[f"f{i}"].where(canonical[f"f{i}"].notna(), NULL_LEVEL)
        names = values.value_counts().index.tolist()[:30]  # some shops have none
        masks = [[(values == name) & (fold == k) for k in range(FOLDS)] for name in names]
        counts = np.array([[mask.sum() for mask in row] for row in masks], dtype=float)
        levels[i] = Levels(tuple(names), counts, np.array([[label[mask].sum() for mask in row] for row in masks]))
    rows, sums = (np.array([part[fold == k].sum() for k in range(FOLDS)]) for part in (np.ones(len(label)), label))
    return Encoder(CONTRACT, levels, rows, sums, FOLDS, True, 20.0, 28, made=MADE)


def fitted(kind: str, x: Any, target: Any, encoder: Encoder, seed: int) -> Fitted:
    if kind == "xgboost":
        settings = {"max_depth": 4, "nthread": 1, "seed": seed, "base_score": -1.5}
        trees = xgboost.train(settings, xgboost.DMatrix(x, target), 20)
        return Fitted("xgboost", bytes(trees.save_raw("ubj")), {"trees": 15})
    if kind == "catboost":
        symmetric = CatBoostRegressor(
            iterations=25, depth=4, random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False
        )
        numbers = FeaturesData(num_feature_data=x.astype(np.float32))
        return Fitted("catboost", serialized(symmetric.fit(Pool(numbers, target))), {"categories": []})
    settings = {"verbose": -1, "num_leaves": 9, "min_data_in_leaf": 5, "seed": seed, "num_threads": 1,
                "min_data_per_group": 5, "cat_smooth": 1}  # fmt: skip
    data = lightgbm.Dataset(x, target, categorical_feature=encoder.layout.where("code"))
    text = lightgbm.train(settings, data, 30).model_to_string()
    return Fitted("lightgbm", text.encode(), {"init_score": 0.25}).on_line(0.9, -0.2)


@pytest.fixture(scope="module")
def parts() -> BundleParts:
    """Three kinds of trees, each by two folds; the target depends on every kind of feature."""
    frame, rng = table(), np.random.default_rng(3)
    canonical = CONTRACT.canonical(frame)
    margin = (
        0.01 * canonical["f0"].fillna(90) + 1.5 * (frame["brand"] == "Köln") + 0.4 * frame["visits"]
        + canonical["f3"].fillna(0.5) + (canonical["f4"].fillna(0) > 20200) + np.sin(canonical["f5"] / 50) - 4
        + canonical["f6"].str[1:].astype(int) / 20 + 2 * (canonical["f0"] > 30 * canonical["f2"])
        + ((canonical["f5"] - canonical["f4"]) > 50)
    ).to_numpy(dtype=float)  # fmt: skip
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(float)
    encoder = encoder_of(frame, label, np.arange(ROWS) % FOLDS)
    x = [encoder.transform(canonical, leave_out=k) for k in range(FOLDS)]
    students = {
        kind: [fitted(kind, x[k], margin, encoder, k) for k in range(FOLDS)]
        for kind in ("lightgbm", "xgboost", "catboost")
    }
    return BundleParts(encoder.to_dict(), students, PlattCalibrator(0.8, -0.3).to_dict(), "v1")


@pytest.fixture
def bundle(parts: BundleParts) -> Bundle:
    return Bundle(parts)


def rows(count: int = 25) -> pd.DataFrame:
    """Owners whom training never saw, with an unseen level, a missing one and far-off numbers among them."""
    frame = table(25, 9)
    frame.loc[0, "brand"], frame.loc[1, "brand"], frame.loc[2, "shop"] = "never seen", "", "\u0000"
    frame.loc[3, "spend"], frame.loc[4, "spend"] = 1e30, -1e30
    return frame.head(count)


def page_of(bundle: Bundle, frame: pd.DataFrame) -> str:
    canonical = bundle.contract.canonical(frame)
    names = [f"owner {i + 1}" for i in range(len(frame))]
    data = page_data(bundle, student_trees(bundle), canonical, names)
    return render_what_if(replace(PAGE, owners=len(data["owners"]), data=compact(data)))


CHANGES: list[dict[str, Any]] = [
    {"spend": 12.25}, {"spend": None}, {"spend": -3}, {"spend": 1e6}, {"visits": 0}, {"visits": 7.5}, {"brand": "Köln"},
    {"brand": None}, {"brand": False}, {"brand": HOSTILE}, {"active": True}, {"active": False}, {"active": None},
    {"joined": "2026-01-15"}, {"joined": None}, {"seen": "2025-06-01T13:45:10"}, {"seen": None}, {"shop": "s3"},
    {"shop": False}, {"spend": 80, "brand": "a", "active": True, "joined": "2025-02-01", "shop": "s39", "visits": None},
]  # fmt: skip
"""Values as a user gives them: null for a missing one, false for a level that training never saw."""
DRIVE = """
  const page = JSON.parse(document.getElementById("what-if-data").textContent);
  const put = (element, value) => {
    element.value = value;
    element.dispatchEvent(new Event(element.tagName === "SELECT" ? "change" : "input", { bubbles: true }));
  };
  const asked = () => Number(document.getElementById("score").dataset.value);
  const plain = [], changed = [], undone = [];
  page.owners.forEach((_, owner) => {
    put(document.getElementById("owner"), owner);
    plain.push(asked());
    changed.push(%s.map((change) => {
      for (const [name, value] of Object.entries(change)) {
        const i = page.features.findIndex((feature) => feature.name === name);
        const { kind, levels } = page.features[i];
        const field = document.querySelector(`[data-feature="${i}"] .value :is(select, input)`);
        if (levels) put(field, levels.names.indexOf(value));
        else if (kind === "boolean") put(field, value === null ? "null" : Number(value));
        else put(field, value ?? "");
      }
      const found = asked();
      document.getElementById("back").click();
      return found;
    }));
    undone.push(asked());
  });
  return { plain, changed, undone, differs: !document.getElementById("differs").hidden,
           scripts: document.querySelectorAll("#features img, #features script").length, owned: window.owned ?? null };
"""
LOOK = """
  const page = document.getElementById("phone").contentDocument;
  return { width: page.documentElement.clientWidth, scrolls: page.documentElement.scrollWidth,
           curves: page.querySelectorAll(".curve svg").length };
"""


def changed(frame: pd.DataFrame, change: dict[str, Any]) -> pd.DataFrame:
    found = frame.copy()
    for name, value in change.items():
        if name == "joined":
            found[name] = None if value is None else datetime.fromisoformat(value).date()
        elif name == "seen":
            found[name] = pd.Series(
                [pd.NaT if value is None else pd.Timestamp(value)] * len(frame), dtype="datetime64[us]"
            )
        elif name == "active":
            found[name] = pd.array([value] * len(frame), dtype="boolean")
        elif name in ("brand", "shop"):
            found[name] = pd.Series(["of no training" if value is False else value] * len(frame), dtype=object)
        else:
            found[name] = np.nan if value is None else float(value)
    return found


CALIBRATORS: list[ScoreMap] = [
    PlattCalibrator(0.8, -0.3), IdentityCalibrator(), BetaCalibrator(0.7, 1.2, 0.1),
    IsotonicCalibrator((-3.0, -1.0, 0.5, 2.0), (0.01, 0.02, 0.4, 0.9), -2.0, 1.5),
    IsotonicCalibrator((0.0,), (0.3,), -2.0, 1.5), LabelScale("asinh", 10.0, 0.5, 0.8, 0.0),
    LabelScale("linear", 1.0, 3.0, 2.5, float("-inf")),
]  # fmt: skip


@needs_chromium
@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda one: f"{one.kind}{len(getattr(one, 'logits', ()))}")
def test_a_browser_scores_as_the_bundle_does(parts: BundleParts, calibrator: ScoreMap, tmp_path: Path) -> None:
    bundle, first = Bundle(replace(parts, calibration=calibrator.to_dict())), calibrator is CALIBRATORS[0]
    frame = rows(25 if first else 5)
    found = ask(page_of(bundle, frame), DRIVE % json.dumps(CHANGES).replace("<", "\\u003c"), tmp_path)
    wanted = bundle.predict(frame)
    assert np.ptp(wanted) > 0 and not found["differs"]
    np.testing.assert_allclose(found["plain"], wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["undone"], found["plain"], rtol=0, atol=0)
    moved = 0
    for number, change in enumerate(CHANGES):
        expected = bundle.predict(changed(frame, change))
        told = [one[number] for one in found["changed"]]
        np.testing.assert_allclose(told, expected, rtol=1e-6, atol=1e-6, err_msg=str(change))
        moved += int(np.abs(expected - wanted).max() > 1e-4)
    flat = len(getattr(calibrator, "logits", (0, 1))) == 1
    assert moved >= (15 if first else not flat), "changes that change something"
    assert (found["scripts"], found["owned"]) == (0, None), "levels are text"


@needs_chromium
def test_the_page_computes_under_its_own_policy(bundle: Bundle, tmp_path: Path) -> None:
    html = page_of(bundle, rows())
    page, said = browse(html, tmp_path)
    assert said == []
    assert "agree with those of Python to 1e-6" in page
    assert page.count('class="feature"') == 7


@needs_chromium
@pytest.mark.parametrize("width", [360, 1280])
def test_the_what_if_page_scrolls_one_way_only(bundle: Bundle, tmp_path: Path, width: int) -> None:
    (tmp_path / "inner.html").write_text(POLICY.sub("", page_of(bundle, rows())), encoding="utf-8")
    frame = f'<!doctype html><body><iframe id="phone" src="inner.html" width="{width}" height="800"></iframe></body>'
    found = ask(frame, LOOK, tmp_path)
    assert found["curves"] == 7
    assert width - 20 <= found["width"] <= width
    assert found["scrolls"] <= found["width"]


@needs_chromium
def test_a_browser_that_computes_other_scores_says_so(bundle: Bundle, tmp_path: Path) -> None:
    html = page_of(bundle, rows(3))
    score = re.search(r'"score":(0\.\d+)', html)
    assert score is not None
    page, _ = browse(html.replace(score.group(1), str(float(score.group(1)) + 1e-4), 1), tmp_path)
    assert "This browser computes other scores than Python" in page


def test_the_page_asks_nobody_and_shows_text_as_text(bundle: Bundle) -> None:
    html = page_of(bundle, rows())
    assert "default-src 'none'" in html
    assert not re.search(
        r"""(?:src|href)=|url\(|@import|fetch\(|XMLHttpRequest""",
        re.sub(r"<script type=.*?</script>", "", html, flags=re.S),
    )
    assert "<img" not in html
    assert html.count("</script>") == 3
    assert len(html.encode()) < 3_000_000


def test_features_that_no_tree_reads_are_left_out(bundle: Bundle) -> None:
    data = page_data(bundle, student_trees(bundle), bundle.contract.canonical(rows(3)), ["a", "b", "c"])
    assert [one["name"] for one in data["features"]] == [name for name in CONTRACT.names if name != "idle"]
    brand = data["features"][1]["levels"]
    assert brand["names"][-2:] == [None, False]
    assert "never seen" in brand["names"], "an owner's own level is offered"
    assert NULL_LEVEL not in brand["names"]
    assert [one["values"][0] for one in data["owners"]] == [None if np.isnan(v) else v for v in rows(3)["spend"]]


def test_owners_are_as_many_as_the_page_has_room_for(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    canonical, models, names = bundle.contract.canonical(rows()), student_trees(bundle), [f"o{i}" for i in range(25)]
    whole = page_data(bundle, models, canonical, names)
    size, each = len(compact(whole).encode()), len(compact(whole["owners"][-1]).encode())
    monkeypatch.setattr(what_if_data, "LARGEST", size - each // 2)
    assert len(page_data(bundle, models, canonical, names)["owners"]) == 24
    monkeypatch.setattr(what_if_data, "LARGEST", 1000)
    with pytest.raises(
        InputError, match=r"the model's \d+ trees and tables take 0\.\d MB, expected .* fewer trees or leaves"
    ):
        page_data(bundle, models, canonical, names)


@pytest.mark.parametrize("kind", ["net", "catboost", "hurdle"])
def test_a_student_that_no_page_can_ask_is_refused_by_name(parts: BundleParts, kind: str) -> None:
    students = {**parts.students, "other": [Fitted(kind, b"", {"categories": [1]})] * FOLDS}
    with pytest.raises(
        InputError, match=rf"a student of .*other \({kind}\), expected one of boosted trees alone"
    ) as error:
        student_trees(Bundle(replace(parts, students=students)))
    assert "\n" not in str(error.value)


def test_trees_of_logs_of_amounts_are_refused(parts: BundleParts) -> None:
    one = parts.students["lightgbm"][0]
    log = replace(one, info={**one.info, "label_scale": LabelScale("linear", 1.0, 0.0, 1.0, 0.0).to_dict()})
    with pytest.raises(InputError, match="expected one of boosted trees alone"):
        student_trees(Bundle(replace(parts, students={"log": [log] * FOLDS})))


def owner_features(spark: SparkSession, tables: Tables) -> pd.DataFrame:
    """Two snapshots of forty owners; return the later one."""
    frame = table(40, 4).assign(owner_id=[f"o{i}" for i in range(40)])
    later = frame.iloc[::-1].assign(spend=50.0)
    both = pd.concat([frame.assign(snapshot_date=date(2026, 1, 1)), later.assign(snapshot_date=date(2026, 2, 1))])
    both["active"] = both["active"].astype(object).where(both["active"].notna(), None)
    schema = "owner_id string, snapshot_date date, spend double, brand string, visits double, active boolean,"
    schema += " joined date, seen timestamp, shop string, idle double"
    both["seen"] = pd.Series(both["seen"].dt.to_pydatetime(), index=both.index, dtype=object)
    columns = both[[part.split()[0] for part in schema.split(", ")]]
    records = [[None if pd.isna(one) else one for one in row] for row in columns.itertuples(index=False)]
    tables.overwrite(spark.createDataFrame(records, schema), "owner_features")
    return later


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="what-if-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_the_best_of_the_last_snapshot_without_their_names_unless_asked(
    spark: SparkSession, bundle: Bundle, tmp_path: Path
) -> None:
    tree = {**bundle.parts.encoder["contract"], "time_column": "snapshot_date"}
    parts = replace(bundle.parts, encoder={**bundle.parts.encoder, "contract": tree})
    workspace = Workspace.of(Tables(spark, str(tmp_path / "tables"), catalog=False), tmp_path / "model")
    with pytest.raises(InputError, match=r"no owner_features in .*; expected owners to show; name them with --table"):
        what_if(workspace, parts, "buys", table=None)
    later = owner_features(spark, workspace.tables)
    expected = pd.Series(bundle.predict(later), index=later["owner_id"]).sort_values(ascending=False)
    path = what_if(workspace, parts, "buys", table=None, top=7)
    assert path == tmp_path / "model" / "what_if.html"
    owners = data_of(path)["owners"]
    assert [one["name"] for one in owners] == [f"owner {i + 1}" for i in range(7)]
    np.testing.assert_allclose([one["score"] for one in owners], expected.head(7), atol=1e-9)
    text = path.read_text(encoding="utf-8")
    assert "the best 7 of 40" in text
    assert "2026-02-01" in text
    assert '"o1' not in text
    whole = workspace.tables.location("owner_features")
    named = data_of(what_if(workspace, parts, "buys", table=whole, top=200, names=True))["owners"]
    assert {one["name"] for one in named} == set(expected.index), "of a table too, the last snapshot alone"
    assert named[0]["name"] == expected.index[0]


def test_no_owner_is_no_page(spark: SparkSession, bundle: Bundle, tmp_path: Path) -> None:
    workspace = Workspace.of(Tables(spark, str(tmp_path / "tables"), catalog=False), tmp_path / "model")
    owner_features(spark, workspace.tables)
    nobody = workspace.tables.read("owner_features").where("false")
    with pytest.raises(InputError, match="no rows"):
        write_what_if(nobody, bundle.parts, tmp_path / "x.html", table="t", title="buys")
    assert not (tmp_path / "x.html").exists()
