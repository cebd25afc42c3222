"""``remedi features`` and ``remedi verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from remedi_spark.cli.options import ConfigPath, Force, Json, Overrides, PresetName, Root, load, print_json
from remedi_spark.errors import InputError


def features(
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    force: Force = False,
    suggest: Annotated[bool, typer.Option("--suggest", help="Print a first draft for a log of events.")] = False,
    events: Annotated[str | None, typer.Option(help="The log, for --suggest: a path or schema.table.")] = None,
    entity: Annotated[str | None, typer.Option(help="Its owner column; default: by its name.")] = None,
    time: Annotated[str | None, typer.Option(help="Its time column; default: by name and type.")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN=VALUE", help="The events to predict.")] = None,
) -> None:
    """Point-in-time owner features and labels, from events. With --suggest, a draft of the YAML.

    Example: remedi features --suggest --events log.parquet --entity customer_id --time at > conf/shop.yaml
    """
    settings = load(config, overrides, preset=preset, root=root)
    if suggest:
        from remedi_spark.features.suggest import suggest as draft
        from remedi_spark.spark.session import get_session

        if events is None:
            raise InputError("features --suggest: no --events; expected the log that the draft is for")
        typer.echo(draft(get_session(settings.spark), events, entity, time, label), nl=False)
        return
    if given := [name for name, of in {"events": events, "entity": entity, "time": time, "label": label}.items() if of]:
        raise InputError(f"features --{given[0]}: goes with --suggest only; a build reads the configuration")
    from remedi_spark import chain

    chain.run_verb("features", settings, force=force)


def verify(
    sample: Annotated[int, typer.Option(min=1, max=10_000, help="Owners, by the hash of their id.")] = 200,
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Compute features of sampled owners by hand, and compare.

    Exit code 2 when any value differs; the table verification says which.

    Example: remedi verify --config conf/complete_journey.yaml --sample 200
    """
    from dataclasses import asdict

    from remedi_spark import chain
    from remedi_spark.features.verify import refuse_differing

    verdicts = chain.verify(load(config, overrides, preset=preset, root=root), sample)
    if as_json:
        print_json([asdict(one) for one in verdicts])
    refuse_differing(verdicts)
    if not as_json:
        typer.echo(f"{len(verdicts)} columns, {sum(one.checked for one in verdicts)} values: all as by hand")
