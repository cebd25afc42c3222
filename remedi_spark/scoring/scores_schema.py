"""The contract of ``scores``: what a reader of the table may rely on, in one place.

``docs/data_contract.md`` says it in words; ``tests/exports/test_data_contract.py`` holds code, page and table together.
A minor version adds nullable columns, or fields of a reason; whatever could break a reader raises the major version.
"""

from __future__ import annotations

from remedi_spark.storage.table_contract import Column, TableContract

VERSION = "1.1"

SCORES = (
    Column("owner_id", "any", False, "Whose score; the type is that of the source."),
    Column(
        "snapshot_date", "any", True,
        "As of when: only what was known by then is in the score; null where the source has no time.",
    ),
    Column(
        "score", "double", False, "Calibrated probability of the label, 0 to 1; in a regression the predicted amount.",
        "score <> 'NaN'",
    ),
    Column(
        "rank", "bigint", False, "Place within the snapshot, 1 = best; ties are broken by a hash of the owner.",
        "rank >= 1",
    ),
    Column(
        "percentile", "double", False, "Share of the snapshot's owners that rank no better, in per cent; 100 = best.",
        "percentile > 0 AND percentile <= 100",
    ),
    Column("decile", "int", False, "Tenth of the snapshot, 1 = best.", "decile >= 1 AND decile <= 10"),
    Column("in_top_k", "boolean", False, "Whether the owner is within the contact budget."),
    Column(
        "reasons", "array<struct<feature:string,value:string,contribution:double,text:string>>", True,
        "Strongest features of the rows in the budget: name, value as text, contribution to the score, and a sentence "
        "with the value and what is usual.",
    ),
    Column("model_version", "string", False, "Hash of all that the score depends on."),
    Column("run_id", "string", False, "The scoring run; one for all rows of a snapshot and model version."),
    Column("scored_at", "timestamp", False, "When the scoring run began."),
)  # fmt: skip
"""The columns, in their order."""

CONTRACT = TableContract(
    "scores", VERSION, SCORES, ("owner_id",), "Scores",
    "a table that remedi run, scores or score wrote (a table of remedi guide is given by --guide)",
)  # fmt: skip
NAMES = CONTRACT.names
COMMENTS = CONTRACT.comments
