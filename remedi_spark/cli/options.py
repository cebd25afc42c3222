"""What the verbs share: options, how they become a configuration, and results for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remedi_spark.storage.strict_json import finite

if TYPE_CHECKING:
    from remedi_spark.config import Config
    from remedi_spark.storage.home import Home

ConfigPath = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file, laid over the preset.")]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", metavar="quick|standard|best", help="How much work a training does; default: standard."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any value, e.g. base_models.folds=3. Repeatable."),
]
Root = Annotated[str | None, typer.Option(help="Folder, or catalog.schema, of the run's tables.")]

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Force = Annotated[bool, typer.Option("--force", help="Do again what an earlier run has done.")]
Table = Annotated[str, typer.Option(help="Delta folder, .parquet, .csv, or schema.table.")]
ModelDir = Annotated[str, typer.Option("--model", metavar="DIR", help="Folder or address of the model bundle.")]


def load(config: Path | None, overrides: list[str] | None, **fixed: Any) -> Config:
    """Return the packaged defaults under the file, the overrides and the options that were given."""
    from remedi_spark.config import load_config

    return load_config(config, overrides or (), **fixed)


def print_json(tree: Any) -> None:
    """Print a result on stdout as one JSON document."""
    typer.echo(json.dumps(finite(tree), ensure_ascii=False, indent=1, default=str, allow_nan=False))


def written(bundle: Home) -> dict[str, str]:
    """Return where a training has left its files, for JSON."""
    return {"model": bundle.address, "report": bundle.at("report.html")}
