"""The tables of the page: what each cell says, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from remedi_spark.labels.measured import Segment
from remedi_spark.report.page import formatting as fmt
from remedi_spark.report.page.budget import at_budget, compared, curve_of
from remedi_spark.report.page.model import ModelResult, Report

DRIFTED = 0.25
"""A population stability index from which a feature is said to have drifted (the usual rule of thumb)."""
ROWS_USED = "Rows used"
STRONGEST = {"high": max, "low": min}


@dataclass(frozen=True)
class Cell:
    """One cell; ``bar`` in [0, 1] draws a bar behind the number, ``key`` lets the page find the cell again."""

    text: str
    small: str = ""
    bar: float | None = None
    strong: bool = False
    warn: bool = False
    key: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; rows past ``shown`` are folded away under ``rest``."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: frozenset[int] = frozenset({0})
    """Columns set left; all others hold numbers and are set right."""
    shown: int = 20
    rest: str = "more"
    identifier: str = ""
    meanings: dict[str, str] = field(default_factory=dict)
    """What a column title means."""


def budget_table(report: Report) -> Table:
    """Return the outcome of each compared model, and of chance, at the report's own budget."""
    head, amounts = report.head, report.head.task == "regression"
    entries = [(model.role, model.title, curve_of(report, model.result.name)) for model in compared(report)]
    drawn = [entry for entry in entries if entry[2]] + [("random", "Contact at random", None)]
    rows = []
    for role, title, curve in drawn:
        outcome = at_budget(curve, head.budget, head)
        rows.append(
            [
                Cell(title, strong=role == drawn[0][0]),
                Cell(fmt.count(outcome.reached), key=f"{role}-reached"),
                Cell(fmt.percent(outcome.recall), bar=outcome.recall, key=f"{role}-recall"),
                Cell((fmt.number if amounts else fmt.percent)(outcome.precision), key=f"{role}-precision"),
                Cell(fmt.number(outcome.lift), key=f"{role}-lift"),
            ]
        )
    caption = "Recall: share of all {0} who are contacted. Precision: share of the contacted who are {0}."
    caption = caption.format(head.buyers)
    columns = ["", f"{fmt.heading(head.buyers)} reached", "Recall", "Precision", "Lift"]
    if amounts:
        caption = f"Share: of the value of all {head.owners}. Per contact: mean value of the contacted."
        columns = ["", "Value reached", "Share", "Per contact", "Lift"]
    return Table(caption, columns, rows, identifier="budget-table")


_ERRORS = {"regression": ("mae", "spearman")}


def headline_table(report: Report) -> Table:
    """Return what the list is worth with intervals, in a regression errors too: student, fuser, best single, random."""
    head = report.head
    known = {name for model in compared(report) for name in model.result.metrics}
    wanted = ("recall_at_k", "precision_at_k", "lift_at_k", "value_at_k", *_ERRORS.get(head.task, ()))
    names = [name for name in wanted if name in known]
    rows = [
        [Cell(model.title, strong=index == 0), *(_measured(model.result, name) for name in names)]
        for index, model in enumerate(compared(report))
    ]
    chance = {
        "recall_at_k": head.budget,
        "precision_at_k": head.prior,
        "lift_at_k": 1.0,
        "value_at_k": head.budget,
        "spearman": 0.0,
    }
    rows.append([Cell("Contact at random"), *(_plain(name, chance.get(name)) for name in names)])
    return Table(
        f"Best {fmt.budget(head.budget)}: {fmt.count(head.k)} of {fmt.count(head.rows)} {head.owners}",
        ["", *(fmt.metric(name).title for name in names)],
        rows,
        meanings=_meanings(names),
    )


