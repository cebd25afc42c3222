"""Commits of a Delta table that matter: a table that was only tidied up holds the same rows as before.

OPTIMIZE and VACUUM, which platforms also run by themselves at night, move rows between files or remove files that no
version needs any more. Work that has read the table need not be done again for that.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TIDYING = frozenset({
    "OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "COMPUTE STATS",
    "UPGRADE PROTOCOL",
})  # fmt: skip
"""Operations of Delta's history that leave every row as it was."""
LOOKED_AT = 50
"""Commits, from the last one back."""

Commit = tuple[int, datetime]
"""Version, and when it was committed."""


def last_change(history: DataFrame) -> Commit:
    """Return the last commit that changed rows, of Delta's history; where it tells of none any more, the last one.

    Args:
        history: the last ``LOOKED_AT`` commits of a table.
    """
    commits = history.select("version", "timestamp", "operation").orderBy("version", ascending=False).collect()
    found = next((commit for commit in commits if commit["operation"] not in TIDYING), commits[0])
    return int(found["version"]), found["timestamp"]


def last_listed_change(path: str) -> Commit | None:
    """Return the same from the log of a local folder, or None where there is none to list.

    Asking Delta for its history takes two Spark jobs, many times in a training.
    """
    files = [file for file in Path(path, "_delta_log").glob("*.json") if file.stem.isdigit()]
    commits = sorted(files, key=lambda file: int(file.stem), reverse=True)[:LOOKED_AT]
    if not commits:
        return None
    found = next((file for file in commits if _operation(file) not in TIDYING), commits[0])
    return int(found.stem), datetime.fromtimestamp(found.stat().st_mtime, UTC)


def _operation(commit: Path) -> str | None:
    """Return the operation that a commit file names; a damaged one is left to Delta to complain about."""
    try:
        for line in commit.read_text().splitlines():
            if line.startswith('{"commitInfo"'):
                return str(json.loads(line)["commitInfo"]["operation"])
    except (OSError, ValueError, KeyError):
        pass
    return None
