"""What a row costs and how large the student is: the bundle in Python beside its ONNX file, one thread each.

    python benchmarks/onnx_latency.py --model run/complete_journey/model

Rows are drawn from the encoder's levels and random numbers: what a row costs does not depend on who it is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch

import remedi_spark
from remedi_spark.delivery.onnx_model import export_onnx, onnx_inputs
from remedi_spark.samples.encoder import NULL_LEVEL
from remedi_spark.scoring.bundle import Bundle
from remedi_spark.storage.manifest import read_manifest


def draw(bundle: Bundle, rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows in the bundle's columns, a tenth of the values null."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for i, feature in enumerate(bundle.contract.features):
        if feature.kind == "category":
            names = [None if name == NULL_LEVEL else name for name in bundle.encoder.levels[i].names]
            columns[feature.name] = rng.choice(np.array(names, dtype=object), rows)
        elif feature.kind in ("date", "timestamp"):
            columns[feature.name] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 999, rows), unit="D")
        else:
            columns[feature.name] = np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(1.0, 3.0, rows))
    return pd.DataFrame(columns)


def milliseconds(work: Callable[[], Any], repeats: int) -> str:
    """Median and 95th percentile of a call, and its mean CPU time, in milliseconds."""
    for _ in range(5):
        work()
    taken = []
    busy = time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - start))
    busy = 1e3 * (time.process_time() - busy) / repeats
    return f"{np.median(taken):9.3f} {np.percentile(taken, 95):9.3f} {busy:9.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = remedi_spark.load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = export_onnx(bundle, Path(folder) / "student.onnx")
        took = time.perf_counter() - started
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), settings)
        size = path.stat().st_size
    parts = read_manifest(Path(options.model)).folder / "student"
    stored = sum(file.stat().st_size for file in parts.rglob("*") if file.is_file())
    print(f"student of {', '.join(bundle.parts.students)}, {bundle.encoder.folds} folds, "
          f"{len(bundle.contract.features)} features")  # fmt: skip
    print(f"size: {size / 1e6:.2f} MB as ONNX (written in {took:.1f} s), {stored / 1e6:.2f} MB in the bundle")
    print(f"{'rows':>6}  {'how':<12}{'median':>9} {'p95':>9} {'CPU':>9}  ms")
    for rows in (1, 1000):
        frame = draw(bundle, rows)
        inputs = onnx_inputs(bundle.contract, frame)
        gap = np.abs(session.run(["score"], inputs)[0] - bundle.predict(frame)).max()
        repeats = options.repeats if rows == 1 else max(10, options.repeats // 20)
        print(f"{rows:>6}  {'bundle':<12}{milliseconds(lambda frame=frame: bundle.predict(frame), repeats)}")
        run = milliseconds(lambda inputs=inputs: session.run(["score"], inputs), repeats)
        print(f"{rows:>6}  {'onnxruntime':<12}{run}   largest difference {gap:.1e}")


if __name__ == "__main__":
    main()
