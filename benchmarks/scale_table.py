"""A planted table for measurements at size: 40 columns, 8 of them categories, and each row's true probability.

Half a percent of the rows are positive. Six numbers act alone, along curves; two pairs interact; each category has an
effect a level, of a size that does not depend on how many levels there are. The other numbers say nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = 32
LEVELS = (3, 5, 8, 20, 60, 300, 3_000, 50_000)
"""Of the categories."""
PRIOR = 0.005
TRUTH = "probability"
"""Column that no model may read; it is in a file of its own."""
_CHUNK = 100_000
_SEED_OF_THE_WORLD = 28


def write_table(folder: Path, rows: int, seed: int) -> tuple[Path, Path]:
    """Write a table and its truth, a row group a chunk; return both paths. Rows of another seed are other owners."""
    folder.mkdir(parents=True, exist_ok=True)
    table, truth = folder / "owners.parquet", folder / "truth.parquet"
    writers: list[Any] = []
    world = _World()
    for first in range(0, rows, _CHUNK):
        frame = world.draw(min(_CHUNK, rows - first), np.random.default_rng([seed, first]))
        frame.insert(0, "owner", [f"{seed}-{first + i}" for i in range(len(frame))])
        for place, part in enumerate((frame.drop(columns=TRUTH), frame[["owner", TRUTH, "bought"]])):
            content = pa.Table.from_pandas(part, preserve_index=False)
            if len(writers) == place:
                writers.append(pq.ParquetWriter((table, truth)[place], content.schema))
            writers[place].write_table(content)
    for writer in writers:
        writer.close()
    return table, truth


class _World:
    """What decides who buys: the same for every table."""

    def __init__(self) -> None:
        rng = np.random.default_rng(_SEED_OF_THE_WORLD)
        self._effects = [rng.normal(0, 0.35, levels) for levels in LEVELS]
        drawn = self._drive(*self._draw(200_000, rng))
        low, high = -20.0, 5.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _probability(drawn + middle).mean() < PRIOR else (low, middle)
        self._intercept = low

    def draw(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Return rows with their label and :data:`TRUTH`."""
        numbers, levels = self._draw(rows, rng)
        truth = _probability(self._drive(numbers, levels) + self._intercept)
        columns: dict[str, Any] = {f"n{i}": numbers[:, i].astype(np.float32) for i in range(NUMBERS)}
        for i, of in enumerate(LEVELS):
            columns[f"c{i}"] = np.char.add(f"{of}-", levels[i].astype(str))
        bought = (rng.random(rows) < truth).astype(np.int32)
        return pd.DataFrame({**columns, "bought": bought, TRUTH: truth})

    @staticmethod
    def _draw(rows: int, rng: np.random.Generator) -> tuple[Any, list[Any]]:
        numbers = rng.normal(0, 1, (rows, NUMBERS))
        numbers[:, ::2] = np.maximum(np.round(np.exp(numbers[:, ::2]), 2), 0.01)  # half of them skewed, as amounts are
        # The first levels are the frequent ones, as of postcodes and products.
        return numbers, [np.minimum((of * rng.random(rows) ** 1.7).astype(int), of - 1) for of in LEVELS]

    def _drive(self, x: Any, levels: list[Any]) -> Any:
        alone = 0.9 * x[:, 1] - 0.5 * np.log(x[:, 0]) + 0.5 * np.abs(x[:, 3]) + 0.7 * np.tanh(2 * x[:, 5])
        alone += 0.6 * (x[:, 2] > 2.0) - 0.4 * np.maximum(x[:, 7], 0)
        pairs = 0.8 * (x[:, 9] > 0) * (x[:, 11] > 0) + 0.4 * x[:, 13] * np.sign(x[:, 15])
        return alone + pairs + sum(effect[level] for effect, level in zip(self._effects, levels, strict=True))


def _probability(drive: Any) -> Any:
    return 1 / (1 + np.exp(-drive))
