"""The rows of each phase: dealt to folds by owner, drawn where they are too many, stored as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, FOLD, LABEL, OWNER, PART, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config import Config
from remedi_spark.ensemble.fit_size import learned_rows, other_rows
from remedi_spark.ensemble.phase_counts import PhaseCounts, count_phases
from remedi_spark.labels.kind import task_of
from remedi_spark.models.combinations import with_combinations
from remedi_spark.models.row_caps import Shares
from remedi_spark.models.row_draws import draw, spare
from remedi_spark.progress import log
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.folds import BLOCK, deal, require_positives
from remedi_spark.samples.holdout import BUCKET, DROPPED, SPARE, TEST, TRAIN, Holdout
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.samples.width import kept_unless_wide
from remedi_spark.scoring.monitoring.counting import describe
from remedi_spark.spark.kept import kept
from remedi_spark.spark.side_by_side import together
from remedi_spark.storage.ledger import Unit
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Phase:
    """What the fits of a phase need to know of its rows."""

    name: str
    encoder: Encoder
    prior: float
    rows: int
    used: int
    """Of the rows, those that are learned from."""
    positives: int
    """Among those."""
    shares: Shares


def load_phase(workspace: Workspace, phase: str) -> Phase:
    """Return what :func:`prepare_all` stored."""
    store = workspace.models(phase)
    about = store.load("training")
    encoder, shares = Encoder.from_dict(store.load("encoder")), Shares(**about["shares"])
    return Phase(phase, encoder, about["prior"], about["rows"], about["used"], about["positives_used"], shares)


def prepare_all(
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
    with (
        kept(_dealt(keys, parts, above, config)) as owners,
        kept_unless_wide(samples.join(owners, OWNER, "left")) as rows,
    ):
        ledger = workspace.ledger
        units = {phase: _unit(workspace, config, contract, phase) for phase in parts}
        new = [phase for phase, unit in units.items() if not ledger.is_done(unit, ledger.key(unit))]
        counts = count_phases(rows, parts, above, owners, {phase: _name("rare", phase) for phase in parts}, new)

        def prepare(phase: str) -> None:
            marked = _marked(rows, phase, parts[phase])
            ledger.once(
                units[phase],
                lambda: _prepare(workspace, config, contract, phase, marked, counts[phase], above[phase]),
            )

        together({phase: partial(prepare, phase) for phase in parts})


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


def _unit(workspace: Workspace, config: Config, contract: FeatureContract, phase: str) -> Unit:
    settings = config.model_dump(
        mode="json",
        include={
            "encoding": True, "evaluation": {"test_from", "test_share", "max_test_rows", "embargo_days"}, "seed": True,
            "task": True, "regression": True, "base_models": {"max_rows"}, "student": {"max_spare"},
            "spark": {"task_memory"},
        },
    )  # fmt: skip
    unit = workspace.unit(
        f"base-models/{phase}/encoded", [settings, config.base_models.folds, contract.to_dict()], phase=phase,
        writes=["encoded"],
        files=["encoder.json", "training.json", "distribution.json", *task_of(config, workspace.models(phase)).files],
    )  # fmt: skip
    return replace(unit, reads=("samples",))


def _prepare(
    workspace: Workspace, config: Config, contract: FeatureContract, phase: str, marked: DataFrame,
    counts: PhaseCounts, above: float,
) -> None:  # fmt: skip
    """Fit the encoder on the training rows, and store as numbers every row that is learned from or measured.

    Labels above ``above`` are rare ones.
    """
    folds, task = config.base_models.folds, task_of(config, workspace.models(phase))
    train = marked.where(F.col(PART) == TRAIN)
    require_positives(counts.rare_owners, folds, "samples", task.rare_owners)
    task.measure_labels(train)
    learned = train.withColumn(LABEL, task.target())
    late = None if counts.late_from is None else F.unix_date(F.col(SNAPSHOT).cast("date")) > counts.late_from
    encoder = fit_encoder(learned, contract, config.encoding, folds=folds, binary=task.binary, late=late)
    if task.binary and config.encoding.combine:
        encoder = _combined(learned, encoder, config, phase, rows=counts.rows, positives=counts.rare)
    inputs = (*CARRIED, BLOCK, *contract.columns)
    task.choose_weights(encode(train.select(*inputs), encoder), encoder.layout, counts.rows)
    store = workspace.models(phase)
    store.save("encoder", encoder.to_dict())
    limit = learned_rows(config, encoder.layout.width)
    shares = Shares.of(
        limit, rare=counts.rare, others=counts.rows - counts.rare, unlabelled=counts.unlabelled,
        spare=_spare(config, encoder.layout.width, limit),
    )  # fmt: skip
    chosen = _chosen_rows(marked, shares, above, F.col(_name("rare", phase)), config.seed)
    stored = encode(chosen.withColumn(WEIGHT, task.weight()).select(*inputs), encoder)
    writes: dict[str, Callable[[], None]] = {"encoded": lambda: workspace.write(phase, "encoded", stored)}
    if phase == FINAL:
        until = None if counts.until is None else str(counts.until)
        writes["distribution"] = lambda: store.save("distribution", describe(train, encoder, until).to_dict())
    together(writes)
    used, positives, taught = _stored(workspace, phase, counts, shares)
    store.save("training", {
        "rows": counts.rows, "prior": counts.prior, "used": used, "positives_used": positives, "taught": taught,
        "shares": shares.to_dict(),
    })  # fmt: skip
    log(
        "base-models",
        f"{phase}: {counts.rows} training rows{_said_of_sample(shares, used)}, {counts.rare_owners} {task.rare_owners},"
        f" {encoder.layout.width} inputs",
    )


def _stored(workspace: Workspace, phase: str, counts: PhaseCounts, shares: Shares) -> tuple[int, int, int]:
    """Return how many of the stored rows base models learn from, how many of these are positive, and the student's."""
    if shares.every:
        return counts.rows, counts.positives, counts.rows + counts.unlabelled
    train = F.col(PART) == TRAIN
    found = workspace.read(phase, "encoded").agg(
        F.count_if(train), F.count_if(train & (F.col(LABEL) > 0)), F.count_if(F.col(PART) != TEST)
    )
    used, positives, taught = found.collect()[0]
    return int(used), int(positives), int(taught)


def _combined(
    learned: DataFrame, encoder: Encoder, config: Config, phase: str, *, rows: int, positives: int
) -> Encoder:
    """Return the encoder with differences and ratios of numbers, unless a trial errs more with them."""
    found, tried = with_combinations(
        learned, encoder, config.encoding.combine, count=rows, positives=positives, seed=config.seed
    )
    if found.made:
        said = ", ".join(found.names_made)
        change = tried.after / tried.before - 1
        log("base-models", f"{phase}: also made of two numbers: {said}; a trial's log-loss changes by {change:+.1%}")
    return found


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
