"""From a meta model and a support table to a segment's student: a normal bundle that ``remedi score`` takes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.config.adapt import FitConfig
from remedi_spark.errors import InputError
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.flat import FlatTable, require_column, require_number
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import write_manifest
from remedi_spark.segments.history import SEGMENT
from remedi_spark.segments.meta_model import MetaBundle, OpenMetaModel
from remedi_spark.spark.kept import shared
from remedi_spark.spark.names import column
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.publish import WORK, publish
from remedi_spark.storage.store import ModelStore, write_json
from remedi_spark.storage.strict_json import finite
from remedi_spark.storage.tables import read_table, reads_as_csv

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.segments.maths.arms import Choice, Support

MOST_ROWS = 200_000
"""Rows of one support: it is adapted on in one piece."""
STUDENT = "net"


@dataclass(frozen=True)
class SegmentFit:
    """A fitted segment.

    Attributes:
        segment: its name.
        payload: the student's net.
        intercept: what is added to its margins so that the mean probability is the base rate.
        facts: evidence, expected lift and A/B test as ``adapt.json`` keeps them.
    """

    segment: str
    payload: bytes
    intercept: float
    facts: dict[str, Any]


def fit_segment(
    spark: SparkSession, model: Path, source: FlatTable, segment: str, out: Path, config: FitConfig,
    *, base_rate: float | None = None, owners: int | None = None, seed: int = 0,
) -> SegmentFit:  # fmt: skip
    """Adapt to one segment and write its bundle.

    Args:
        spark: the session.
        model: folder of the meta model.
        source: the support: labelled rows of the segment.
        segment: its name, for people.
        out: folder of the student's bundle.
        config: cross-validation, budget, lift.
        base_rate: share of buyers among all owners of the segment; None: that of the table.
        owners: owners of the segment, for the budget; None: the table's rows.
        seed: of the folds.

    Raises:
        InputError: a feature that the meta model needs is missing, a class is missing, too many rows.
    """
    bundle = MetaBundle.load(model)
    support = _read(spark, source, bundle, None)
    if support.count() > MOST_ROWS:
        raise InputError(
            f"table {source.table}: {support.count()} rows, expected at most {MOST_ROWS} for one segment; "
            "sample its negatives and pass --base-rate, or use remedi train"
        )
    fitted = fit_frame(bundle.open(), support.toPandas(), segment, config, base_rate, owners, seed)
    write_student(bundle, fitted, out, _contract(bundle, source))
    return fitted


def fit_many(
    spark: SparkSession, model: Path, source: FlatTable, segment: str, out: Path, config: FitConfig, *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Adapt to every segment of a table, one Spark task a segment; write a bundle each under ``out``.

    Args:
        spark: the session.
        model: folder of the meta model.
        source: labelled rows of all segments.
        segment: column that names the segment.
        out: folder of the bundles, one folder a segment.
        config: cross-validation, budget, lift.
        seed: of the folds.

    Returns:
        Facts by segment; for a segment that cannot be fitted ``{"error": why}``.
    """
    bundle = MetaBundle.load(model)
    rows = _read(spark, source, bundle, segment)
    meta = shared(spark, bundle)
    settings = config.model_dump(mode="json")
    columns = [SEGMENT, "payload", "intercept", "facts"]

    def fit(group: pd.DataFrame) -> pd.DataFrame:
        name = str(group[SEGMENT].iloc[0])
        try:
            opened = meta().open()
            fitted = fit_frame(opened, group, name, FitConfig.model_validate(settings), None, None, seed)
        except InputError as error:
            return pd.DataFrame([(name, b"", 0.0, json.dumps({"error": str(error)}))], columns=columns)
        return pd.DataFrame([(name, fitted.payload, fitted.intercept, json.dumps(fitted.facts))], columns=columns)

    fitted = rows.groupBy(SEGMENT).applyInPandas(fit, "segment string, payload binary, intercept double, facts string")
    found = {}
    for row in sorted(_local(fitted), key=lambda one: one[SEGMENT]):
        facts = found[row[SEGMENT]] = json.loads(row["facts"])
        if "error" not in facts:
            one = SegmentFit(row[SEGMENT], bytes(row["payload"]), row["intercept"], facts)
            write_student(bundle, one, out / folder_name(row[SEGMENT]), _contract(bundle, source))
    return found


