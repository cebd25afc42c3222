"""The page that asks the student what if: it computes in the browser, and loads nothing from anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from remedi_spark.report.page.assets import asset, csp_hash, environment


@dataclass(frozen=True)
class WhatIf:
    """What the page shows.

    Attributes:
        title: what is predicted.
        model_version: of the student.
        snapshot: of the owners' features; None without a time.
        rows: how many were scored.
        owners: how many of them, the best ones, the page has.
        unread: features that the model does not read, which the page leaves out.
        data: what :func:`remedi_spark.report.what_if_data.page_data` returns, as JSON.
    """

    title: str
    model_version: str
    snapshot: str | None
    rows: int
    owners: int
    unread: int
    data: str


def render_what_if(page: WhatIf) -> str:
    """Return the page; all text of the user's is escaped, and a policy lets only its own two scripts run."""
    scripts = [Markup(asset(name)) for name in ("what_if_student.js", "what_if.js")]
    # Markup: in the JSON "<" is escaped, so that no text of the user's can end the script.
    text: str = environment().get_template("what_if.html.j2").render(
        page=page, data=Markup(page.data.replace("<", "\\u003c")), scripts=scripts,
        script_hashes=[csp_hash(one) for one in scripts],
        style=Markup(asset("report.css") + asset("what_if.css")),
    )  # fmt: skip
    return text
