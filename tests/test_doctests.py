"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import remedi_spark

ROOT = Path(remedi_spark.__file__).parent
WITH_EXAMPLES = sorted(path for path in ROOT.rglob("*.py") if "\n    >>> " in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples(path: Path) -> None:
    name = ".".join(("remedi_spark", *path.relative_to(ROOT).with_suffix("").parts))
    done = doctest.testmod(import_module(name))
    assert done.attempted > 0 or "+SKIP" in path.read_text(encoding="utf-8")
    assert not done.failed
