"""Names of tables in a catalog: ``[catalog.]schema.table``, odd parts in backticks or, with dashes, bare."""

from __future__ import annotations

import re

_PART = r"(?:[A-Za-z_][\w-]*|`[^`./\\]+`)"
CATALOG_NAME = re.compile(rf"^{_PART}(\.{_PART}){{1,2}}$")
_PLAIN = re.compile(r"[A-Za-z_]\w*")


def quoted_name(name: str) -> str:
    """Return a name as SQL reads it: ``prod-catalog.gold`` gives ```prod-catalog`.gold``."""
    parts = [part.strip("`") for part in name.split(".")]
    return ".".join(part if _PLAIN.fullmatch(part) else f"`{part}`" for part in parts)
