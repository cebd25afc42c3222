"""The contract of ``scores`` only grows; of ``scores`` and ``guide``, code, page and table agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from remedi_spark.guides import guide_schema
from remedi_spark.scoring import scores_schema
from remedi_spark.scoring.scores_schema import COMMENTS, SCORES, VERSION
from remedi_spark.storage.table_contract import TableContract
from tests.exports.conftest import make_scores

PAGE = (Path(__file__).parents[2] / "docs" / "data_contract.md").read_text(encoding="utf-8")
FIRST = {
    "owner_id": ("any", False), "snapshot_date": ("any", True), "score": ("double", False), "rank": ("bigint", False),
    "percentile": ("double", False), "decile": ("int", False), "in_top_k": ("boolean", False),
    "reasons": ("array<struct<feature:string,value:string,contribution:double>>", True),
    "model_version": ("string", False), "run_id": ("string", False), "scored_at": ("timestamp", False),
}  # fmt: skip
"""Version 1.0, as it was published; never edit it."""


def test_a_reader_of_version_1_reads_every_version_1() -> None:
    major = int(VERSION.split(".")[0])
    assert major == 1, "a new major version needs a published table of its own here, and a way for readers to move"
    now = {column.name: (column.type, column.nullable) for column in SCORES}
    (fields, _), (first, _) = (one["reasons"] for one in (now, FIRST))
    assert fields.startswith(first.removesuffix(">>")), "fields of a reason are added at the end"
    assert {name: now.get(name) for name in FIRST} == {**FIRST, "reasons": (fields, True)}
    assert list(now)[: len(FIRST)] == list(FIRST), "columns are added at the end"
    added = [column for column in SCORES if column.name not in FIRST]
    assert all(column.nullable for column in added)
    assert (bool(added) or fields != first) == (VERSION != "1.0"), "something was added: raise the minor version"


@pytest.mark.parametrize("contract", [scores_schema.CONTRACT, guide_schema.CONTRACT], ids=lambda one: one.name)
def test_the_page_says_what_the_code_says(contract: TableContract) -> None:
    parts = re.split(r"^#+ .*`(\w+)`$", PAGE, flags=re.MULTILINE)
    part = dict(zip(parts[1::2], parts[2::2], strict=True))[contract.name]
    assert f"Version {contract.version}" in part
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (yes|no) \| (.+?) \|$", part, re.MULTILINE)
    described = {name: (kind.strip("`"), null == "yes", comment) for name, kind, null, comment in rows}
    assert described == {c.name: (c.type, c.nullable, c.comment) for c in contract.columns}


def test_what_the_scoring_stage_writes_keeps_the_contract(spark: Any) -> None:
    scores = make_scores(spark, 100)
    assert {field.name: field.metadata["comment"] for field in scores.schema.fields} == COMMENTS
    for column, field in zip(SCORES, scores.schema.fields, strict=True):
        assert column.type in ("any", field.dataType.simpleString())
    broken = " OR ".join(f"NOT ({column.check})" for column in SCORES if column.check)
    nulls = " OR ".join(f"{column.name} IS NULL" for column in SCORES if not column.nullable)
    assert scores.where(f"{broken} OR {nulls}").count() == 0
