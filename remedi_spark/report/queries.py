"""What the report asks of the test rows: all that takes Spark, in queries that run side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from remedi_spark.columns import KEY, LABEL, OWNER, PART, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.config.chain import EXPERTS
from remedi_spark.features.state import read_state
from remedi_spark.labels.binned import EXACT_ROWS
from remedi_spark.labels.comparing import compare_models, fidelity
from remedi_spark.labels.kind import Task, task_of
from remedi_spark.labels.measured import Fidelity, Measured, Segment, Size, SnapshotResult
from remedi_spark.labels.measures import measure_segments, measure_snapshots
from remedi_spark.maths.label_scale import score_map_from_dict
from remedi_spark.progress import side_work
from remedi_spark.report.drivers import LEVELS, effects, importance
from remedi_spark.report.explained import WEIGHT, draw_rows
from remedi_spark.report.health import health
from remedi_spark.report.metrics import Ablation
from remedi_spark.report.outline import Outline, outline
from remedi_spark.report.page import model as page
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.holdout import TEST, TRAIN
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.scoring.monitoring.counting import count_rows
from remedi_spark.scoring.monitoring.distribution import Distribution
from remedi_spark.scoring.monitoring.history import latest
from remedi_spark.scoring.monitoring.measures import against_training
from remedi_spark.scoring.monitoring.verdict import verdict_of
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.side_by_side import together
from remedi_spark.storage.store import ModelStore
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import DataFrame

    from remedi_spark.storage.tables import Tables

EXPLAINED_ROWS = 2_000
"""Rows whose contributions are added up, half of them from the list."""
EFFECTS = 6
SEGMENTS = 4
"""Text features, the strongest ones, by whose levels the student is measured."""


@dataclass(frozen=True)
class Student:
    """What there is to know of the student: how it follows its teacher, who decides, and what drives it."""

    fidelity: Fidelity
    experts: page.Experts
    importance: list[page.FeatureImportance]
    explained: page.Explained
    effects: list[page.Effect]
    segments: list[Segment]


@dataclass(frozen=True)
class Found:
    """All that takes Spark."""

    models: dict[str, Measured]
    ablations: dict[str, Ablation]
    student: Student
    over_time: list[SnapshotResult]
    data_health: page.DataHealth | None
    verdict: page.Verdict | None


def measure(
    workspace: Workspace, config: Config, phase: str, rows: DataFrame, size: Size, k: int, names: list[str],
    ablations: Sequence[str],
) -> Found:  # fmt: skip
    """Return all that takes Spark: queries so small that each spends more time on its plan than on rows."""
    task = task_of(config, workspace.models(phase))
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    many = size.rows > EXACT_ROWS
    parts: dict[str, Callable[[], Any]] = {
        "models": lambda: task.measure(rows, {name: F.col(name) for name in names}, k),
        "ablations": lambda: (
            _differences(rows, ablations, k, config.evaluation.bootstrap, many=many) if ablations else {}
        ),
        "student": lambda: _student(workspace, contract, rows, k, size.rows, listed=task.binary),
        "over_time": lambda: _over_time(rows, config.scores.budget, contract, many=many) if task.binary else [],
        "data_health": lambda: _health(workspace, config, contract, phase, rows),
        "verdict": lambda: _verdict(workspace, config) if task.binary else None,
    }
    return Found(**together(parts))


def measured_rows(workspace: Workspace, phase: str, task: Task, ablations: Sequence[str]) -> DataFrame:
    """Return the test rows with every model's score, a probability or an amount, and the features."""
    rows = workspace.read(phase, "student_scores").where(F.col(PART) == TEST)
    if ablations:
        rows = join_rows(rows, workspace.read(phase, "ablation_scores"))
    fused = workspace.read(phase, "fused_scores")
    scores = task.baseline_scores(lambda: fused.where((F.col(PART) == TRAIN) & F.col(LABEL).isNotNull()))
    scores |= {name: task.score(F.col(name)) for name in ("fuser", *ablations)}
    calibrate = _calibrated(workspace.models(phase))
    return join_rows(rows.withColumns({**scores, "student": calibrate("student")}), _features(workspace, phase))


def _features(workspace: Workspace, phase: str) -> DataFrame:
    """Return keys and features of the samples that the test rows are among."""
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    # An owner may be in the training table and in a test table of the user's own, with other features.
    source = F.col("source") == TEST if phase == FINAL else F.col("source") != TEST
    return workspace.tables.read("samples").where(source).select(*KEY, *contract.columns)


def _calibrated(store: ModelStore) -> Any:
    stored = store.load("calibration")

    @pandas_udf("double")  # type: ignore[call-overload, untyped-decorator]
    def calibrate(margins: pd.Series) -> pd.Series:
        return pd.Series(score_map_from_dict(stored)(margins.to_numpy()))

    return calibrate


