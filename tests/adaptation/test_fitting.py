"""From ten buyers to a bundle that scores, through the command line; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import remedi_spark
from remedi_spark.config.adapt import FitConfig
from remedi_spark.errors import InputError
from remedi_spark.segments.fitting import fit_frame
from remedi_spark.segments.maths.arms import Support, fit_arm, margins_of
from remedi_spark.segments.meta_model import MetaBundle, OpenMetaModel
from tests.adaptation.conftest import MetaTrainedWorld, segment_world


def support(number: int = 21, buyers: int = 10, others: int = 90) -> pd.DataFrame:
    """Labelled owners of a segment that the meta model never saw."""
    frame = segment_world(number + 1, owners=200, seed=3)
    frame = frame[(frame["brand"] == f"brand {number:02d}") & (frame["day"] == frame["day"].min())]
    return pd.concat([frame[frame["bought"] == 1].head(buyers), frame[frame["bought"] == 0].head(others)])


def ready(opened: OpenMetaModel, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as ``fit_frame`` takes them."""
    names = {name: f"f{i}" for i, name in enumerate(opened.encoder.contract.names)}
    numbered = frame.assign(owner_id=range(len(frame)), label=frame["bought"].astype(float))
    numbered.columns = pd.Index([names.get(name, name) for name in numbered.columns])
    return numbered


def arguments(meta: MetaTrainedWorld, table: Path, out: Path, *more: str) -> list[str]:
    return ["adapt", "fit", "--model", str(meta.model), "--table", str(table), "--out", str(out), "--label", "bought",
            "--id", "owner", *more]  # fmt: skip


