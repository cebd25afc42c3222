"""One report as a run would make it: planted scores, everything measured from them with scikit-learn and numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score, roc_auc_score

from remedi_spark.report.page import model as m

Array = NDArray[np.float64]
HOSTILE = '<img src=x onerror="window.owned=1">$x$</script><script>window.owned=1</script>&amp;"\'{{ 7*7 }}'
ROWS, BUDGET = 20_000, 0.075
CUT = round(BUDGET * ROWS)
SHARES = np.linspace(0.005, 1.0, 200)
LOSS_NAMES = {"lightgbm_small": 300, "lightgbm_large": 420, "xgboost": 260, "mlp": 30, "fuser": 25, "student": 40}


def _hits(y: Array, score: Array) -> Array:
    return y[np.argsort(-score)].cumsum()


def _result(name: str, kind: m.Kind, y: Array, score: Array) -> m.ModelResult:
    hits_all = _hits(y, score)
    hits = hits_all[CUT - 1]
    recall, half = hits / y.sum(), 1.96 * np.sqrt(0.22 / y.sum())
    probability = 1 / (1 + np.exp(-score))
    return m.ModelResult(
        name=name,
        kind=kind,
        metrics={
            "ap": average_precision_score(y, score),
            "auc": roc_auc_score(y, score),
            "recall_at_k": recall,
            "precision_at_k": hits / CUT,
            "lift_at_k": recall / BUDGET,
            "brier": brier_score_loss(y, probability),
            "ece": abs(probability.mean() - y.mean()),
            "ks": np.abs(hits_all / y.sum() - (np.arange(1, ROWS + 1) - hits_all) / (ROWS - y.sum())).max(),
            "ndcg_at_k": ndcg_score(y[None], score[None], k=CUT),
        },
        intervals={
            "recall_at_k": (recall - half, recall + half),
            "lift_at_k": ((recall - half) / 0.075, (recall + half) / 0.075),
        },
        seconds=3.0 + 40 * len(name),
    )


def _curve(name: str, y: Array, score: Array) -> m.GainsCurve:
    hits = _hits(y, score)
    return m.GainsCurve(model=name, share=SHARES, recall=hits[np.round(SHARES * len(y)).astype(int) - 1] / y.sum())


def _reliability(y: Array, probability: Array) -> list[m.ReliabilityBin]:
    bins = []
    for rows in np.array_split(np.argsort(probability), 15):
        rate, half = y[rows].mean(), 1.96 * np.sqrt((y[rows].mean() + 1e-5) / len(rows))
        bins.append(
            m.ReliabilityBin(
                predicted=probability[rows].mean(),
                observed=rate,
                rows=len(rows),
                lower=max(0.0, rate - half),
                upper=min(1.0, rate + half),
            )
        )
    return bins


def _experts() -> m.Experts:
    steps = np.linspace(0, 1, 10)[:, None]
    weights = (1 - steps) * [0.45, 0.25, 0.2, 0.1] + steps * [0.15, 0.2, 0.25, 0.4]
    names = ["convex combination", "MLP on meta-features", "cross network on features", "boosted stacker"]
    return m.Experts(names=names, mean_weight=weights.mean(axis=0), entropy=0.71, by_decile=weights)


def _drivers(rng: np.random.Generator) -> tuple[list[m.FeatureImportance], list[m.Effect]]:
    names = [
        f"{kind}_{window}d"
        for kind in ("visits", "spend", "baskets", "coupons_redeemed")
        for window in (7, 28, 91, 182)
    ]
    names = [
        "days_since_last_purchase_in_category",
        "household_size",
        "age_band",
        *names,
        *(f"department_{i}" for i in range(40)),
    ]
    importance = [
        m.FeatureImportance(feature=n, importance=v)
        for n, v in zip(names, 0.31 * 0.86 ** np.arange(len(names)), strict=True)
    ]
    effects = [
        m.Effect(
            feature=name,
            values=list(np.arange(10.0) * 7),
            mean_score=0.02 + 0.11 * np.exp(-np.arange(10) / rng.uniform(1, 5)),
            rows=rng.integers(100, 4000, 10),
        )
        for name in names[:2] + names[3:12]
    ]
    bands = ["19-24", "25-34", "35-44", "45-54", "55-64", "65+", "missing"]
    by_age = m.Effect(
        feature="age_band", values=bands, mean_score=rng.uniform(0.005, 0.06, 7), rows=rng.integers(100, 4000, 7)
    )
    return importance, [*effects[:2], by_age, *effects[2:]]


def _segments() -> list[m.Segment]:
    def one(column: str, level: str, rows: int, positives: int, recall: float) -> m.Segment:
        value = recall if positives else float("nan")
        return m.Segment(
            column=column,
            level=level,
            rows=rows,
            positives=positives,
            recall_at_k=value,
            lift_at_k=value / 0.075,
            ap=value / 2,
        )

    income = [
        ("Under 15K", 1800, 31, 0.58),
        ("15-24K", 2100, 44, 0.7),
        ("25-34K", 3300, 81, 0.66),
        ("35-49K", 5100, 130, 0.72),
    ]
    homes = [
        ("Homeowner", 11_000, 260, 0.69),
        ("Renter", 3900, 91, 0.55),
        ("Probable renter", 120, 0, 0.0),
        ("Unknown", 0, 0, 0.0),
    ]
    return [one("income_range", *row) for row in income] + [one("home_ownership", *row) for row in homes]


def _over_time() -> list[m.SnapshotResult]:
    days = [f"2017-{month:02d}-{day:02d}" for month in (7, 8) for day in (3, 10, 17, 24)]
    return [
        m.SnapshotResult(
            snapshot=day,
            rows=2400,
            positives=55 - i,
            ap=0.3 - 0.01 * i,
            recall_at_k=0.7 - 0.012 * i,
            lift_at_k=9 - 0.2 * i,
        )
        for i, day in enumerate(days)
    ]


def _curves(rng: np.random.Generator) -> list[m.TrainingCurve]:
    curves = []
    for name, length in LOSS_NAMES.items():
        for fold in range(5):
            t = np.arange(1, length + 1) / length
            noise = rng.normal(0, 0.0004, length)
            curves.append(
                m.TrainingCurve(
                    model=name,
                    fold=fold,
                    iteration=np.arange(1, length + 1),
                    train=0.06 + 0.05 * np.exp(-5 * t) + noise,
                    valid=0.078 + 0.035 * np.exp(-6 * t) + 0.003 * t + noise + 0.001 * fold,
                    loss="log loss",
                )
            )
    return curves


def _health() -> m.DataHealth:
    inputs = [("events", 1_469_307, 0), ("owner attributes", 2_469, 57)]
    features = [
        m.FeatureHealth(feature=f"spend_{i}d", null_share=0.02 * (i % 9), psi=0.31 / (i + 1)) for i in range(28)
    ]
    return m.DataHealth(
        inputs=[m.InputHealth(name=name, rows=rows, quarantined=bad) for name, rows, bad in inputs],
        features=features,
        notes=["2 constant columns were dropped: store_region, currency."],
    )


def _provenance() -> m.Provenance:
    stages = {
        "features": 21.4,
        "base models": 96.0,
        "meta-features": 6.2,
        "fuser": 31.0,
        "student": 28.8,
        "scores": 4.1,
    }
    return m.Provenance(
        configuration="seed: 7\nbase_models:\n  folds: 5\n  models: [lightgbm_small, lightgbm_large, xgboost, mlp]\n",
        versions={"remedi_spark": "0.1.0", "pyspark": "3.5.9", "delta-spark": "3.3.3", "torch": "2.9.0"},
        seeds={"seed": 7, "folds": 7},
        tables=[
            m.TableVersion(name="owner_features", version="3"),
            m.TableVersion(name="oof_predictions", version="12"),
        ],
        durations=[m.StageDuration(stage=stage, seconds=seconds) for stage, seconds in stages.items()],
    )


@pytest.fixture(scope="session")
def report() -> m.Report:
    """Every section filled: 20,000 rows, a logistic truth, models that see it through more or less noise."""
    rng = np.random.default_rng(11)
    logit = rng.normal(-5.2, 1.9, ROWS)
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(float)
    noises = {"lightgbm_small": 0.95, "lightgbm_large": 0.9, "xgboost": 0.85, "mlp": 1.1}
    scores = {name: logit + rng.normal(0, noise, ROWS) for name, noise in noises.items()}
    mean = np.mean(list(scores.values()), axis=0)
    others = {"mean": mean, "fuser": 0.8 * mean + 0.2 * logit, "student": 0.78 * mean + 0.2 * logit}
    kinds: dict[str, m.Kind] = {"mean": "baseline", "fuser": "fuser", "student": "student"}
    everything = scores | others
    models = [_result(name, kinds.get(name, "base"), y, score) for name, score in everything.items()]
    importance, effects = _drivers(rng)
    return m.Report(
        head=m.Head(
            title="Complete Journey: INFANT FORMULA",
            label="buys INFANT FORMULA in the next 28 days",
            run_id="2026-03-01T02-00-7f3a",
            model_version="7",
            generated_at="2026-03-01T02:04:41+00:00",
            measured_on="the snapshots from 20 July to 3 September, which no stage was fitted on",
            rows=ROWS,
            positives=int(y.sum()),
            prior=y.mean(),
            k=CUT,
            budget=BUDGET,
        ),
        models=models,
        retention=m.Retention(ap=0.987, recall_at_k=0.994),
        fidelity=m.Fidelity(spearman=0.962, top_k_overlap=0.883),
        gains=[_curve(name, y, score) for name, score in everything.items()],
        calibration=_reliability(y, 1 / (1 + np.exp(-logit))),
        experts=_experts(),
        ablations=[
            _result("fuser without relative features", "ablation", y, mean),
            _result("student from labels only", "ablation", y, scores["xgboost"]),
        ],
        importance=importance,
        effects=effects,
        segments=_segments(),
        over_time=_over_time(),
        data_health=_health(),
        training_curves=_curves(rng),
        provenance=_provenance(),
    )


@pytest.fixture(scope="session")
def hostile_report(report: m.Report) -> m.Report:
    """Every free string of the report replaced by one that would run a script; names still match one another."""
    fixed = {"kind", "task", "shot", "generated_at", "snapshot"}

    def spoil(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            keyed = key in {"versions", "seeds"}
            return {(HOSTILE + name if keyed else name): spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return HOSTILE + value if isinstance(value, str) and key not in fixed else value

    return m.Report.model_validate(spoil(report.model_dump(mode="json")))