def _differences(
    rows: DataFrame, ablations: Sequence[str], k: int, resamples: int, *, many: bool
) -> dict[str, Ablation]:
    """AP of the whole method's part less that of its ablation, on the same resampled rows."""
    whole = {name: "student" if name.startswith("student") else "fuser" for name in ablations}
    found = compare_models(rows, [(whole[name], name) for name in ablations], k, max(2, resamples), many=many)
    return {name: Ablation(instead_of=whole[name], ap_lost=found[whole[name], name]) for name in ablations}


def _student(
    workspace: Workspace, contract: FeatureContract, rows: DataFrame, k: int, size: int, *, listed: bool
) -> Student:
    """Segments are by the list of the best ``k`` where there is one to judge."""
    many = size > EXACT_ROWS
    spread = outline(rows, "student", EXPERTS, k / size)
    first: dict[str, Callable[[], Any]] = {
        "fidelity": lambda: fidelity(rows, "student", "fuser", k, many=many),
        "importance": lambda: _importance(workspace, contract, rows, spread),
    }
    (follows, cut), (shares, explained) = together(first).values()
    names = [one.feature for one in shares]
    second: dict[str, Callable[[], Any]] = {
        "effects": lambda: effects(rows, contract, names[:EFFECTS], "student"),
        "segments": lambda: _segments(rows, contract, names, cut, many=many) if listed else [],
    }
    return Student(follows, spread.gate_use(), shares, explained, **together(second))


def _importance(
    workspace: Workspace, contract: FeatureContract, rows: DataFrame, spread: Outline
) -> tuple[list[page.FeatureImportance], page.Explained]:
    drawn = draw_rows(rows, "student", spread.listed, EXPLAINED_ROWS)
    explained = join_rows(rows.select(*KEY, *contract.columns), F.broadcast(drawn))
    return importance(explained.select(OWNER, *contract.columns, WEIGHT), load_parts(workspace.bundle))


def _segments(rows: DataFrame, contract: FeatureContract, names: list[str], cut: float, *, many: bool) -> list[Segment]:
    """Measure the student by the levels of the strongest text features."""
    columns = dict(zip(contract.names, contract.columns, strict=True))
    texts = {feature.name for feature in contract.features if feature.kind == "category"}
    chosen = {name: F.col(columns[name]) for name in names if name in texts}
    chosen = dict(list(chosen.items())[:SEGMENTS])
    return measure_segments(rows, F.col("student"), chosen, cut, LEVELS, many=many) if chosen else []


def _over_time(rows: DataFrame, budget: float, contract: FeatureContract, *, many: bool) -> list[SnapshotResult]:
    if contract.time_column is None or rows.select(SNAPSHOT).distinct().count() > 120:
        return []
    return measure_snapshots(rows, F.col("student"), F.col(SNAPSHOT), budget, many=many)


def _health(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, rows: DataFrame
) -> page.DataHealth | None:
    """Say how the rows scored last differ from training or, where none were scored, the measured rows."""
    parts, read = load_parts(workspace.bundle), sources_read(workspace.tables)
    found = None
    with side_work("report", "reading the table monitoring", "the report compares the measured rows instead"):
        found = latest(workspace.tables, parts.model_version)
    if found is not None:
        snapshot, measures, past = found
        scored = next(int(one.value or 0) for one in measures if one.metric == "rows")
        compared = f"rows scored of {snapshot}" if snapshot else "rows scored last"
        return health(measures, compared, scored, past, read)
    if parts.distribution is None:
        return None
    distribution = Distribution.from_dict(parts.distribution)
    now = count_rows(rows, Encoder.from_dict(parts.encoder), distribution.edges)
    # What is shipped has learned from the measured rows too, unless they came in a table of their own.
    then = replace(distribution if phase == FINAL else distribution.without(now), score_edges=[], score_counts=[])
    drift = list(against_training(now, then, contract.names, config.monitoring))
    return health(drift, "rows measured on", now.rows, sources=read)


def _verdict(workspace: Workspace, config: Config) -> page.Verdict | None:
    """Return what to do with the model's last list; None where it has scored nothing yet."""
    found = None
    with side_work("report", "deciding on the last list", "the report has no verdict"):
        found = verdict_of(workspace.tables, load_parts(workspace.bundle).model_version, config.monitoring)
    return page.Verdict(decision=found.decision, reason=found.reason) if found else None


def sources_read(tables: Tables) -> list[page.InputHealth]:
    """Return rows and quarantined rows of every table that stage 1 has read; none where features came ready made."""
    state = read_state(tables)
    found = state.findings.items() if state is not None else ()
    return [page.InputHealth(name=name, rows=facts["rows"], quarantined=facts["failed"]) for name, facts in found]
