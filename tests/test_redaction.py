"""No secret in what is shown, whatever the setting is called; and nothing else is hidden."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import yaml

from remedi_spark import progress
from remedi_spark.config import load_config
from remedi_spark.redaction import HIDDEN, redact, redact_event, without_secrets, without_secrets_shown

SETTINGS = {
    "spark.hadoop.fs.s3a.secret.key": "TOPSECRET",
    "spark.hadoop.fs.s3a.access.key": "AKIATOPSECRET",
    "spark.hadoop.fs.azure.account.key.acct.dfs.core.windows.net": "TOPSECRET==",
    "spark.hadoop.fs.azure.sas.container.acct": "?sv=1&sig=TOPSECRET",
    "spark.hadoop.fs.azure.account.oauth2.client.secret": "TOPSECRET",
    "spark.authenticate.secret": "TOPSECRET",
    "spark.ssl.keyStorePassword": "TOPSECRET",
    "spark.databricks.token": "TOPSECRET",
    "spark.hadoop.google.cloud.auth.service.account.private.key": "TOPSECRET",
    "spark.io.credentialFile.passphrase": "TOPSECRET",
    "spark.hive.url": "jdbc:postgresql://ann:TOPSECRET@db/x?user=ann&sslpassword=TOPSECRET",
    "spark.executor.extraJavaOptions": "-Dhttp.header=Authorization: Bearer TOPSECRETabc",
}
PLAIN = {"spark.sql.shuffle.partitions": "8", "spark.executor.cores": "4", "spark.kryo.registrationRequired": "false"}


def _config() -> Any:
    return load_config(None, [f"spark.settings={json.dumps({**SETTINGS, **PLAIN})}"])


def test_the_configuration_is_shown_without_secrets() -> None:
    shown = without_secrets_shown(_config().model_dump(mode="json"))
    assert "TOPSECRET" not in yaml.safe_dump(shown)
    assert PLAIN.items() <= shown["spark"]["settings"].items()
    shown["spark"]["settings"] = {}
    plain = load_config().model_dump(mode="json")
    assert shown == plain, "nothing else is hidden"


def test_what_was_hidden_is_no_value_when_it_is_read_back() -> None:
    shown = yaml.safe_load(yaml.safe_dump(without_secrets_shown(_config().model_dump(mode="json"))))
    read = without_secrets(shown)["spark"]["settings"]
    assert HIDDEN not in read.values()
    assert PLAIN.items() <= read.items()


def test_names_that_users_give_are_no_secrets() -> None:
    tree = {
        "features": {
            "sources": {"tokens": {"path": "s3a://ann:TOPSECRET@bucket/x", "key": "order_id", "token": "token_id"}},
            "filter": "secret_santa = 'yes' and token = 'a'",
        },
        "custom": {"parameters": {"api_key": "TOPSECRET", "sort_key": ["a"], "days": 3}},
    }
    shown = without_secrets_shown(tree)
    assert "TOPSECRET" not in str(shown)
    assert shown["features"]["filter"] == tree["features"]["filter"]
    source = shown["features"]["sources"]["tokens"]
    assert (source["key"], source["token"]) == ("order_id", "token_id")
    assert shown["custom"]["parameters"]["days"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "fs.azure.account.key.acct.dfs.core.windows.net: TOPSECRET",
        "{'spark.hadoop.fs.s3a.secret.key': 'TOPSECRET'}",
        "https://acct.blob.core.windows.net/c?sv=2024&sig=TOPSECRET&se=1",
        "Authorization: Bearer TOPSECRETabc.def-ghi",
        "AccountName=a;AccountKey=TOPSECRET;EndpointSuffix=x",
        "jdbc:postgresql://db/x?sslpassword=TOPSECRET",
        "--set spark.settings={spark.hadoop.fs.s3a.secret.key: TOPSECRET}",
        "s3a://key:TOPSECRET@bucket/x",
    ],
)
def test_text_is_redacted(text: str) -> None:
    assert "TOPSECRET" not in redact(text)


def test_words_are_not_blanked_because_a_variable_holds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CSRF_TOKEN": "training", "A_TOKEN": "true", "MODEL_TOKEN_FILE": "/data/models"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REAL_TOKEN", "hunter2hunter2")
    text = "training is true: pretraining of /data/models"
    assert redact(text) == text
    assert redact("sent hunter2hunter2, not hunter2hunter2x") == f"sent {HIDDEN}, not hunter2hunter2x"


def test_json_logs_stay_json(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"token": 5, "tokens": [1, 2], "password": "TOPSECRET", "deep": {"path": "s3a://k:TOPSECRET@b", "n": None}}
    progress.log_to_stderr(style="json")
    progress.LOGGER.log(logging.INFO, 'he said "token": "TOPSECRET"', extra={"stage": "x", "facts": facts})
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert "TOPSECRET" not in line
    assert (event["token"], event["tokens"], event["deep"]["n"]) == (5, [1, 2], None)
    assert redact_event({"rows": 7, "stage": "tokens"}) == {"rows": 7, "stage": "tokens"}
