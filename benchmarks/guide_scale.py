"""What `remedi guide` costs as owners grow, on a planted log.

    python -m benchmarks.guide_scale --owners 100000 25000 --items 300 --out run/guide_scale

Each size is a log of about sixty purchases an owner in 336 days, through the command as people run it, in one process
and with a driver of 2 GB. Printed as :mod:`benchmarks.scale` measures it: seconds by the clock, of CPU with all
processes, the most memory that all held together; seconds by stage; NDCG@10 beside the best peer of the page; and the
exponent of the cost between the smallest and the largest size, 1 being linear in owners. Clock, CPU and memory so far
are in guide.log.cost.json beside the log while it runs, and stay there when the measuring is stopped.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.scale import _PR_SET_CHILD_SUBREAPER, _STAGE, REMEDI, Cost, run_measured

DAYS, EACH, KIND, CHUNK = 336, 60, 10, 5_000
"""Days of the log, purchases of an owner, items of a kind, owners drawn at once."""
START = pd.Timestamp("2026-01-01")


def main() -> None:
    """Measure every size, and print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--owners", type=int, nargs="+", default=[25_000, 100_000])
    options.add_argument("--items", type=int, default=300)
    options.add_argument("--memory", default="2g", help="of the driver")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, repeatable")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, required=True)
    given = options.parse_args()
    # The JVM outlives the command that started it: whoever is left alone comes to this process, to be counted.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    sets = [f"spark.driver_memory={given.memory}", *given.set]
    costs = {n: _measure(n, given.items, given.seed, given.out / str(n), sets) for n in given.owners}
    if len(costs) > 1:
        few, many = min(costs), max(costs)
        for of in ("seconds", "cpu", "peak"):
            ratio = getattr(costs[many], of) / getattr(costs[few], of)
            power = math.log(ratio) / math.log(many / few)
            print(f"{of}: x {ratio:.2f} from {few:,} to {many:,} owners, exponent {power:.2f}")


def _measure(owners: int, items: int, seed: int, folder: Path, settings: list[str]) -> Cost:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = write_log(folder / "events.parquet", owners, items, seed)
    path = folder / "guide.yaml"
    path.write_text(yaml.safe_dump(_config(folder)))
    sets = [word for one in settings for word in ("--set", one)]
    cost = run_measured([*REMEDI, "guide", "--config", str(path), *sets], folder / "guide.log")
    print(f"\n{owners:,} owners x {items} items, {rows:,} rows, seed {seed}, {' '.join(settings)}")
    print(f"{cost.seconds:.0f} s by the clock, {cost.cpu:.0f} s of CPU, {cost.peak:.2f} GB at most")
    stages = re.findall(_STAGE, (folder / "guide.log").read_text())
    print("stages: " + ", ".join(f"{name} {float(seconds):.0f} s" for name, seconds in stages))
    facts = json.loads(next(folder.rglob("guide_facts.json")).read_text())["measures"]["methods"]
    for part, methods in facts.items():
        best = max((name for name in methods if name != "guide"), key=lambda name: methods[name]["ndcg"]["mean"])
        guide, peer = (methods[name]["ndcg"]["mean"] for name in ("guide", best))
        print(f"{part}: NDCG@10 {guide:.4f}, of {best} {peer:.4f}", flush=True)
    return cost


def write_log(path: Path, owners: int, items: int, seed: int) -> int:
    """Write owner, category, kind and day; return the number of rows. Each owner likes a fifth of the kinds."""
    kinds = -(-items // KIND)
    popular = np.random.default_rng([seed, 1]).lognormal(0, 1, items)
    names = np.array([f"kind {item // KIND} item {item}" for item in range(items)])
    total, writer = 0, None
    for first in range(0, owners, CHUNK):
        rng, count = np.random.default_rng([seed, 2, first]), min(CHUNK, owners - first)
        likes = np.repeat(np.where(rng.random((count, kinds)) < 0.2, 8.0, 1.0), KIND, axis=1)[:, :items]
        rate = likes * popular * rng.lognormal(0, 0.8, (count, items))
        rate *= EACH * rng.gamma(2.0, 0.5, (count, 1)) / rate.sum(axis=1, keepdims=True)
        pair = np.repeat(np.arange(count * items), rng.poisson(rate).ravel())
        owner, item = np.divmod(pair, items)
        day = START + pd.to_timedelta(rng.integers(0, DAYS, len(owner)), unit="D")
        frame = pd.DataFrame({"owner": first + owner, "category": names[item], "kind": item // KIND, "day": day})
        content = pa.Table.from_pandas(frame.astype({"day": "datetime64[us]", "kind": str}), preserve_index=False)
        writer = writer or pq.ParquetWriter(path, content.schema)
        writer.write_table(content)
        total += len(frame)
    if writer:
        writer.close()
    return total


def _config(folder: Path) -> dict[str, object]:
    return {
        "root": str(folder / "run"),
        "features": {
            "entity": "owner", "sources": {"events": {"path": str(folder / "events.parquet"), "event_time": "day"}},
            "groups": {"all": {"source": "events", "measures": {"lines": {"aggregate": "count"}}}},
            "label": {"source": "events", "horizon_days": 28},
            "snapshots": {"data_end": str((START + pd.Timedelta(days=DAYS - 1)).date())},
        },
        "guide": {"source": "events", "item": "category", "parent": "kind"},
    }  # fmt: skip


if __name__ == "__main__":
    main()
