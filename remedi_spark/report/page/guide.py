"""The page of the guide: how good its lists are beside simple recommenders, for which owners."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from remedi_spark.report.page import formatting as fmt

PARTS = {
    "all": "All items",
    "discovery": "Discovery: items that the owner has not had lately",
    "cold": "New items: hidden down to ten buyers",
}
METHODS = {
    "popular": "popularity", "frequency": "decayed frequency", "tifu_knn": "TIFU-kNN", "ease": "EASE",
    "content": "likeness of words",
}  # fmt: skip
MEASURES = {"ndcg": "NDCG@10", "recall": "Recall@10", "hit_rate": "hit rate", "novelty": "novelty (bits)"}


def _method(name: str) -> str:
    return METHODS.get(name, name)


def best_peer(methods: dict[str, Any], measure: str) -> str:
    """Return the peer with the highest mean: known only afterwards, so a bar set high."""
    return max((name for name in methods if name != "guide"), key=lambda name: float(methods[name][measure]["mean"]))


def headline(tree: dict[str, Any]) -> str:
    """Return the sentence that opens the page."""
    if "all" not in tree["methods"]:
        return "No owner bought anything at the test snapshots: nothing could be measured."
    methods = tree["methods"]["all"]
    peer = best_peer(methods, "ndcg")
    own, other = (methods[name]["ndcg"]["mean"] for name in ("guide", peer))
    return f"NDCG@10 of the lists is {own:.3f}; {_method(peer)}, the best simple recommender here, has {other:.3f}."


def render_guide(tree: dict[str, Any]) -> str:
    """Return the guide's measures as one HTML page that loads nothing and runs nothing; all of its text is escaped."""
    environment = Environment(
        loader=PackageLoader("remedi_spark.report.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"count": fmt.count, "percent": fmt.percent, "method": _method}
    style = (resources.files("remedi_spark.report.page") / "templates" / "report.css").read_text(encoding="utf-8")
    page: str = environment.get_template("guide.html.j2").render(
        tree=tree, headline=headline(tree), measures=MEASURES, style=Markup(style),
        parts={name: title for name, title in PARTS.items() if name in tree["methods"]},
        peers={name: best_peer(methods, "ndcg") for name, methods in tree["methods"].items()},
    )  # fmt: skip
    return page