def leaderboard(models: Sequence[ModelResult], caption: str) -> Table:
    """Return all models by all their metrics, the best of each metric set strong."""
    known = {name for model in models for name in model.metrics}
    names = [name for name in fmt.METRICS if name in known] + sorted(known - set(fmt.METRICS))
    best = {name: _best(models, name) for name in names}
    timed = any(model.seconds is not None for model in models)
    counted = any(model.rows_used for model in models)
    rows = [
        [
            Cell(model.name, small="" if model.kind == "ablation" else model.kind, strong=model.kind == "student"),
            *(_measured(model, name, best[name]) for name in names),
            *([Cell(_rows_used(model.rows_used))] if counted else []),
            *([Cell(fmt.duration(model.seconds))] if timed else []),
        ]
        for model in models
    ]
    titles = [
        *(fmt.metric(name).title for name in names),
        *([ROWS_USED] if counted else []),
        *(["Fit"] if timed else []),
    ]
    meanings = _meanings(names) | ({ROWS_USED: "training rows of a fold's fit, after all caps"} if counted else {})
    return Table(caption, ["Model", *titles], rows, shown=60, meanings=meanings)


def _rows_used(by_fold: Sequence[int]) -> str:
    if not by_fold:
        return fmt.MISSING
    low, high = min(by_fold), max(by_fold)
    return fmt.count(low) if low == high else f"{fmt.count(low)}{fmt.THIN}–{fmt.THIN}{fmt.count(high)}"


def ablations(report: Report) -> Table:
    """Return the whole chain's fuser and student, then the same chain with one part taken away."""
    whole = [model for model in report.models if model.kind in ("fuser", "student")]
    return leaderboard([*whole, *report.ablations], "The whole chain, then the same chain with one part taken away")


def _best(models: Sequence[ModelResult], name: str) -> float | None:
    values = [value for model in models if (value := model.metrics.get(name)) is not None]
    return STRONGEST[fmt.metric(name).best](values) if len(set(values)) > 1 else None


def _measured(model: ModelResult, name: str, best: float | None = None) -> Cell:
    value = model.metrics.get(name)
    return Cell(
        fmt.measure(name, value),
        small=fmt.interval(name, model.intervals.get(name)),
        strong=value is not None and value == best,
    )


def _plain(name: str, value: float | None) -> Cell:
    return Cell(fmt.measure(name, value))


def _meanings(names: Iterable[str]) -> dict[str, str]:
    return {fmt.metric(name).title: fmt.metric(name).meaning for name in names if fmt.metric(name).meaning}


def calibration_table(report: Report) -> Table:
    """Return the reliability bins."""
    rows = [
        [
            Cell(str(number)),
            Cell(fmt.percent(bin_.predicted)),
            Cell(fmt.percent(bin_.observed), small=fmt.interval("recall_at_k", (bin_.lower, bin_.upper))),
            Cell(fmt.count(bin_.rows)),
        ]
        for number, bin_ in enumerate(report.calibration, 1)
    ]
    return Table("Reliability by bin, lowest scores first", ["Bin", "Predicted", "Observed", "Rows"], rows)


def experts_table(report: Report) -> Table | None:
    """Return the mean gate weight of each expert."""
    experts = report.experts
    if experts is None:
        return None
    rows = [
        [Cell(name), Cell(fmt.percent(weight), bar=weight)]
        for name, weight in zip(experts.names, experts.mean_weight, strict=True)
    ]
    return Table("Mean weight of each expert", ["Expert", "Weight"], rows)


def importance_table(report: Report) -> Table:
    """Return all features by importance, strongest first."""
    ordered = sorted(report.importance, key=lambda entry: -(entry.importance or 0.0))
    rows = [[Cell(entry.feature), Cell(fmt.percent(entry.importance))] for entry in ordered]
    return Table("Mean size of each feature's contribution", ["Feature", "Share"], rows, rest="more features")


def segment_tables(report: Report) -> list[Table]:
    """Return one table a column, its largest levels first."""
    columns = list(dict.fromkeys(segment.column for segment in report.segments))
    return [_segment_table(column, [s for s in report.segments if s.column == column], report) for column in columns]


def _segment_table(column: str, segments: list[Segment], report: Report) -> Table:
    rows = [
        [
            Cell(segment.level, small=_thin_segment(segment, report.head.buyers)),
            Cell(fmt.count(segment.rows)),
            Cell(fmt.count(segment.positives)),
            Cell(fmt.percent(segment.recall_at_k), bar=segment.recall_at_k),
            Cell(fmt.number(segment.lift_at_k)),
            Cell(fmt.number(segment.ap)),
        ]
        for segment in sorted(segments, key=lambda segment: -segment.rows)
    ]
    titles = [column, "Rows", fmt.heading(report.head.buyers), "Recall@k", "Lift@k", "AP"]
    return Table(f"By {column}", titles, rows, rest="more levels")


