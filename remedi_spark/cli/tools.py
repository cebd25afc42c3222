"""The verbs beside the chain: ``remedi simulate``, ``doctor`` and ``config``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from remedi_spark.cli.options import ConfigPath, Json, Overrides, PresetName, Root, load, print_json
from remedi_spark.errors import InputError
from remedi_spark.redaction import without_secrets_shown


def simulate(
    owners: Annotated[int, typer.Option(help="Number of owners.")],
    out: Annotated[str, typer.Option(help="Folder, or catalog.schema, of the world's tables.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.")] = 0,
    base_rate: Annotated[float, typer.Option(help="Mean probability of a purchase within 28 days.")] = 0.005,
    late_share: Annotated[float, typer.Option(help="Share of events that arrive 1 to 30 days late.")] = 0.0,
    dirty_share: Annotated[float, typer.Option(help="Bad rows, as a share of the good ones.")] = 0.0,
    days: Annotated[int, typer.Option(help="Length of the world in days.")] = 730,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Draw a synthetic world of vehicle owners. The true probability of every label is kept apart.

    Example: remedi simulate --owners 20000 --out run/world, then: remedi run --config conf/owners.yaml
    """
    from remedi_spark.simulation.world import World
    from remedi_spark.simulation.world import simulate as draw
    from remedi_spark.spark.session import get_session

    world = World(owners, seed, base_rate, late_share, dirty_share, days)
    drawn = draw(get_session(load(config, overrides, preset=preset).spark), world, out)
    if as_json:
        print_json(drawn)
        return
    for name, rows in drawn.items():
        typer.echo(f"{name:<16}{rows:>12}")


def doctor(
    table: Annotated[str | None, typer.Option(help="Also examine this table.")] = None,
    label: Annotated[str | None, typer.Option(help="Its label column.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Its owner column.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="DIR", help="Also say: ship, look, or retrain.")
    ] = None,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Check machine, settings and data. Each line names the setting that fixes it.

    Example: remedi doctor --table owners.parquet --label bought --id owner_id
    """
    from remedi_spark.doctor import examine
    from remedi_spark.opening import reopen
    from remedi_spark.spark.session import get_session
    from remedi_spark.storage.manifest import read_manifest

    settings = load(config, overrides, preset=preset, root=root)
    workspace = None if model is None else reopen(model)[0]
    used = None if workspace is None else (workspace.tables, read_manifest(workspace.home).model_version)
    findings = examine(get_session(settings.spark), settings, table=table, label=label, id_=id_, model=used)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(str(finding))
    failed = [finding for finding in findings if finding.state == "fail"]
    if failed:
        said = "; ".join(f"{one.what}: {one.found}" + (f" ({one.fix})" if one.fix else "") for one in failed)
        raise InputError(f"doctor: {said}")


def config(
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema instead.")] = False,
) -> None:
    """Print the resulting configuration, or its JSON schema.

    Example: remedi config --config conf/complete_journey.yaml --set base_models.folds=3
    """
    import json

    import yaml

    from remedi_spark.config import Config

    if schema:
        typer.echo(json.dumps(Config.model_json_schema(), indent=2))
        return
    settings = load(config, overrides, preset=preset)
    tree = without_secrets_shown(settings.model_dump(mode="json"))
    typer.echo(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
