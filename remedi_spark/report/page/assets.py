"""What self-contained pages are made with: templates, scripts and styles of the package."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from remedi_spark.report.page import formatting


@cache
def environment() -> Environment:
    """Return what reads the templates; it escapes all text."""
    found = Environment(
        loader=PackageLoader("remedi_spark.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("budget", "count", "heading", "moment", "number", "percent"):
        found.filters[name] = getattr(formatting, name)
    return found


def asset(name: str) -> str:
    """Return the text of a file beside the templates."""
    return resources.files("remedi_spark.report.page").joinpath("templates", name).read_text(encoding="utf-8")


def csp_hash(script: str) -> str:
    """Return how a content security policy names a script that may run."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