def folder_name(segment: str) -> str:
    """Return a folder's name for a segment: readable, and another one for every other segment."""
    readable = re.sub(r"\W+", "_", segment.casefold()).strip("_")[:40] or "segment"
    return f"{readable}-{hashlib.sha256(segment.encode()).hexdigest()[:6]}"


def _local(frame: DataFrame) -> Iterator[Any]:
    """Fetch fitted segments one partition at a time: nets, never owner rows."""
    return frame.toLocalIterator()


def _read(spark: SparkSession, source: FlatTable, bundle: MetaBundle, segment: str | None) -> DataFrame:
    """Return label, f0 … fn (and the segment) of the labelled rows."""
    contract = FeatureContract.from_dict(bundle.encoder["contract"])
    roles = [source.id, source.label, *([] if segment is None else [segment])]
    frame = read_table(spark, source.table, as_text=[source.id, *contract.names], roles=roles)
    require_column(frame, source.id, "--id", source.table)
    require_column(frame, source.label, "--label", source.table)
    require_number(frame, source.label, "--label", source.table)
    named = []
    if segment is not None:
        require_column(frame, segment, "--segments", source.table)
        named = [column(segment).cast("string").alias(SEGMENT)]
    features = contract.select(frame, table=source.table, text=reads_as_csv(source.table))
    owner = F.xxhash64(column(source.id).cast("string")).alias(OWNER)
    rows = frame.select(*named, owner, source.label_column().alias(LABEL), *features)
    rows = rows.where(F.col(LABEL).isNotNull())
    odd = rows.where(~F.col(LABEL).isin(0.0, 1.0)).select(LABEL).head(1)
    if odd:
        raise InputError(f"table {source.table}: label {odd[0][0]!r} in column {source.label!r}, expected 0, 1 or null")
    return rows.where(F.col(SEGMENT).isNotNull()) if named else rows


def fit_frame(
    model: OpenMetaModel, frame: pd.DataFrame, segment: str, config: FitConfig,
    base_rate: float | None, owners: int | None, seed: int,
) -> SegmentFit:  # fmt: skip
    """Adapt to the rows (owner_id as a number, label, f0 … fn) of one segment; no Spark.

    Raises:
        InputError: no positive or no negative row; every arm diverged.
    """
    import torch

    from remedi_spark.segments.maths.arms import Support, choose_arm, fit_arm, intercept

    torch.set_num_threads(1)
    y = frame[LABEL].to_numpy(dtype=np.float64)
    positives = int(y.sum())
    if not positives or positives == len(y):
        which = "positive" if not positives else "negative"
        raise InputError(
            f"segment {segment!r}: no {which} row among {len(y)} labelled; expected buyers and others in the support"
        )
    share = base_rate if base_rate is not None else positives / len(y)
    if not 0 < share < 1:
        raise InputError(f"--base-rate: found {share}, expected a share between 0 and 1")
    # An enriched support is weighted back to the rate of the segment, as the tasks of meta-training were.
    weight = np.where(y > 0, 1.0, positives * (1 - share) / share / (len(y) - positives))
    support = Support(model.encoder.transform(frame, leave_out=0), y, weight, frame[OWNER].to_numpy(dtype=np.int64))
    arms = model.arms(positives)
    choice = choose_arm(
        model.net, arms, support, model.priors(positives), folds=config.folds, repeats=config.repeats, seed=seed,
        wanted=_wanted(model, config, positives),
    )  # fmt: skip
    fitted = fit_arm(model.net, arms[choice.arm], support)
    assert fitted is not None, "a chosen arm is finite"
    rate = share if base_rate is not None else _rate(model, support, share)
    facts = _facts(choice, support.y, weight, rate, owners, config, seed)
    return SegmentFit(
        segment, model.payload(fitted), intercept(choice.margins, rate, weight), {"segment": segment, **facts}
    )


