"""``remedi adapt``: tasks, meta-train, fit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from remedi_spark.cli.options import ConfigPath, Overrides, PresetName, Root, load
from remedi_spark.errors import InputError

app = typer.Typer(
    help="A model for a new segment from few buyers (meta-learning).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Option("--id", help="Column that identifies the owner.")]
Label = Annotated[str, typer.Option(help="Column with 0, 1 or null (unlabelled).")]
Time = Annotated[str | None, typer.Option(help="Snapshot column: support rows lie before query rows.")]


@app.command()
def tasks(config: ConfigPath = None, preset: PresetName = None, overrides: Overrides = None, root: Root = None) -> None:
    """Build the rows of all segments from events: table segment_rows.

    Example: remedi adapt tasks --config conf/adapt_complete_journey.yaml
    """
    from remedi_spark.segments.build import build_segment_rows

    settings = load(config, overrides, preset=preset, root=root)
    typer.echo(build_segment_rows(_tables(settings), settings))


@app.command("meta-train")
def meta_train(
    model: Annotated[str, typer.Option("--model", metavar="DIR", help="Folder of the meta model to write.")],
    table: Annotated[str | None, typer.Option(help="Rows of many segments; default: what adapt tasks wrote.")] = None,
    label: Label = "label",
    id_: Id = "owner_id",
    time: Time = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
) -> None:
    """Learn from segments with data how to adapt to one with little.

    Example: remedi adapt meta-train --config conf/adapt_complete_journey.yaml --model meta
    """
    from remedi_spark.columns import SNAPSHOT
    from remedi_spark.samples.flat import FlatTable
    from remedi_spark.segments.build import SEGMENT_ROWS
    from remedi_spark.segments.history import SEGMENT
    from remedi_spark.segments.meta_training import meta_train as run
    from remedi_spark.storage.home import open_home

    settings, home = load(config, overrides, preset=preset, root=root), open_home(model, "--model")
    adapt = settings.adapt
    tables = _tables(settings)
    if table is None:
        if adapt.history is None:
            raise InputError("--table: not given, and the configuration has no adapt.history to build rows from")
        table, time = tables.location(SEGMENT_ROWS), time or SNAPSHOT
        adapt = adapt.model_copy(update={"segment": [SEGMENT]})
    source = FlatTable(table, label, id_, time)
    trained = run(tables.spark, source, adapt, settings.encoding, settings.seed)
    trained.bundle.save(home.folder)
    home.send()
    _print_evidence(trained.bundle.meta)
    typer.echo(f"\nmeta model  {model}")


@app.command()
def fit(
    model: Annotated[str, typer.Option("--model", metavar="DIR", help="Folder of the meta model.")],
    table: Annotated[str, typer.Option(help="The support: labelled owners of the segment, or of several.")],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder of the student's bundle (with --segments: of all of them).")
    ],
    segment: Annotated[str | None, typer.Option(help="Name of the one segment that the table is about.")] = None,
    segments: Annotated[str | None, typer.Option(help="Column that names the segment: fit all of them.")] = None,
    label: Label = "label",
    id_: Id = "owner_id",
    time: Time = None,
    base_rate: Annotated[
        float | None, typer.Option(help="Share of buyers in the segment; default: in the table.")
    ] = None,
    owners: Annotated[
        int | None, typer.Option(min=1, help="Owners of the segment; default: rows of the table.")
    ] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
) -> None:
    """Adapt to a segment in seconds: a bundle that remedi score takes, which arm to trust, what lift to expect.

    Example: remedi adapt fit --model meta --segment SUSHI --table buyers.parquet --out sushi
    """
    from remedi_spark.samples.flat import FlatTable
    from remedi_spark.segments.fitting import fit_many, fit_segment, folder_name
    from remedi_spark.spark.session import get_session
    from remedi_spark.storage.home import open_home

    if (segment is None) == (segments is None):
        raise InputError("expected exactly one of --segment (a name) and --segments (a column)")
    settings = load(config, overrides, preset=preset)
    spark, source = get_session(settings.spark), FlatTable(table, label, id_, time)
    how, meta, home = settings.adapt.fit, open_home(model, "--model"), open_home(out, "--out")
    if segment is not None:
        with meta.named():
            fitted = fit_segment(
                spark, meta.folder, source, segment, home.folder, how,
                base_rate=base_rate, owners=owners, seed=settings.seed,
            )  # fmt: skip
        home.send()
        _print_fit(fitted.facts)
        typer.echo(f"\nstudent  {out}   (remedi score --model {out} --table … --out …)")
        return
    if base_rate is not None or owners is not None:
        raise InputError("--base-rate and --owners are of one segment; leave them out with --segments")
    with meta.named():
        found = fit_many(spark, meta.folder, source, str(segments), home.folder, how, seed=settings.seed)
    home.send()
    for name, facts in found.items():
        if "error" in facts:
            typer.echo(f"{name}: refused: {facts['error']}", err=True)
        else:
            lift = facts["expected_lift"]
            typer.echo(f"{name}: trust {facts['trust']}, lift {_interval(lift)}  {home.at(folder_name(name))}")
    if all("error" in facts for facts in found.values()):
        raise InputError(f"table {table}: none of its {len(found)} segments could be fitted")


@app.command()
def search(
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    table: Annotated[str | None, typer.Option(help="Rows of many segments; default: what adapt tasks wrote.")] = None,
    label: Label = "label",
    id_: Id = "owner_id",
    time: Time = None,
) -> None:
    """Search inner rate, steps and layers on the meta-validation segments; print the best as --set options.

    Example: remedi adapt search --config conf/adapt_complete_journey.yaml --set adapt.search.trials=20
    """
    from remedi_spark.columns import SNAPSHOT
    from remedi_spark.samples.flat import FlatTable
    from remedi_spark.segments.build import SEGMENT_ROWS
    from remedi_spark.segments.history import SEGMENT
    from remedi_spark.segments.meta_training import search_settings

    settings = load(config, overrides, preset=preset, root=root)
    adapt, tables = settings.adapt, _tables(settings)
    if not adapt.search.trials:
        raise InputError("adapt.search.trials: found 0, expected the number of trials, for example 20")
    if table is None:
        table, time = tables.location(SEGMENT_ROWS), time or SNAPSHOT
        adapt = adapt.model_copy(update={"segment": [SEGMENT]})
    best = search_settings(tables.spark, FlatTable(table, label, id_, time), adapt, settings.encoding, settings.seed)
    for key in ("inner_rate", "inner_steps", "layers"):
        typer.echo(f"--set adapt.meta.{key}={getattr(best.meta, key)}")


def _print_evidence(meta: dict[str, Any]) -> None:
    typer.echo(f"{'K':>4}{'arm':>14}{'AP':>10}{'less pooled':>14}   on the validation segments")
    for k, arms in meta["validation"].items():
        for name, one in arms.items():
            mark = "   default" if meta["default"][k] == name else ""
            figures = f"{one['ap']:>10.4f}{one['difference']:>+14.4f}   {one['segments']} segments"
            typer.echo(f"{k:>4}{name:>14}{figures}{mark}")
    typer.echo(f"{meta['diverged']} tasks diverged in meta-training")


def _print_fit(facts: dict[str, Any]) -> None:
    plan, lift = facts["ab_test"], facts["expected_lift"]
    typer.echo(
        f"segment {facts['segment']}: {facts['positives']} buyers among {facts['rows']} owners, base rate "
        f"{facts['base_rate']:.2%}\n\n{'arm':<12}{'AP':>10}{'less pooled':>14}{'± error':>10}{'expected':>10}"
    )
    for name, one in facts["arms"].items():
        typer.echo(
            f"{name:<12}{one['ap']:>10.4f}{one['difference']:>+14.4f}{one['error']:>10.4f}{one['expected']:>+10.4f}"
        )
    typer.echo(
        f"\ntrust     {facts['trust']}\nlift      {_interval(lift)} in the best {lift['budget']:.1%} of the owners\n"
        f"A/B test  {plan['per_group']} owners in each of two groups show a lift of {plan['lift']:g} (power 80 %, 5 % "
        f"two-sided);\n          a budget of {plan['budget_owners']} owners fills them in {plan['campaigns']} campaigns"
    )


def _interval(lift: dict[str, Any]) -> str:
    return f"{lift['lift']:.2f} ({lift['low']:.2f} to {lift['high']:.2f})"


def _tables(settings: Any) -> Any:
    from remedi_spark.spark.session import get_session
    from remedi_spark.storage.tables import Tables

    tables = Tables(get_session(settings.spark), settings.root)
    tables.offer_scratch()
    return tables