def test_ten_buyers_give_a_bundle_that_remedi_score_takes(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    frame = support()
    frame.to_parquet(tmp_path / "support.parquet")
    out = tmp_path / "student"
    done = remedi(*arguments(meta_trained, tmp_path / "support.parquet", out, "--segment", "new brand"))
    assert done.code == 0, done.err
    facts = json.loads((out / "adapt.json").read_text())
    assert facts["trust"] in ("pooled", "fine_tuned", "adapted", "bayes", "trees")
    assert set(facts["arms"]) == {"pooled", "fine_tuned", "adapted", "bayes", "trees"}
    assert f"trust     {facts['trust']}" in done.out
    assert "owners in each of two groups" in done.out
    lift = facts["expected_lift"]
    assert lift["low"] <= lift["lift"] <= lift["high"]
    scored = remedi("score", "--table", str(tmp_path / "support.parquet"), "--model", str(out), "--out",
                    str(tmp_path / "scores.parquet"))  # fmt: skip
    assert scored.code == 0, scored.err
    table = pd.read_parquet(tmp_path / "scores.parquet").sort_values("owner_id")
    direct = remedi_spark.load(out).predict(frame.sort_values("owner"))
    np.testing.assert_allclose(table["score"], direct, atol=1e-6)
    assert table["reasons"].notna().any()


def test_the_mean_probability_is_the_given_base_rate(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    """A support of 10 buyers and 90 others, drawn from a segment in which 2 % buy."""
    frame = support()
    frame.to_parquet(tmp_path / "support.parquet")
    out = tmp_path / "student"
    table = tmp_path / "support.parquet"
    done = remedi(*arguments(meta_trained, table, out, "--segment", "s", "--base-rate", "0.02", "--owners", "5000"))
    assert done.code == 0, done.err
    facts = json.loads((out / "adapt.json").read_text())
    assert facts["base_rate"] == 0.02
    assert facts["ab_test"]["budget_owners"] == 375
    scores = remedi_spark.load(out).predict(frame)
    weight = np.where(frame["bought"] == 1, 1, 10 * 0.98 / 0.02 / 90)
    # Out-of-fold margins set the intercept, the final fit saw every row: equal up to that difference.
    assert np.average(scores, weights=weight) == pytest.approx(0.02, rel=0.5)


def test_the_arm_that_validated_best_is_used_or_the_one_by_name(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    table = tmp_path / "support.parquet"
    support().to_parquet(table)
    meta = MetaBundle.load(meta_trained.model).meta
    aps = {name: one["ap"] for name, one in meta["validation"]["10"].items()}
    assert meta["default"]["10"] == max(aps, key=lambda name: aps[name])
    for arm, used in (("validated", meta["default"]["10"]), ("adapted", "adapted"), ("trees", "trees")):
        out = tmp_path / arm
        given = ("--segment", "s", "--set", f"adapt.fit.arm={arm}")
        done = remedi(*arguments(meta_trained, table, out, *given))
        assert done.code == 0, done.err
        assert json.loads((out / "adapt.json").read_text())["trust"] == used


def test_a_bundle_of_trees_and_a_head_scores_as_the_arm_does(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    """The mean of the bundle's models is the trees' mean plus the head's term plus the intercept."""
    frame = support()
    frame.to_parquet(tmp_path / "support.parquet")
    out = tmp_path / "student"
    given = ("--segment", "s", "--set", "adapt.fit.arm=trees")
    done = remedi(*arguments(meta_trained, tmp_path / "support.parquet", out, *given))
    assert done.code == 0, done.err
    opened = MetaBundle.load(meta_trained.model).open()
    rows = ready(opened, frame)
    x = opened.encoder.transform(rows, leave_out=0)
    y = rows["label"].to_numpy(dtype=float)
    arm = fit_arm(opened.net, opened.arms(10)["trees"], Support(x, y, np.ones(len(y)), np.arange(len(y))))
    assert arm is not None
    scores = remedi_spark.load(out).predict(frame)
    margins = np.log(scores) - np.log1p(-scores)
    away = margins - margins_of(opened.net, arm, x)
    np.testing.assert_allclose(away, away.mean(), atol=1e-4)
    assert all(reasons for reasons in remedi_spark.load(out).explain(ready(opened, frame), 3))


def test_without_a_base_rate_the_tables_share_is_shrunk(meta_trained: MetaTrainedWorld) -> None:
    opened = MetaBundle.load(meta_trained.model).open()
    frame = support(buyers=5, others=20)
    rows = ready(opened, frame)
    usual = fit_frame(opened, rows, "s", FitConfig(), None, None, 0).facts["base_rate"]
    assert 0 < usual < 0.2, "a fifth bought here, about 15 % in the other segments"
    sure = replace(opened, meta={**opened.meta, "level": {"mean": 0.0, "variance": 100.0}})
    assert fit_frame(sure, rows, "s", FitConfig(), None, None, 0).facts["base_rate"] == pytest.approx(0.2, rel=0.02)


def test_a_meta_model_of_an_earlier_version_fits_as_it_did(meta_trained: MetaTrainedWorld) -> None:
    """Without default arms and prior of the levels: arms by the validation segments, the rate by the table."""
    opened = MetaBundle.load(meta_trained.model).open()
    old = replace(opened, meta={k: v for k, v in opened.meta.items() if k not in ("default", "level")})
    frame = support()
    rows = ready(opened, frame)
    fitted = fit_frame(old, rows, "s", FitConfig(), None, None, 0)
    assert fitted.facts["base_rate"] == 0.1
    assert fitted.facts["trust"] == opened.validated(10)


def test_an_arm_that_the_meta_model_lacks_is_refused(meta_trained: MetaTrainedWorld) -> None:
    opened = replace(MetaBundle.load(meta_trained.model).open(), bayes={})
    frame = support()
    rows = ready(opened, frame)
    with pytest.raises(InputError, match=r"adapt\.fit\.arm: found 'bayes', but the meta model has pooled"):
        fit_frame(opened, rows, "s", FitConfig(arm="bayes"), None, None, 0)


def test_many_segments_at_once_and_one_of_them_refused(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    parts = [support(number).assign(brand=f"new {number}") for number in (21, 22)]
    parts.append(support(23, buyers=0).assign(brand="without buyers"))
    pd.concat(parts).to_parquet(tmp_path / "support.parquet")
    out = tmp_path / "students"
    done = remedi(*arguments(meta_trained, tmp_path / "support.parquet", out, "--segments", "brand"))
    assert done.code == 0, done.err
    assert "segment 'without buyers': no positive row among 90 labelled" in done.err
    bundles = sorted(out.iterdir())
    assert len(bundles) == 2
    single = tmp_path / "single"
    parts[0].to_parquet(tmp_path / "one.parquet")
    assert remedi(*arguments(meta_trained, tmp_path / "one.parquet", single, "--segment", "new 21")).code == 0
    together = next(one for one in bundles if one.name.startswith("new_21"))
    expected = remedi_spark.load(single).predict(parts[0])
    np.testing.assert_allclose(remedi_spark.load(together).predict(parts[0]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(bought=0), "no positive row"),
        (lambda f: f.assign(bought=1), "no negative row"),
        (lambda f: f.assign(bought=2), "expected 0, 1 or null"),
        (lambda f: f.drop(columns="x2"), "feature 'x2' is missing"),
        (lambda f: f.assign(x2="text"), "feature 'x2' is of type string, expected a number"),
        (lambda f: f.drop(columns="owner"), "no column 'owner'"),
    ],
)
def test_a_support_that_cannot_be_used_is_one_clear_line(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path, change: Any, message: str
) -> None:
    change(support()).to_parquet(tmp_path / "support.parquet")
    done = remedi(*arguments(meta_trained, tmp_path / "support.parquet", tmp_path / "out", "--segment", "s"))
    assert done.code == 2
    assert message in done.message


def test_a_level_never_seen_and_a_single_buyer_are_fitted(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    frame = support(buyers=1).assign(city="Zürich")
    frame.to_parquet(tmp_path / "support.parquet")
    out = tmp_path / "out"
    done = remedi(*arguments(meta_trained, tmp_path / "support.parquet", out, "--segment", "s"))
    assert done.code == 0, done.err
    facts = json.loads((out / "adapt.json").read_text())
    prior = MetaBundle.load(meta_trained.model).meta["validation"]["5"]
    best = max(prior, key=lambda name: prior[name]["difference"])
    assert prior[facts["trust"]]["difference"] == prior[best]["difference"], "one buyer: the other segments decide"
    assert np.isfinite(remedi_spark.load(out).predict(frame)).all()


def test_no_meta_model_and_a_changed_one_are_refused(
    remedi: Any, meta_trained: MetaTrainedWorld, tmp_path: Path
) -> None:
    support().to_parquet(tmp_path / "support.parquet")
    nothing = MetaTrainedWorld(tmp_path, meta_trained.table, meta_trained.frame)
    done = remedi(*arguments(nothing, tmp_path / "support.parquet", tmp_path / "out", "--segment", "s"))
    assert (done.code, "no meta.json" in done.message) == (2, True)
    changed = tmp_path / "meta"
    MetaBundle.load(meta_trained.model).save(changed)
    (folder,) = changed.glob("files-*")
    for name in ("adapted.pt", "encoder.json", "contract.json", "bayes.json"):
        sound = (folder / name).read_bytes()
        (folder / name).write_bytes(sound + b" ")
        with pytest.raises(InputError, match=f"{name}: changed since meta-training"):
            MetaBundle.load(changed)
        (folder / name).write_bytes(sound)
    MetaBundle.load(changed)
    meta = json.loads((changed / "meta.json").read_text())
    (changed / "meta.json").write_text(json.dumps({**meta, "folder": "../elsewhere"}))
    broken = MetaTrainedWorld(changed, meta_trained.table, meta_trained.frame)
    done = remedi(*arguments(broken, tmp_path / "support.parquet", tmp_path / "out", "--segment", "s"))
    assert (done.code, "do not cover all files" in done.message) == (2, True)
