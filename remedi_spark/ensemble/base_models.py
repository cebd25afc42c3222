"""Stage 2: K folds x M diverse base models, and an out-of-fold prediction of every training row.

Reads ``samples``. For each phase (``holdout``: trained without the test rows; ``final``: on every labelled row) writes
``encoded`` (rows as numbers), the fitted models, and ``oof_predictions``: one row a (owner, snapshot), one column a
model with its score: a probability brought to the true prior, or an amount. A training row is scored by the models that
never saw its owner; any other row by the mean of the fold models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, FOLD, LABEL, OWNER, PART, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config import Config
from remedi_spark.ensemble.fit_size import learned_rows, other_rows, workers_of
from remedi_spark.ensemble.stored_fits import StoredFits
from remedi_spark.errors import InputError
from remedi_spark.labels.kind import task_of
from remedi_spark.models.contract import TARGET, FitError
from remedi_spark.models.cross_fit import LATE, FoldFits
from remedi_spark.models.fit_facts import fit_facts, weak_members
from remedi_spark.models.predict import score_by_fold
from remedi_spark.models.registry import family_of
from remedi_spark.models.row_caps import Shares
from remedi_spark.models.row_draws import as_drawn, draw, spare
from remedi_spark.progress import log, warn
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.folds import BLOCK, deal, require_positives
from remedi_spark.samples.holdout import BUCKET, DROPPED, SPARE, TEST, TRAIN, UNLABELLED, Holdout, choose_holdout
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.samples.width import kept_unless_wide
from remedi_spark.scoring.monitoring.counting import describe
from remedi_spark.spark.capabilities import dynamic_allocation
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.side_by_side import together
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import checksums, read_json
from remedi_spark.storage.workspace import FINAL, HOLDOUT, WARNINGS, Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


_LATEST = 0.25
"""Share of the training rows, the latest, in which levels must still be known."""


@dataclass(frozen=True)
class _Phase:
    name: str
    encoder: Encoder
    prior: float
    rows: int
    used: int
    """Of the rows, those that are learned from."""
    positives: int
    """Among those."""
    shares: Shares


def run(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Fit all base models of all phases; return how the test rows were chosen and each phase's size."""
    samples = workspace.tables.read("samples")
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    facts: dict[str, Any] = {"phases": {}, "failed": [], "warnings": _noted(workspace)}
    own_test = bool(samples.where(F.col("source") == TEST).head(1))
    final = Holdout(_final_part(), "the table given by --test, which no stage was trained on")
    measured = final if own_test else _chosen(workspace, config, samples)
    parts = {FINAL: final.part} if own_test else {HOLDOUT: measured.part, FINAL: final.part}
    _prepare_all(workspace, config, contract, samples, measured, parts)
    limit, among = config.base_models.time_limit, None
    for name in parts:
        phase = _load_phase(workspace, name)
        # Every phase has the members of the first: what is shipped is what was measured.
        late = time.monotonic() + limit / len(parts) if limit and among is None else None
        names, failed = _fit_all(workspace, config, phase, among, late)
        among = names
        _predict_once(workspace, config, phase, names)
        workspace.ledger.flush()  # fits are the dearest work there is
        fits = fit_facts(_infos(workspace, name, names, config.base_models.folds))
        facts["phases"][name] = {
            "rows": phase.rows, "rows_used": phase.used, "positives_used": phase.positives, "prior": phase.prior,
            "models": names, "fits": fits,
        }  # fmt: skip
        facts["failed"] += [{"model": model, "phase": name, "reason": reason} for model, reason in failed.items()]
    facts["warnings"] += [*_said_of_columns(workspace, contract), *_said_of_members(config, facts)]
    facts |= {"measured_on": measured.description, "measured_phase": FINAL if own_test else HOLDOUT}
    workspace.models(FINAL).save("phases", facts)
    return facts


