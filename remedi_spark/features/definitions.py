"""What a column of ``owner_features`` is, apart from its name: columns of equal definition have equal values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remedi_spark.features.custom import source_hash
from remedi_spark.features.expressions import digest

if TYPE_CHECKING:
    from remedi_spark.features.blueprint import Blueprint


def definitions(blueprint: Blueprint) -> dict[str, str]:
    """Return the definition of every column by name, in the order of the columns."""
    config = blueprint.config
    found = {feature.entry.name: feature.definition for feature in blueprint.features}
    for name, ratio in config.ratios.items():
        found[name] = digest(["ratio", *(found[part] for part in ratio.over)])
    for name, custom in blueprint.custom.items():
        about = config.custom[name]
        whole = [about.model_dump(mode="json"), source_hash(about.factory)]
        found |= {entry.name: digest(["custom", entry.name, *whole]) for entry in custom.entries()}
    for table, names in blueprint.attribute_names.items():
        found |= {name: digest(["attribute", table, column]) for column, name in names.items()}
    return found | {label.column: label.definition for label in blueprint.labels}


def partial_columns(blueprint: Blueprint, source: str) -> list[str]:
    """Return the names of the cells of a source and of the label totals that its partials hold."""
    totals = [name for label in blueprint.labels if label.config.source == source for name in label.totals]
    return list(dict.fromkeys([*(cell.name for cell in blueprint.cells(source)), *totals]))
