"""Tables of benchmarks in Markdown pages, each between two marks."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def insert(table: str, mark: str, into: Path) -> None:
    """Replace what stands between ``<!-- mark -->`` and the next end mark of a page."""
    begin = f"<!-- {mark} -->"
    before, _, rest = into.read_text(encoding="utf-8").partition(begin)
    if END not in rest:
        raise SystemExit(f"{into}: no {begin} ... {END} to put the table between")
    into.write_text(f"{before}{begin}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
