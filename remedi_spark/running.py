"""How stages are run: within what they declare, timed, and not again when they are done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from remedi_spark.config import Config
from remedi_spark.features.expressions import word
from remedi_spark.progress import log, side_work, timed
from remedi_spark.stage import Stage, files, tables
from remedi_spark.storage.ledger import LEDGER, Unit
from remedi_spark.storage.scope import Scope
from remedi_spark.storage.upstream import making
from remedi_spark.storage.workspace import FINAL, Workspace

DURATIONS = "durations"
"""File: seconds of each stage."""


def run_stages(stages: Sequence[Stage], chain: Sequence[Stage], workspace: Workspace, config: Config) -> None:
    """Run some stages of a chain in order, each unless it is done."""
    order = verb_settings(chain)
    for verb, group in itertools.groupby(stages, lambda stage: stage.verb):
        with making(workspace, config, verb, order) if verb in order else nullcontext():
            for stage in group:
                with _timed(workspace, stage) if stage.timed else nullcontext():
                    _run(stage, workspace, config, phased_tables(chain))


def explain(stages: Sequence[Stage], workspace: Workspace, question: str, root: str) -> None:
    """Say, where nothing has run yet, what is about to happen and where its results will be."""
    if workspace.tables.exists(LEDGER):
        return
    log("first run", f"who comes first? {question}")
    for stage in stages:
        log("first run", f"{stage.name}: {stage.does}")
    where = f"tables below {root}, model and report.html below {workspace.at('')}"
    log("first run", f"{where}; killed at any moment, the same command goes on")


def phased_tables(chain: Sequence[Stage]) -> tuple[str, ...]:
    """Return the tables that are there once for each phase."""
    return tuple(name for stage in chain if stage.each_phase for name in tables(stage.writes))


def verb_settings(chain: Sequence[Stage]) -> Mapping[str, tuple[str, ...]]:
    """Return by verb, in order, the settings that what it makes of the bundle depends on."""
    return {
        verb: tuple(dict.fromkeys(path for one in chain if one.verb == verb for path in one.settings))
        for verb in dict.fromkeys(stage.verb for stage in chain if stage.unseals)
    }


def _run(stage: Stage, workspace: Workspace, config: Config, phased: Sequence[str]) -> None:
    seen = config.seen_through((*stage.settings, *stage.sees, "spark"))
    reads, writes = (_of_sources(names, config) for names in ((*stage.reads, *stage.looks_at), stage.writes))
    within = workspace.within(Scope(stage.name, reads, writes))

    def work() -> None:
        if stage.unseals:
            workspace.unseal()
        stage.run(within, seen)

    if stage.resumes:
        work()
    else:
        workspace.ledger.once(unit_of(stage, workspace, config, phased), work)


def _of_sources(names: Sequence[str], config: Config) -> tuple[str, ...]:
    """Put the names of the declared sources and attributes in the place of ``{source}``."""
    given = config.features
    sources = [word(name) for name in (*given.sources, *given.attributes)] if given is not None else []
    named = [[name.format(source=each) for each in sources] if "{source}" in name else [name] for name in names]
    return tuple(itertools.chain.from_iterable(named))


@contextmanager
def _timed(workspace: Workspace, stage: Stage) -> Iterator[None]:
    """Time a stage and keep its seconds beside the model: the stages may run in processes of their own."""
    durations = durations_of(workspace)
    before, done = dict(durations), workspace.ledger.recorded
    try:
        with timed(stage.name, durations):
            yield
    except BaseException:
        # Never instead of the error.
        with side_work(stage.name, "noting what is done", "it is done again the next time"):
            workspace.ledger.flush()
        raise
    workspace.ledger.flush()
    if workspace.ledger.recorded == done:  # skipped: keep how long it took
        durations = durations | before
    workspace.models(FINAL).save(DURATIONS, durations)


def durations_of(workspace: Workspace) -> dict[str, float]:
    """Return the seconds of each stage so far, by name."""
    store = workspace.models(FINAL)
    return dict(store.load(DURATIONS)) if store.has(DURATIONS) else {}


def unit_of(stage: Stage, workspace: Workspace, config: Config, phased: Sequence[str]) -> Unit:
    """Return the unit of the ledger; ``phased`` names the tables that are there once a phase."""

    def named(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(one for table in names for one in workspace.names(table, each_phase=table in phased))

    folders = [workspace.folder(phase) for phase in workspace.phases()] if stage.each_phase else [""]
    return Unit(
        stage.name, [config.values_of(stage.settings), stage.about], named(tables(stage.reads)),
        named(tables(stage.writes)), tuple(folder + file for folder in folders for file in files(stage.writes)),
    )  # fmt: skip
