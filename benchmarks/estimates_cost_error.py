"""How far the cost of a drift that a sample shows is from that of all rows, by the rows looked at and rescored.

    python benchmarks/estimates_cost_error.py --model model --table owners.parquet --rows 40000

Rows of the table are drawn with replacement up to ``--rows``; one feature after the other gets a drift: numbers another
unit and noise, categories an unknown level, and a half of the rows null.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from remedi_spark.scoring.bundle import load
from remedi_spark.scoring.monitoring.costs import cost_of

DESIGNS = {"2,000 rows, all rescored": (2000, 2000), "1,000 rows, 300 rescored": (1000, 300),
           "1,500 rows, 450 rescored": (1500, 450), "2,000 rows, 600 rescored": (2000, 600)}  # fmt: skip


def main(
    model: Annotated[Path, typer.Option(help="A bundle.")],
    table: Annotated[Path, typer.Option(help="Parquet file with its features.")],
    rows: int = 40_000,
    repeats: int = 20,
    share: float = 0.07,
) -> None:
    """Print the root of the mean squared error of the share of buyers lost, by design, over features and samples."""
    torch.set_num_threads(1)
    bundle, frame = load(model), pd.read_parquet(table)
    rng = np.random.default_rng(0)
    drawn = bundle.contract.canonical(frame.iloc[rng.integers(0, len(frame), rows)]).reset_index(drop=True)
    errors: dict[str, list[float]] = {name: [] for name in DESIGNS}
    for feature, night in _nights(drawn, bundle, rng):
        truth = cost_of(bundle, night, [feature], share, rows)[0].recall
        for name, (sample, wanted) in DESIGNS.items():
            for _ in range(repeats):
                some = night.iloc[rng.choice(rows, sample, replace=False)].reset_index(drop=True)
                errors[name].append(cost_of(bundle, some, [feature], share, wanted)[0].recall - truth)
        last = " ".join(f"{np.sqrt(np.mean(np.square(found[-repeats:]))):.4f}" for found in errors.values())
        typer.echo(f"f{feature} truth {truth:.4f}  errors {last}")
    for name, found in errors.items():
        typer.echo(f"{name:<28} error {np.sqrt(np.mean(np.square(found))):.4f} mean {np.mean(found):+.4f}")


def _nights(drawn: pd.DataFrame, bundle: Any, rng: np.random.Generator) -> Iterator[tuple[int, pd.DataFrame]]:
    for i, feature in enumerate(bundle.contract.features):
        values = drawn[f"f{i}"]
        half = rng.random(len(drawn)) < 0.5
        if feature.kind == "category":
            yield i, drawn.assign(**{f"f{i}": values.where(half, "of another source")})
        else:
            noise = values.std() * rng.normal(size=len(drawn))
            yield i, drawn.assign(**{f"f{i}": values * 1.5 + noise})
        yield i, drawn.assign(**{f"f{i}": values.where(half, None if feature.kind == "category" else np.nan)})


if __name__ == "__main__":
    typer.run(main)