def _infos(workspace: Workspace, phase: str, names: list[str], folds: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the fits told beside their models, by model and fold."""
    folder = workspace.models(phase).root / "base_models"
    return {name: [read_json(folder / name / f"fold_{fold}.json")["info"] for fold in range(folds)] for name in names}


def _noted(workspace: Workspace) -> list[str]:
    """Return what an earlier stage has noted for the user."""
    store = workspace.models(FINAL)
    return list(store.load(WARNINGS)) if store.has(WARNINGS) else []


def _said_of_columns(workspace: Workspace, contract: FeatureContract) -> list[str]:
    """Warn of columns that are not read because their levels come and go; return the sentences."""
    encoder = Encoder.from_dict(workspace.models(FINAL).load("encoder"))
    said = [
        f"{contract.names[i]} is not read: its levels come and go, {share:.0%} of the latest quarter of the training"
        " rows hold levels that earlier rows lack (encoding.max_passing); give what lasts of it, such as a kind"
        for i, share in encoder.passing.items()
    ]
    for sentence in said:
        warn("base-models", sentence)
    return said


def _said_of_members(config: Config, facts: dict[str, Any]) -> list[str]:
    """Warn of members that learned nothing; return the sentences."""
    most = {name: getattr(model, "num_iterations", 0) for name, model in config.base_models.models.items()}
    said = weak_members(facts["phases"][FINAL]["fits"], most)
    for sentence in said:
        warn("base-models", sentence)
    return said


def _chosen(workspace: Workspace, config: Config, samples: DataFrame) -> Holdout:
    task = task_of(config, workspace.models(FINAL))
    above = task.rare_above(samples.where(F.col(LABEL).isNotNull()))
    return choose_holdout(samples, config.evaluation, config.seed, above, both=task.binary)


def _final_part() -> Column:
    labelled = F.when(F.col(LABEL).isNull(), F.lit("unlabelled")).otherwise(F.lit(TRAIN))
    return F.when(F.col("source") == TEST, F.lit(TEST)).otherwise(labelled)


def _prepare_all(
    workspace: Workspace, config: Config, contract: FeatureContract, samples: DataFrame, measured: Holdout,
    parts: dict[str, Column],
) -> None:  # fmt: skip
    """Deal the owners of all phases at once, then prepare the phases side by side.

    Args:
        workspace: what is written to.
        config: of the run.
        contract: of the features.
        samples: all rows.
        measured: how the test rows were chosen.
        parts: by phase, the part of each row.
    """
    keys = measured.with_buckets(samples.select(OWNER, SNAPSHOT, LABEL, "source", ROW_HASH))
    above = {
        phase: task_of(config, workspace.models(phase)).rare_above(keys.where(part == TRAIN))
        for phase, part in parts.items()
    }
    # The join is kept too: each of its parts would be computed once for every query of every phase.
    with kept(_dealt(keys, parts, above, config)) as owners, kept_unless_wide(_joined(samples, owners)) as rows:
        work = {
            phase: partial(
                _prepare_once, workspace, config, contract, phase, _marked(rows, phase, part),
                owners.where(F.col(_name("rare", phase))), above[phase],
            )
            for phase, part in parts.items()
        }  # fmt: skip
        together(work)


def _joined(samples: DataFrame, owners: DataFrame) -> DataFrame:
    return samples.join(owners, OWNER, "left")


def _name(what: str, phase: str) -> str:
    """Return the name of a phase's own column of the owners."""
    return f"{what}_{phase}"


def _dealt(samples: DataFrame, parts: dict[str, Column], above: dict[str, float], config: Config) -> DataFrame:
    """Return one row an owner: bucket and, by phase, whether it is ``rare``, its fold and block if it is trained on."""
    flags = [F.max(BUCKET).alias(BUCKET)]
    for phase, part in parts.items():
        train = part == TRAIN
        rare = F.coalesce(F.max(train & (F.col(LABEL) > above[phase])), F.lit(False))
        flags += [F.max(train).alias(_name("among", phase)), rare.alias(_name("rare", phase))]
    owners = samples.groupBy(OWNER).agg(*flags)
    dealt = [
        column
        for phase in parts
        for column in deal(
            _name("rare", phase), config.base_models.folds, config.seed, (_name(FOLD, phase), _name(BLOCK, phase)),
            among=_name("among", phase),
        )
    ]  # fmt: skip
    return owners.select(OWNER, BUCKET, *[_name("rare", phase) for phase in parts], *dealt)


def _marked(rows: DataFrame, phase: str, part: Column) -> DataFrame:
    """Return the rows of a phase with part, fold (-1: no model is trained on the row) and block."""
    train, fold, block = F.col(PART) == TRAIN, F.col(_name(FOLD, phase)), F.col(_name(BLOCK, phase))
    marked = rows.withColumn(PART, part).where(F.col(PART) != DROPPED)
    return marked.withColumns({FOLD: F.when(train, fold).otherwise(F.lit(-1)), BLOCK: F.coalesce(block, F.lit(0))})


def _prepare_once(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, rows: DataFrame, rare: DataFrame,
    above: float,
) -> None:  # fmt: skip
    settings = config.model_dump(
        mode="json",
        include={
            "encoding": True, "evaluation": {"test_from", "test_share", "embargo_days"}, "seed": True, "task": True,
            "regression": True, "base_models": {"max_rows"}, "student": {"max_spare"},
            "spark": {"task_memory"},
        },
    )  # fmt: skip
    unit = workspace.unit(
        f"base-models/{phase}/encoded", [settings, config.base_models.folds, contract.to_dict()], phase=phase,
        writes=["encoded"],
        files=["encoder.json", "training.json", "distribution.json", *task_of(config, workspace.models(phase)).files],
    )  # fmt: skip
    unit = replace(unit, reads=("samples",))
    workspace.ledger.once(unit, lambda: _prepare(workspace, config, contract, phase, rows, rare, above))


def _load_phase(workspace: Workspace, phase: str) -> _Phase:
    store = workspace.models(phase)
    about = store.load("training")
    encoder, shares = Encoder.from_dict(store.load("encoder")), Shares(**about["shares"])
    return _Phase(phase, encoder, about["prior"], about["rows"], about["used"], about["positives_used"], shares)


def _prepare(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, marked: DataFrame, rare: DataFrame,
    above: float,
) -> None:  # fmt: skip
    """Fit the encoder on the training rows, and store as numbers every row that is learned from or measured.

    ``rare`` are the owners with a rare label, one above ``above``.
    """
    folds, task = config.base_models.folds, task_of(config, workspace.models(phase))
    train = marked.where(F.col(PART) == TRAIN)
    sums = train.agg(
        F.count("*"), F.sum(F.col(WEIGHT) * F.col(LABEL)), F.sum(WEIGHT), F.max(SNAPSHOT).alias("until"),
        F.count_if(F.col(LABEL) > above).alias("rare"),
        F.percentile_approx(F.unix_date(F.col(SNAPSHOT).cast("date")), 1 - _LATEST).alias("early"),
    ).collect()[0]  # fmt: skip
    rare_owners = rare.count()
    require_positives(rare_owners, folds, "samples", task.rare_owners)
    task.measure_labels(train)
    learned = train.withColumn(LABEL, task.target())
    late = None if sums["early"] is None else F.unix_date(F.col(SNAPSHOT).cast("date")) > sums["early"]
    encoder = fit_encoder(learned, contract, config.encoding, folds=folds, binary=task.binary, late=late)
    inputs = (*CARRIED, BLOCK, *contract.columns)
    task.choose_weights(encode(train.select(*inputs), encoder), encoder.layout, int(sums[0]))
    store = workspace.models(phase)
    store.save("encoder", encoder.to_dict())
    unlabelled = marked.where(F.col(PART) == UNLABELLED).count()
    limit = learned_rows(config, encoder.layout.width)
    shares = Shares.of(
        limit, rare=sums["rare"], others=sums[0] - sums["rare"], unlabelled=unlabelled,
        spare=_spare(config, encoder.layout.width, limit),
    )  # fmt: skip
    chosen = _chosen_rows(marked, shares, above, F.col(_name("rare", phase)), config.seed)
    stored = encode(chosen.withColumn(WEIGHT, task.weight()).select(*inputs), encoder)
    writes: dict[str, Callable[[], None]] = {"encoded": lambda: workspace.write(phase, "encoded", stored)}
    if phase == FINAL:
        until = str(sums["until"]) if isinstance(sums["until"], date) else None
        writes["distribution"] = lambda: store.save("distribution", describe(train, encoder, until).to_dict())
    together(writes)
    taken = workspace.read(phase, "encoded").where(F.col(PART) == TRAIN)
    used, positives = taken.agg(F.count("*"), F.count_if(F.col(LABEL) > 0)).collect()[0]
    store.save("training", {
        "rows": int(sums[0]), "prior": float(sums[1] / sums[2]), "used": int(used), "positives_used": int(positives),
        "shares": shares.to_dict(),
    })  # fmt: skip
    log(
        "base-models",
        f"{phase}: {sums[0]} training rows{_said_of_sample(shares, used)}, {rare_owners} {task.rare_owners},"
        f" {encoder.layout.width} inputs",
    )


def _chosen_rows(marked: DataFrame, shares: Shares, above: float, rare_owner: Column, seed: int) -> DataFrame:
    """Return the rows that are learned from, whose weights stand for all, the spare ones, and all test rows.

    No model has seen a row of a spare one's owner, so that those of all folds together say what it is worth.
    """
    if shares.every:
        return marked
    others = marked.where(F.col(PART) != TEST)
    unknown = {PART: F.lit(SPARE), LABEL: F.lit(None).cast(marked.schema[LABEL].dataType), FOLD: F.lit(-1)}
    left = spare(shares, others, rare_owner, seed + 1).withColumns(unknown)
    learned = draw(shares, others, F.col(LABEL) > above, seed + 1)
    return learned.unionByName(left).unionByName(marked.where(F.col(PART) == TEST))


def _spare(config: Config, width: int, learned: int | None) -> int:
    """Return how many rows beyond those that base models learn from the student may ask its teacher about."""
    if learned is None or config.meta_features.peers or config.student.kind == "ensemble":
        return 0
    return min(config.student.max_spare, other_rows(config, width, learned) // 2)


def _said_of_sample(shares: Shares, used: int) -> str:
    if shares.every:
        return ""
    rare = "all rare ones" if shares.rare == 1 else f"{shares.rare:.1%} of the rare ones"
    return f" ({used} are learned from: {rare}, {shares.others:.1%} of the others)"


def _fit_all(
    workspace: Workspace, config: Config, phase: _Phase, among: Sequence[str] | None, deadline: float | None
) -> tuple[list[str], dict[str, str]]:
    """Fit every enabled model for every fold, as many side by side as there are slots.

    Return the models that worked, and by name why the others did not.

    Args:
        workspace: where they are kept.
        config: of the run.
        phase: whose rows they are fitted on.
        among: the models in question; None: all.
        deadline: see :class:`FoldFits`.
    """
    settings = config.base_models
    task = task_of(config, workspace.models(phase.name))
    models = {name: one for name, one in task.members(settings.models).items() if among is None or name in among}
    available = slots(workspace.tables.spark)
    rows = workspace.read(phase.name, "encoded").where(F.col(PART) == TRAIN)
    workers = workers_of(config, phase.used, phase.encoder.layout.width, available)
    _require_barrier(workspace.tables.spark, workers)
    if workers > available:
        raise InputError(
            f"base_models.workers: found {workers}, but only {available} tasks can run at once; lower it, or give the "
            "job more cores"
        )
    parallel = settings.parallel or max(1, available // workers)
    rows, prior = rows.withColumn(TARGET, task.target()), phase.prior
    if task.binary:  # a log-loss wants no weights that stand for others: its prior is corrected, and it errs less
        rows, prior = rows.withColumn(WEIGHT, as_drawn(phase.shares, F.col(LABEL) > 0)), phase.shares.prior(prior)
    plan = FoldFits(
        phase.encoder.layout, settings.folds, TARGET, task.loss, prior, phase.used, settings.validation_share, workers,
        config.seed * 1000, task.amounts(), seconds=config.spark.unit_seconds, positives=phase.positives,
        deadline=deadline,
    )  # fmt: skip
    # Long fits first, so that the short ones fill the gaps at the end; under a deadline, as many as can be done.
    efforts = {name: family_of(model).effort(model) for name, model in models.items()}
    order = sorted(models, key=efforts.__getitem__, reverse=deadline is None)
    fits = StoredFits(workspace, phase.name, "base-models", ("encoded",))
    with kept(rows) as held:
        failures = fits.fit(held, {name: models[name] for name in order}, plan, parallel=parallel)
    return _survivors(list(models), failures, settings.on_failure), failures


def _survivors(names: list[str], failures: dict[str, str], on_failure: str) -> list[str]:
    if on_failure == "stop" and any(reason != LATE for reason in failures.values()):
        raise FitError(f"base_models.on_failure is stop, and these failed: {failures}")
    for name, reason in failures.items():
        warn("base-models", f"{name} is dropped from the ensemble: {reason}")
    left = [name for name in names if name not in failures]
    if len(left) < 2:
        raise FitError(f"only {len(left)} base models left, expected at least 2; failed: {failures}")
    return left


def _require_barrier(spark: SparkSession, workers: int) -> None:
    """Refuse fits over several tasks where Spark has no barrier stages."""
    if workers > 1 and dynamic_allocation(spark):
        raise InputError(
            f"base_models.workers: a fit takes {workers} tasks at once, which Spark does not do under dynamic"
            " allocation; --conf spark.dynamicAllocation.enabled=false, or --set base_models.workers=1"
        )


def _predict_once(workspace: Workspace, config: Config, phase: _Phase, names: list[str]) -> None:
    models = checksums(workspace.models(phase.name).root, [f"base_models/{name}/*" for name in names])
    unit = workspace.unit(
        f"base-models/{phase.name}/predictions", [names, models], phase=phase.name,
        reads=["encoded"], writes=["oof_predictions"], files=["alignment.json"],
    )  # fmt: skip
    workspace.ledger.once(unit, lambda: _predict(workspace, config, phase, names))


def _predict(workspace: Workspace, config: Config, phase: _Phase, names: list[str]) -> None:
    """Score all rows by all models in one native pass, then make the models' scores comparable.

    Undoing the sampling shifts the log-odds (:attr:`Shares.shift`). A focal model's margins are not log-odds; what the
    shift leaves of them the alignment brings to the prior.
    """
    store = workspace.models(phase.name)
    task = task_of(config, store)
    fits = StoredFits(workspace, phase.name, "base-models", ("encoded",))
    models: dict[str, Sequence[Fitted]] = {**fits.load(names, phase.encoder.folds)}
    encoded = workspace.read(phase.name, "encoded")
    margins = score_by_fold(encoded.select(*CARRIED, "x", "te"), models, phase.encoder.layout)
    if task.binary:
        margins = margins.withColumns({name: F.col(name) + F.lit(phase.shares.shift) for name in names})
    with kept(margins, on_disk=True) as held:
        workspace.write(phase.name, "oof_predictions", task.predictions(held, names))
