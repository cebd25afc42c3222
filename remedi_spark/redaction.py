"""No secret in what is written for others: reports, JSON, MLflow, logs, messages.

Trees (configurations, log events) are redacted by the names of their keys, value by value, so that JSON stays JSON.
Text, where there is no more structure than ``name=value``, is redacted by patterns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_NAME = (
    r"passw|passphrase|passwd|pwd\b|secret|token|credential|signature|bearer|authorization"
    r"|(?:api|access|account|shared|private|encryption|storage|sas|auth|signing|master|client)[._-]?key"
)
_SECRET_NAME = re.compile(rf"(?i){_NAME}|(?<![a-z])(?:sas|sig)(?![a-z])")
_SECRET_SETTING = re.compile(rf"(?i){_SECRET_NAME.pattern[4:]}|key(?![a-z])|(?<![a-z])auth(?![a-z])")
"""Among Spark's own settings also whatever ends a word with ``key``: ``fs.azure.account.key.…``."""
_FREE = ("settings", "options", "parameters", "params", "properties")
"""Sections whose keys are not this package's, so that their names are all one knows of them."""
_PAIR = re.compile(
    rf"(?i)((?:[\w.-]*(?:{_NAME})[\w.-]*|\b(?:sig|sas))[\"']?\s*[=:]\s*[\"']?)((?:Bearer|Basic)\s+)?[^\s&;,'\"}}]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9+/_.~-]{8,}=*")
_LOGIN = re.compile(r"(://[^/\s:@]+:)[^/\s@]+@")
_CONNECTION = re.compile(r"://|^jdbc:|(?i:accountkey=|bearer )")
_SHORTEST = 8
"""Of the environment's values: shorter ones are as likely to be words of the text."""
_NO_SECRETS = re.compile(r"(?i)^(OLD)?PWD$|_(FILE|PATH|DIR|URL|URI)$|TOKENIZERS")
"""Variables whose names read like secrets and whose values are none."""


def redact(text: str) -> str:
    """Return text without passwords and tokens: those of URLs, of ``name=value``, and of the environment."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _NO_SECRETS.search(name) and _worth_hiding(value) and value in text:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
    text = _LOGIN.sub(rf"\1{HIDDEN}@", text)
    return _BEARER.sub(rf"\1\2{HIDDEN}", _PAIR.sub(rf"\1\2{HIDDEN}", text))


def _worth_hiding(value: str) -> bool:
    """Whether a value of the environment is a secret rather than a word, a number or a switch."""
    return len(value) >= _SHORTEST and not (value.isalpha() and (value.islower() or value.istitle()))


def without_secrets_shown(tree: Any) -> Any:
    """Return a configuration as it may be shown: secret settings and logins in addresses are hidden."""
    return _shown(tree, free=False)


def _shown(tree: Any, *, free: bool) -> Any:
    if isinstance(tree, Mapping):
        return {
            key: HIDDEN
            if free and not isinstance(value, Mapping | list | None) and _SECRET_SETTING.search(str(key))
            else _shown(value, free=free or key in _FREE)
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [_shown(value, free=free) for value in tree]
    # An expression such as token = 'x' is no secret, and the configuration is read back: addresses only.
    return redact(tree) if isinstance(tree, str) and (free or _CONNECTION.search(tree)) else tree


def redact_event(tree: Any) -> Any:
    """Return a log event without secrets: strings redacted as text, whole values under a secret's name."""
    if isinstance(tree, Mapping):
        return {
            key: HIDDEN if isinstance(value, str) and _SECRET_NAME.search(str(key)) else redact_event(value)
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [redact_event(value) for value in tree]
    return redact(tree) if isinstance(tree, str) else tree


def without_secrets(tree: Any) -> Any:
    """Return a configuration that was shown, read back: what was hidden is no value, and is left out."""
    if isinstance(tree, Mapping):
        return {key: without_secrets(value) for key, value in tree.items() if value != HIDDEN}
    if isinstance(tree, list):
        return [without_secrets(value) for value in tree if value != HIDDEN]
    return tree
