"""Names of the columns that the stages hand to one another, in one place."""

from __future__ import annotations

OWNER = "owner_id"
SNAPSHOT = "snapshot_date"
LABEL = "label"
WEIGHT = "weight"
FOLD = "fold"
PART = "part"
"""``train`` (seen by the phase's models) or ``test`` (not seen by them)."""
FEATURES = "features"

KEY = (OWNER, SNAPSHOT)
"""What identifies a row everywhere. ``snapshot_date`` is null in flat tables without a time."""

ROW_HASH = "row_hash"
"""Hash of the key: the order of rows inside a partition."""

CARRIED = (OWNER, SNAPSHOT, PART, LABEL, WEIGHT, FOLD, ROW_HASH)
"""Columns that every table between the base models and the student carries besides its own."""


def label_column(name: str | None) -> str:
    """Return the column of ``owner_features`` of a label: the main one (None), or one of ``features.labels``."""
    return LABEL if name is None else f"{LABEL}_{name}"
