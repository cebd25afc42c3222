"""``remedi report``, ``remedi backtest`` and ``remedi promote``: how good a model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from remedi_spark.cli.options import (
    ConfigPath,
    Force,
    Json,
    ModelDir,
    Overrides,
    PresetName,
    Root,
    load,
    print_json,
    written,
)
from remedi_spark.cli.printing import print_ablations, print_backtest
from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.home import Home
    from remedi_spark.storage.workspace import Workspace


def report(
    model: Annotated[
        str | None, typer.Option("--model", metavar="DIR", help="Rebuild report.html of this bundle; no Spark.")
    ] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also fit and measure the method without its parts.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Write history.html: all scored snapshots.")] = False,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Write what_if.html: what moves the scores of the best owners.")
    ] = False,
    table: Annotated[str | None, typer.Option(help="Owners for --what-if; default: the run's last snapshot.")] = None,
    top: Annotated[int, typer.Option(min=1, max=200, help="How many of them, the best ones.")] = 200,
    names: Annotated[bool, typer.Option("--names", help="Name the owners in what_if.html.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Measure on test rows, write report.html. With --model, rebuild it from what was stored.

    Example: remedi report --model run/complete_journey/model --ablations
    """
    from remedi_spark.report.stage import render_report
    from remedi_spark.storage.home import home_at, open_home
    from remedi_spark.storage.publish import published_folder
    from remedi_spark.storage.store import read_json

    if not what_if and (table is not None or names):
        raise InputError("--table and --names: found without --what-if, expected with it, whose owners they choose")
    if ablations + history + what_if > 1:
        raise InputError("--ablations, --history and --what-if: found more than one, expected one at a time")
    if model is None or ablations or history or what_if:
        from remedi_spark import chain, opening

        if model is None:
            settings = load(config, overrides, preset=preset, root=root).with_embargo()
            workspace, label = opening.open_workspace(settings), settings.label_name()
        else:
            workspace, settings, label = opening.reopen(model)
        if history:
            _history(workspace, settings, label, open_=open_, as_json=as_json)
            return
        if what_if:
            from remedi_spark.report import what_if as page
            from remedi_spark.scoring.open_model import load_model

            parts = load_model(model or settings.scores.model or workspace.home)
            home = workspace.place or home_at(workspace.home, "model")
            path = page.what_if(workspace, parts, label, table=table, top=top, names=names)
            home.send()
            _show({"what_if": home.at(path.name)}, home, path.name, open_=open_, as_json=as_json)
            return
        metrics = chain.report(workspace, settings, label, ablate=ablations)
        if not as_json:
            print_ablations(metrics)
        home = workspace.place or home_at(workspace.home, "model")
    else:
        home = open_home(model, "--model")
        with home.named():
            render_report(published_folder(home.folder))
            render_report(home.folder)
        home.send()
    tree = {**written(home), **read_json(home.folder / "metrics.json")} if as_json else {}
    _show(tree, home, "report.html", open_=open_, as_json=as_json)


def _history(workspace: Workspace, config: Config, label: str, *, open_: bool, as_json: bool) -> None:
    from remedi_spark.report.history import HISTORY, write_history
    from remedi_spark.storage.home import home_at

    home = workspace.place or home_at(workspace.home, "model")
    path = write_history(workspace.tables, home, config, label)
    tree = {"history": home.at(path.name), "table": workspace.tables.location(HISTORY)}
    _show(tree, home, path.name, open_=open_, as_json=as_json)


def _show(tree: dict[str, Any], home: Home, name: str, *, open_: bool, as_json: bool) -> None:
    """Print what was written, and open the page if asked to."""
    if as_json:
        print_json(tree)
    else:
        typer.echo(home.at(name))
    if open_:
        typer.launch(str(home.folder / name))


def backtest(
    origins: Annotated[int, typer.Option(min=2, help="How many origins, the latest possible ones.")] = 6,
    every: Annotated[
        int | None, typer.Option(min=1, metavar="DAYS", help="Least days between origins; default: the horizon.")
    ] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train and measure the chain at rolling origins. A rerun skips those that are finished.

    Example: remedi backtest --config conf/complete_journey.yaml --origins 6
    """
    from remedi_spark.backtest import backtest as roll

    tree = roll(load(config, overrides, preset=preset, root=root), origins, every_days=every, force=force)
    print_json(tree) if as_json else print_backtest(tree)


def promote(
    model: ModelDir,
    table: Annotated[str | None, typer.Option(help="Labelled table that neither model has learned from.")] = None,
    label: Annotated[str, typer.Option(help="Its label column.")] = "label",
    id_: Annotated[str, typer.Option("--id", help="Its owner column.")] = "owner_id",
    time: Annotated[str | None, typer.Option(help="Its snapshot column.")] = None,
    estimated: Annotated[
        bool, typer.Option("--estimated", help="Compare without labels: by what their lists should hold.")
    ] = False,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
) -> None:
    """Make a bundle the MLflow champion if it beats the last one. Without --table on its test rows.

    Example: remedi promote --model run/model --set mlflow.margin=0.01
    """
    from remedi_spark import promote as promoting
    from remedi_spark.samples.flat import FlatTable

    settings = load(config, overrides, preset=preset)
    source = FlatTable(table, label, id_, time) if table else None
    typer.echo(promoting.promote(model, settings, source, estimated=estimated)[1])