def _thin_segment(segment: Segment, buyers: str) -> str:
    """Say why a segment has no figures, or why they should not be leaned on."""
    if segment.rows == 0:
        return "no rows"
    if segment.positives == 0:
        return f"no {buyers}"
    return f"few {buyers}: noisy" if segment.positives < 20 else ""


def over_time_table(report: Report) -> Table:
    """Return the student by snapshot."""
    rows = [
        [
            Cell(entry.snapshot),
            Cell(fmt.count(entry.rows)),
            Cell(fmt.count(entry.positives)),
            Cell(fmt.percent(entry.recall_at_k)),
            Cell(fmt.number(entry.lift_at_k)),
            Cell(fmt.number(entry.ap)),
        ]
        for entry in report.over_time
    ]
    titles = ["Snapshot", "Rows", fmt.heading(report.head.buyers), "Recall@k", "Lift@k", "AP"]
    return Table("By snapshot", titles, rows, rest="more snapshots")


def shot_table(report: Report) -> Table:
    """Return the errors of each model by label density."""
    rows = [
        [
            Cell(shot.model),
            Cell(shot.shot),
            Cell(fmt.count(shot.rows)),
            *(Cell(fmt.number(value)) for value in (shot.mae, shot.rmse, shot.gmae)),
        ]
        for shot in report.shots
    ]
    titles = ["Model", "Shot", "Rows", "MAE", "RMSE", "GM"]
    caption = "Errors by how many training rows the label has: many over 100, medium, few under 20, zero none"
    if any(shot.shot == "zeros" for shot in report.shots):
        caption += "; zeros: labels of exactly 0"
    return Table(caption, titles, rows, text_columns=frozenset({0, 1}), shown=60)


def health_tables(report: Report) -> list[Table]:
    """Return the inputs, and the features with the most drifted first."""
    health = report.data_health
    if health is None:
        return []
    inputs = [
        [Cell(entry.name), Cell(fmt.count(entry.rows)), _quarantine(entry.rows, entry.quarantined)]
        for entry in health.inputs
    ]
    drifting = sorted(health.features, key=lambda entry: (-(entry.psi or 0.0), -(entry.null_share or 0.0)))
    features = [
        [
            Cell(entry.feature, small="drifted" if (entry.psi or 0.0) >= DRIFTED else ""),
            Cell(fmt.percent(entry.null_share), bar=entry.null_share),
            Cell(fmt.number(entry.psi), warn=(entry.psi or 0.0) >= DRIFTED),
        ]
        for entry in drifting
    ]
    tables = [
        Table("Inputs", ["Table", "Rows read", "Quarantined"], inputs, rest="more inputs"),
        Table(
            "Features, the most drifted first",
            ["Feature", "Null", "PSI"],
            features,
            rest="more features",
            meanings={"PSI": f"population stability index; from {DRIFTED} on a feature counts as drifted"},
        ),
    ]
    return [table for table in tables if table.rows]


def _quarantine(rows: int, quarantined: int) -> Cell:
    share = quarantined / (rows or 1)
    return Cell(fmt.count(quarantined), small=fmt.percent(share, 2) if quarantined else "", warn=share >= 0.01)


def provenance_tables(report: Report) -> list[Table]:
    """Return durations, table versions, software versions and seeds, as far as they are known."""
    made = report.provenance
    if made is None:
        return []
    longest = max((entry.seconds for entry in made.durations), default=0.0) or 1.0
    durations = [
        [Cell(entry.stage), Cell(fmt.duration(entry.seconds), bar=entry.seconds / longest)] for entry in made.durations
    ]
    versions = [[Cell(name), Cell(value)] for name, value in made.versions.items()]
    read = [[Cell(entry.name), Cell(entry.version)] for entry in made.tables]
    seeds = [[Cell(name), Cell(str(value))] for name, value in made.seeds.items()]
    tables = [
        Table("Duration of each stage", ["Stage", "Time"], durations),
        Table("Tables", ["Table", "Version"], read),
        Table("Software", ["Package", "Version"], versions),
        Table("Seeds", ["Seed", "Value"], seeds),
    ]
    return [table for table in tables if table.rows]
