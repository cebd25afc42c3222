"""``remedi export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from remedi_spark.cli.options import ConfigPath, Json, Overrides, load, print_json
from remedi_spark.errors import InputError

if TYPE_CHECKING:
    from remedi_spark.delivery.selection import Selection
    from remedi_spark.storage.table_contract import TableContract


def export(
    scores: Annotated[
        str | None, typer.Option(help="Table of scores: Delta folder, .parquet, or schema.table.")
    ] = None,
    guide: Annotated[str | None, typer.Option(help="Table of remedi guide, instead of scores: likewise.")] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or address for files and their manifest.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="parquet|csv", help="Of the files; default: parquet.")
    ] = None,
    jdbc: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://HOST:PORT/DATABASE, also with jdbc: before.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="TABLE or SCHEMA.TABLE in the database; default: scores, or guide.")
    ] = None,
    snapshot: Annotated[
        str, typer.Option(metavar="latest|all|DAY[..DAY]", help="Which snapshots to hand over.")
    ] = "latest",
    model: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or address of the model bundle, for --onnx.")
    ] = None,
    onnx: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the student as ONNX; needs no Spark.")
    ] = None,
    config: ConfigPath = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Hand over scores or lists (PostgreSQL, files), or ONNX.

    --scores or --guide names the table, --onnx writes the student of --model. Exactly one of --out, --jdbc and --onnx
    says where to. User and password of the database come from the environment: REMEDI_JDBC_USER and
    REMEDI_JDBC_PASSWORD.

    Example: remedi export --scores run/owners/scores --jdbc postgresql://warehouse:5432/crm --table public.scores
    """
    if sum(one is not None for one in (out, jdbc, onnx)) != 1:
        raise InputError("expected exactly one of --out (a folder of files), --jdbc (a database) and --onnx (a file)")
    if onnx is not None:
        told = _to_onnx(_required(model, "--model", "--onnx"), onnx)
    elif out is not None:
        source, contract = _source(scores, guide, "--out")
        told = _to_files(source, contract, out, _format(format_), snapshot, config, overrides)
    else:
        source, contract = _source(scores, guide, "--jdbc")
        told = _to_database(source, contract, cast(str, jdbc), table, snapshot, config, overrides)
    if as_json:
        print_json(told)
    else:
        typer.echo("\n".join(f"{name:<9}{value}" for name, value in told.items()))


def _to_onnx(model: str, path: Path) -> dict[str, Any]:
    try:
        from remedi_spark.delivery.onnx_model import export_onnx
    except ImportError as error:
        raise InputError(f"--onnx: {error.name} is not installed; pip install 'remedi_spark[onnx]'") from error
    from remedi_spark.scoring.bundle import load as load_bundle

    bundle = load_bundle(model)
    export_onnx(bundle, path)
    return {"onnx": str(path), "bytes": path.stat().st_size, "version": bundle.model_version}


def _source(scores: str | None, guide: str | None, because: str) -> tuple[str, TableContract]:
    """Return which table is handed over, and what it is to be."""
    from remedi_spark.guides import guide_schema
    from remedi_spark.scoring import scores_schema

    if (scores is None) == (guide is None):
        found = "neither" if scores is None else "both"
        raise InputError(f"{because} needs one of --scores and --guide, found {found}; name the table to hand over")
    return (scores, scores_schema.CONTRACT) if scores is not None else (cast(str, guide), guide_schema.CONTRACT)


def _to_files(
    source: str, contract: TableContract, out: str, kind: Literal["parquet", "csv"], snapshot: str,
    config: Path | None, overrides: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    from remedi_spark.delivery.files import MANIFEST, export_files

    escape = load(config, overrides).scores.escape_formulas
    selection = _select(source, contract, snapshot, config, overrides)
    manifest = export_files(selection, source, out, kind, escape_formulas=escape)
    place = out.rstrip("/")
    return {"rows": manifest["rows"], "folder": f"{place}/{manifest['folder']}", "manifest": f"{place}/{MANIFEST}"}


def _to_database(
    source: str, contract: TableContract, jdbc: str, table: str | None, snapshot: str,
    config: Path | None, overrides: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    from remedi_spark.delivery.connection import Database
    from remedi_spark.delivery.jdbc import export_jdbc

    database = Database.from_environment(jdbc)
    database.parameters()  # before Spark starts: a wrong URL and a missing psycopg are reported at once
    selection, target = _select(source, contract, snapshot, config, overrides), table or contract.name
    return {"table": target, "rows": selection.count, "changed": export_jdbc(selection, database, target)}


def _select(
    source: str, contract: TableContract, snapshot: str, config: Path | None, overrides: list[str] | None
) -> Selection:
    from remedi_spark.delivery.selection import select_rows
    from remedi_spark.spark.session import get_session

    return select_rows(get_session(load(config, overrides).spark), source, contract, snapshot)


def _required(value: Any, option: str, because: str) -> Any:
    if value is None:
        raise InputError(f"{because} needs {option}")
    return value


def _format(given: str | None) -> Literal["parquet", "csv"]:
    if given not in (None, "parquet", "csv"):
        raise InputError(f"--format {given}: expected parquet or csv")
    return cast('Literal["parquet", "csv"]', given or "parquet")
