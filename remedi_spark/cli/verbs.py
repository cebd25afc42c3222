"""The ``remedi`` command: one verb a task, one Python function behind every verb.

Exit codes: 0 done; 2 the input or the configuration is wrong (one line says what to fix); 1 anything else.
"""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from remedi_spark.cli.adapt import app as adapt_app
from remedi_spark.cli.building import features, verify
from remedi_spark.cli.export import export
from remedi_spark.cli.guide import guide
from remedi_spark.cli.interrupts import Interrupted, end_on_signals
from remedi_spark.cli.judging import backtest, promote, report
from remedi_spark.cli.options import (
    ConfigPath,
    Force,
    Json,
    ModelDir,
    Overrides,
    PresetName,
    Root,
    Table,
    load,
    print_json,
    written,
)
from remedi_spark.cli.printing import print_metrics, print_scores
from remedi_spark.cli.tools import config, doctor, simulate
from remedi_spark.errors import InputError, damaged_log, unknown_file_system, unreadable
from remedi_spark.flow import verb_help
from remedi_spark.redaction import redact
from remedi_spark.version import __version__

if TYPE_CHECKING:
    from remedi_spark.storage.home import Home

FITS_SHARE = 0.6
"""Share of a training's time that goes to the fits of base models, about; the rest is for all that they are for."""


class LogFormat(StrEnum):
    """How progress is written."""

    TEXT = "text"
    JSON = "json"