def _wanted(model: OpenMetaModel, config: FitConfig, positives: int) -> str | None:
    """Return the arm to use; None: by the evidence."""
    if config.arm == "evidence":
        return None
    if config.arm == "validated":
        return model.validated(positives)
    known = model.arms(positives)
    if config.arm not in known:
        raise InputError(
            f"adapt.fit.arm: found {config.arm!r}, but the meta model has {', '.join(known)}; choose one of them or "
            "run remedi adapt meta-train with adapt.bayes.dims above 0"
        )
    return config.arm


def _rate(model: OpenMetaModel, support: Support, share: float) -> float:
    """Return the base rate when none is given: the table's share, shrunk as the other segments' levels suggest."""
    from remedi_spark.segments.maths.arms import net_margins
    from remedi_spark.segments.maths.level import base_rate

    level = model.meta.get("level")
    if level is None:  # an older meta model
        return share
    margins = net_margins(model.net, model.starts["pooled"], support.x)
    return base_rate(margins, support.y, support.weight, level)


def _facts(
    choice: Choice, y: Any, weight: Any, rate: float, owners: int | None, config: FitConfig, seed: int
) -> dict[str, Any]:
    from remedi_spark.segments.lift import expected_lift
    from remedi_spark.segments.maths.trial import plan_trial

    total = owners if owners is not None else round(float(weight.sum()))
    lift, low, high = expected_lift(y, choice.margins, weight, config.budget, seed)
    plan = plan_trial(rate, config.lift, max(1, round(config.budget * total)))
    return {
        "trust": choice.arm,
        "positives": int(y.sum()), "rows": len(y), "base_rate": rate,
        "arms": {name: asdict(verdict) for name, verdict in choice.verdicts.items()},
        "expected_lift": {"budget": config.budget, "lift": lift, "low": low, "high": high},
        "ab_test": asdict(plan),
    }  # fmt: skip


def _contract(bundle: MetaBundle, source: FlatTable) -> FeatureContract:
    """The student reads tables with the support's key columns."""
    return replace(FeatureContract.from_dict(bundle.encoder["contract"]), id_column=source.id, time_column=source.time)


def write_student(bundle: MetaBundle, fitted: SegmentFit, out: Path, contract: FeatureContract) -> None:
    """Write a bundle of one net, or of trees and a head: encoder of the meta model, intercept as calibration."""
    encoder = replace(Encoder.from_dict(bundle.encoder), contract=contract)
    work = out / WORK
    store = ModelStore(work)
    store.save("contract", contract.to_dict())
    store.save("encoder", encoder.to_dict())
    store.save("calibration", {"kind": "platt", "a": 1.0, "b": fitted.intercept})
    students = _students(bundle, fitted)
    for name, one in students.items():
        store.save_fitted(one, "student", name, "fold_0")
    write_manifest(work, students=list(students), folds=1)
    publish(work, out)
    write_json(out / "adapt.json", finite(fitted.facts))
    shutil.rmtree(work)  # nothing goes on from it


def _students(bundle: MetaBundle, fitted: SegmentFit) -> dict[str, Fitted]:
    """Return the models of the bundle; their mean margin, which scoring takes, is that of the arm.

    Beside trees the net is the head alone: the margin is the mean of the trees plus the head.
    """
    net = Fitted("net", fitted.payload, {"arm": fitted.facts["trust"]})
    if fitted.facts["trust"] != "trees":
        return {STUDENT: net}
    texts = bundle.bayes["trees"]["texts"]
    models = len(texts) + 1
    trees = {
        f"trees_{i}": Fitted("lightgbm", text.encode()).on_line(models / len(texts), 0.0)
        for i, text in enumerate(texts)
    }
    return {**trees, STUDENT: net.on_line(models, 0.0)}
