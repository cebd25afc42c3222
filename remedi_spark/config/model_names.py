"""Names of models: they become columns and folders, and are written into reports."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_PREFIXES = (
    "gate_", "logit_", "p_", "d_", "dl_", "z_", "zp_", "rank_", "q_", "peer_", "student_", "fuser_", "evaluation_",
)  # fmt: skip
"""Of columns that stages make beside those of the models."""
RESERVED = frozenset({
    "owner_id", "snapshot_date", "part", "label", "weight", "fold", "row_hash", "block", "source", "features", "target",
    "valid", "amount", "x", "te", "mean", "rank_mean", "stack", "stack_lr", "selection", "smeared", "fuser", "student",
    "model", "rows", "score", "rank", "margin", "id", "std", "range", "d", "dl", "z", "zp", "p", "q", "logit",
    "entropy",
})  # fmt: skip
"""Columns, and what reports call the parts of the method."""


def check_model_names(names: Iterable[str], where: str) -> None:
    """Refuse names that cannot be a column and a folder, or that mean something else already.

    Raises:
        ValueError: with the first of them.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{where}: found the name {name!r}, expected letters, digits and _, a letter first, 63 at most"
            )
        lower = name.lower()
        if lower in RESERVED or lower.startswith(_PREFIXES):
            raise ValueError(f"{where}: the name {name!r} means something else already; give the model another name")
        if lower in seen:
            raise ValueError(f"{where}: {seen[lower]!r} and {name!r} differ in case only; give one another name")
        seen[lower] = name