app = typer.Typer(
    name="remedi",
    help="Rank owners by how likely they are to buy: a stacked ensemble on Spark, distilled to one student.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

app.add_typer(adapt_app, name="adapt")


@app.callback(invoke_without_command=True)
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Of the progress on stderr; default: $REMEDI_LOG_FORMAT or text."),
    ] = None,
    spans_file: Annotated[
        Path | None,
        typer.Option("--spans", metavar="FILE", help="Append a JSON line for every stage and unit; or $REMEDI_SPANS."),
    ] = None,
) -> None:
    if spans_file is not None:
        from remedi_spark import spans

        spans.write_to(spans_file)
    if log_format is not None:
        from remedi_spark.progress import log_to_stderr

        log_to_stderr(style=log_format.value)
    if version:
        typer.echo(f"remedi {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: ConfigPath = None, preset: PresetName = None, overrides: Overrides = None, root: Root = None,
    force: Force = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Run the whole chain, from events to scores and report.

    Example: remedi run --config conf/complete_journey.yaml --set base_models.folds=3
    """
    from remedi_spark import chain, nights, opening
    from remedi_spark.scoring.open_model import load_model
    from remedi_spark.storage.home import home_at

    settings = load(config, overrides, preset=preset, root=root)
    metrics = chain.run(settings, force=force)
    workspace = opening.open_workspace(settings)
    if as_json:
        scored_by = load_model(settings.scores.model or workspace.home).model_version
        places = {
            "scores": workspace.tables.location("scores"),
            **written(workspace.place or home_at(workspace.home, "bundle")),
        }
        print_json({**nights.summary(workspace.tables, settings, scored_by), **places, **metrics})
    else:
        print_metrics(metrics)
        typer.echo(f"\nscores  {workspace.tables.location('scores')}")
        typer.echo(f"report  {workspace.at('report.html')}\n")
        print_scores(workspace)
    _exit(nights.exit_code(settings))


def _exit(code: int) -> None:
    """End with an exit code of its own where the run has raised an alert."""
    if code:
        raise typer.Exit(code)


def _stage(name: str) -> None:
    """Make a verb of stages that have no options of their own."""

    def command(
        config: ConfigPath = None, preset: PresetName = None, overrides: Overrides = None, root: Root = None,
        force: Force = False,
    ) -> None:  # fmt: skip
        from remedi_spark import chain

        chain.run_verb(name, load(config, overrides, preset=preset, root=root), force=force)

    command.__doc__ = f"{verb_help(name)}\n\nExample: remedi {name} --config conf/complete_journey.yaml"
    app.command(name)(command)


app.command()(features)
app.command()(verify)
for _verb in ("base-models", "fuser", "student"):
    _stage(_verb)


@app.command()
def scores(
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    force: Force = False,
    snapshot: Annotated[
        str | None, typer.Option(metavar="DAY[..DAY]", help="Score these snapshots instead of the latest.")
    ] = None,
) -> None:
    """Score the latest snapshot. With --snapshot, others (backfill).

    Example: remedi scores --config conf/complete_journey.yaml --snapshot 2017-11-01..2017-12-31
    """
    from remedi_spark import chain, nights

    settings = load(config, overrides, preset=preset, root=root)
    if snapshot is None:
        chain.run_verb("scores", settings, force=force)
        _exit(nights.exit_code(settings))
    else:
        chain.backfill(settings, snapshot)


app.command()(report)
app.command()(backtest)


@app.command()
def train(
    table: Table,
    label: Annotated[str, typer.Option(help="Column with 0, 1 or null (unlabelled); for a regression, with amounts.")],
    id_: Annotated[str, typer.Option("--id", help="Column that identifies the owner.")],
    model: ModelDir,
    time: Annotated[str | None, typer.Option(help="Snapshot column: later snapshots validate.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column with row weights >= 0.")] = None,
    test: Annotated[str | None, typer.Option(help="Table of your own to measure on.")] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="What it may take, about: base models that do not fit in are left out."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="classification (default) or regression.")] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train on a ready feature table. Every column but id, time, label and weight is a feature.

    Example: remedi train --table owners.parquet --label bought --id owner_id --model model
    """
    from remedi_spark import chain
    from remedi_spark.samples.flat import FlatTable
    from remedi_spark.spark.session import get_session
    from remedi_spark.storage.home import home_at

    fits = None if time_limit is None else {"time_limit": time_limit * FITS_SHARE}
    settings = load(config, overrides, preset=preset, task=task, base_models=fits)
    home = home_at(model, "--model")
    _refuse_foreign_bundle(home)
    source = FlatTable(table, label, id_, time, weight, test)
    metrics = chain.train(get_session(settings.spark), source, home, settings, force=force)
    if as_json:
        print_json({**written(home), **metrics})
        return
    print_metrics(metrics)
    typer.echo(f"\nmodel   {home.address}\nreport  {home.at('report.html')}")


@app.command()
def score(
    table: Table,
    model: Annotated[str, typer.Option(help="Folder or address of the bundle, or models:/NAME@champion.")],
    out: Annotated[str, typer.Option(help="Delta folder, .parquet, .csv, or schema.table to write.")],
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Owners to mark; default: budget x rows.")] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
) -> None:
    """Score a table with a trained bundle.

    Example: remedi score --table owners.parquet --model model --out scores --top-k 1000
    """
    from remedi_spark.scoring import stage as scores
    from remedi_spark.spark.session import get_session

    settings = load(config, overrides, preset=preset)
    scores.score(get_session(settings.spark, fits=False), table, model, out, settings, top_k)
    typer.echo(out)


for verb in (guide, export, promote, simulate, doctor, config):
    app.command()(verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; this is the entry point of ``remedi`` and of the scripts in ``jobs/``."""
    from remedi_spark import spans
    from remedi_spark.progress import begin_run, log_at_end, log_failure, log_to_stderr

    given = sys.argv[1:] if arguments is None else arguments
    begin_run()
    log_to_stderr()
    if arguments is None:  # the process is this command's
        end_on_signals()
    try:
        app(args=arguments, prog_name="remedi")
    except Interrupted:
        print("remedi: interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        raise
    except SystemExit as stop:  # how every command ends
        if not stop.code:
            log_at_end()
        spans.end(failed=bool(stop.code))
        raise
    except InputError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        print("remedi: interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        sys.exit(130)
    except Exception as error:
        message = _input_error_behind(error)
        if message is not None:
            _refuse(message)
        log_failure(error, shlex.join(["remedi", *given]))
        spans.end(failed=True)
        sys.exit(1)


def _refuse(message: str) -> NoReturn:
    from remedi_spark import spans
    from remedi_spark.progress import LOGGER, in_json

    spans.end(failed=True)
    if in_json():
        LOGGER.error(message)
    else:
        print(f"remedi: error: {redact(message)}", file=sys.stderr, flush=True)
    sys.exit(2)


def _input_error_behind(error: BaseException) -> str | None:
    """Return the message of an :class:`InputError` that a Spark task raised, or of a damaged table, or None."""
    mark = "remedi_spark.errors.InputError: "
    for line in str(error).splitlines():
        if mark in line:
            return line.split(mark, 1)[1]
    return damaged_log(error) or unknown_file_system(error) or unreadable(error)


def _refuse_foreign_bundle(home: Home) -> None:
    """Refuse a ``--model`` that exists and is something else than a bundle or a begun one."""
    begun = {"manifest.json", "contract.json", "tables", "work", ".remedi-lease.json"}
    names = home.names()
    if home.folder.is_file() or (names and not names & begun):
        raise InputError(
            f"--model {home.address}: exists and is not a model bundle; expected a new folder or a former bundle"
        )


if __name__ == "__main__":
    main()
