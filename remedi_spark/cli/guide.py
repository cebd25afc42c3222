"""``remedi guide``: what to show each owner next."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from remedi_spark.cli.options import ConfigPath, Json, Overrides, PresetName, Root, load, print_json
from remedi_spark.errors import InputError


def guide(
    config: ConfigPath = None,
    preset: PresetName = None,
    overrides: Overrides = None,
    root: Root = None,
    top_n: Annotated[int | None, typer.Option("--top-n", min=1, help="Items in a list; default: 10.")] = None,
    discovery: Annotated[
        bool | None, typer.Option("--discovery", help="Only items that the owner has not had lately.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="ITEM", help="Never show this item. Repeatable.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do again what an earlier run has done.")] = False,
    as_json: Json = False,
) -> None:
    """List for each owner the items to show next, best first.

    Example: remedi guide --config conf/guide_complete_journey.yaml --discovery
    """
    from remedi_spark.guiding import guide as run

    settings = load(config, overrides, preset=preset, root=root)
    if settings.guide is None:
        raise InputError("configuration: no section 'guide'; it names the source, and the column with the item")
    tree = run(settings.with_guide(top_n=top_n, discovery=discovery, exclude=exclude), force=force)
    print_json(tree) if as_json else _print(tree)


def _print(tree: dict[str, Any]) -> None:
    for part, methods in tree["methods"].items():
        title = f"{part} ({tree['owners'][part]} owners)"
        typer.echo(f"{title:<26}{'NDCG@10':>9}{'Recall@10':>11}{'hit rate':>10}")
        for name, one in methods.items():
            figures = (one[what]["mean"] for what in ("ndcg", "recall", "hit_rate"))
            typer.echo("  {:<24}{:>9.4f}{:>11.4f}{:>10.4f}".format(name, *figures))
    typer.echo(f"\nguide   {tree['guide']}\nreport  {tree['report']}")
