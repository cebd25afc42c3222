"""The contract of ``guide``: what a reader of the lists may rely on, in one place.

``docs/data_contract.md`` says it in words; ``tests/exports/test_data_contract.py`` holds code, page and table together.
"""

from __future__ import annotations

from remedi_spark.storage.table_contract import Column, TableContract

COLUMNS = (
    Column("owner_id", "any", False, "Whose list."),
    Column("snapshot_date", "date", False, "As of when: the last day of the data."),
    Column("rank", "int", False, "Place in the owner's list, 1 = to be shown first.", "rank >= 1"),
    Column("item", "string", False, "What to show, as the log or the stock list names it."),
    Column(
        "score", "double", False, "Calibrated probability that the owner buys the item within the horizon, 0 to 1.",
        "score >= 0 AND score <= 1",
    ),
    Column("why", "string", False, "A sentence: what in the owner's history, or in the item's, speaks for it."),
    Column("new_to_owner", "boolean", False, "Whether the log has no purchase of the item by the owner."),
    Column("model_version", "string", False, "Hash of all that the score depends on."),
    Column("run_id", "string", False, "The run that made the lists; one for all rows of a snapshot and model version."),
    Column("scored_at", "timestamp", False, "When the lists were begun."),
)  # fmt: skip
CONTRACT = TableContract(
    "guide", "1.0", COLUMNS, ("owner_id", "rank"), "Lists of items for each owner",
    "a table that remedi guide wrote (a table of scores is given by --scores)",
)  # fmt: skip
