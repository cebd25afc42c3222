"""Command-line options that the verbs share, and how they become a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from remedi_spark.config import Config

ConfigPath = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file, laid over the packaged defaults.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any value, e.g. base_models.folds=3. Repeatable."),
]
Root = Annotated[str | None, typer.Option(help="Folder, or catalog.schema, of the run's tables.")]


def load(config: Path | None, overrides: list[str] | None, **fixed: Any) -> Config:
    """Return the packaged defaults under the file, the overrides and the options that were given."""
    from remedi_spark.config import load_config

    return load_config(config, overrides or (), **fixed)
