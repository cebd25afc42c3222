"""What psycopg is given, and that what it copies arrives as it was, without Spark."""

from __future__ import annotations

import math
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from remedi_spark.delivery.connection import Database
from remedi_spark.delivery.postgres_session import Session, copier, refusal
from remedi_spark.errors import InputError
from tests.exports.conftest import SECRET, Postgres

TEXTS = ["", "a", " ", "NULL", "\\N", "\\.", "a\n\\.\nb", '"', "'", ",", "\t", "\r\n", "\\", "ö\U0001f600", "007", None]


def parameters(postgres: Postgres) -> dict[str, str]:
    return Database(postgres.url, "remedi", SECRET).parameters()


def test_every_value_arrives_as_it_was(postgres: Postgres) -> None:
    size = len(TEXTS)
    numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 1 / 3, None]
    columns = {
        "place": pa.array(range(size), pa.int64()),
        "words": pa.array(TEXTS),
        "number": pa.array((numbers * 2)[:size], pa.float64()),
        "whole": pa.array([2**63 - 1, -(2**63), None, 0] * (size // 4), pa.int64()),
        "yes": pa.array([True, False, None, True] * (size // 4)),
        "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None, date(2026, 2, 28)] * (size // 4)),
        "moment": pa.array(
            [datetime(2026, 3, 29, 1, 30, 0, 123456, UTC), datetime(1900, 1, 1, tzinfo=UTC), None, None] * (size // 4)
        ).cast(pa.timestamp("us", "Europe/Berlin")),
        "price": pa.array([Decimal("12345678901234567.89"), None] * (size // 2)),
    }
    session = Session(parameters(postgres))
    session.execute(
        "CREATE TABLE copied (place bigint, words text, number double precision, whole bigint, yes boolean, day date, "
        "moment timestamptz, price numeric(19, 2))"
    )
    batch = pa.RecordBatch.from_pydict(columns)
    copy = copier(parameters(postgres), "COPY copied FROM STDIN (FORMAT csv)")
    told = list(copy(iter([batch.slice(0, 5), batch.slice(5)])))
    assert [one.to_pydict() for one in told] == [{"rows": [size]}]
    found = session.rows("SELECT * FROM copied ORDER BY place")
    session.close()
    for got, expected in zip(
        found, zip(*(column.to_pylist() for column in columns.values()), strict=True), strict=True
    ):
        assert got == expected
        assert repr(got[2]) == repr(expected[2]), "the sign of a zero too"


def test_an_empty_partition_asks_for_no_connection() -> None:
    copy = copier({"host": "127.0.0.1", "port": "9"}, "COPY nothing FROM STDIN (FORMAT csv)")
    assert [one.to_pydict() for one in copy(iter([]))] == [{"rows": [0]}]


def test_a_partition_arrives_whole_or_not_at_all(postgres: Postgres) -> None:
    session = Session(parameters(postgres))
    session.execute("CREATE TABLE whole (score double precision CHECK (score < 1))")
    copy = copier(parameters(postgres), "COPY whole FROM STDIN (FORMAT csv)")
    batches = [pa.RecordBatch.from_pydict({"score": [value]}) for value in (0.5, 2.0)]
    with pytest.raises(RuntimeError, match=r"PostgreSQL refused \[23514\]: new row") as raised:
        list(copy(iter(batches)))
    assert SECRET not in str(raised.value)
    assert refusal(raised.value) == (
        "23514", 'new row for relation "whole" violates check constraint "whole_score_check"',
    )  # fmt: skip
    assert session.rows("SELECT count(*) FROM whole") == [(0,)]
    session.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("jdbc:postgresql://h:5433/crm", {"host": "h", "port": "5433", "dbname": "crm"}),
        ("postgresql://h1:1,h2:2/crm?target_session_attrs=primary",
         {"host": "h1,h2", "port": "1,2", "target_session_attrs": "primary"}),
        ("postgresql:///crm", {"dbname": "crm"}),
        ("jdbc:postgresql:crm", {"host": "localhost", "dbname": "crm"}),
        ("jdbc:postgresql://h/crm?sslmode=verify-full&sslrootcert=/a%20b.pem",
         {"sslmode": "verify-full", "sslrootcert": "/a b.pem"}),
        ("jdbc:postgresql://h/crm?ssl=true&loginTimeout=5&ApplicationName=x&prepareThreshold=0",
         {"sslmode": "verify-full", "connect_timeout": "5", "application_name": "x"}),
        ("jdbc:postgresql://h/crm?currentSchema=a", {"options": "-c search_path=a"}),
        ("jdbc:postgresql://h/crm?user=bob", {"user": "bob"}),
        ("jdbc:postgresql://h/crm", {"user": "ann", "password": "pw", "connect_timeout": "20"}),
    ],
)  # fmt: skip
def test_a_url_of_jdbc_as_parameters_of_libpq(url: str, expected: dict[str, str]) -> None:
    found = Database(url, "ann", "pw").parameters()
    assert {key: found[key] for key in expected} == expected
    assert "dbname" in found


def test_a_password_comes_from_one_place_alone(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import psycopg

    (tmp_path / "passwords").write_text(f"*:*:*:*:{SECRET}")
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        Session(Database(postgres.url, "remedi", None).parameters())


def test_an_unknown_parameter_and_no_psycopg_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='--jdbc postgresql://h/crm: invalid URI query parameter: "sllmode"'):
        Database("postgresql://h/crm?sllmode=require", None, None).parameters()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"psycopg is not installed; pip install 'remedi_spark\[postgres\]'"):
        Database("postgresql://h/crm", None, None).parameters()
    with pytest.raises(RuntimeError, match="psycopg is not installed where the tasks run"):
        list(copier({}, "")(iter([pa.RecordBatch.from_pydict({"a": [1]})])))
