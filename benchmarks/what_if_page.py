"""How large the what-if page of a wide model is, how long a browser takes for it, and how far its scores are off.

    python benchmarks/what_if_page.py --features 200 --trees 300 --leaves 31 --chromium chromium

Invented owners, a tenth of the features categories of up to 1,000 levels; the model is a LightGBM as the standard
preset's student is. The browser changes each owner's strongest feature in ten ways and is compared with Python.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import typer

from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.report.page.what_if import WhatIf, render_what_if
from remedi_spark.report.what_if_data import compact, page_data, student_trees
from remedi_spark.samples.encoder import Encoder, Levels
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.storage.fitted import Fitted

PROBE = """<script>addEventListener("load", () => {
  const drawn = performance.now(), page = JSON.parse(document.getElementById("what-if-data").textContent);
  const model = student(page), start = performance.now();
  for (let i = 0; i < 20; i += 1) document.getElementById("next").click();
  const owner = (performance.now() - start) / 20;
  const scores = page.owners.map(({ values }) => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((step) => {
    const changed = [...values];
    changed[0] = step / 5;
    return model.score(changed);
  }));
  document.documentElement.innerHTML = `<pre>${JSON.stringify({ drawn, owner, scores })}</pre>`;
});</script></body>"""


def world(rows: int, features: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return invented owners under inside names."""
    found: dict[str, Any] = {}
    for i in range(features):
        if i % 10 == 9:
            found[f"f{i}"] = [f"level {one}" for one in np.minimum(rng.zipf(1.5, rows), 1000)]
        else:
            found[f"f{i}"] = np.where(rng.random(rows) < 0.05, np.nan, rng.gamma(1, 1 + i % 7, rows))
    return pd.DataFrame(found)


def trained(rows: pd.DataFrame, trees: int, leaves: int, rng: np.random.Generator) -> Bundle:
    """Return a bundle whose student has learned a made-up margin."""
    kinds = ["category" if one.dtype == object else "number" for _, one in rows.items()]
    contract = FeatureContract(tuple(Feature(f"feature {i}", kind) for i, kind in enumerate(kinds)))  # type: ignore[arg-type]
    numbers = rows[[f"f{i}" for i in contract.numbers]].fillna(0).to_numpy()
    margin = numbers @ rng.normal(size=numbers.shape[1]) * 0.1 + rng.normal(size=len(rows)) - 4
    levels = {}
    for i in contract.categories:
        counts = rows[f"f{i}"].value_counts()
        sums = pd.Series(margin > -3).groupby(rows[f"f{i}"]).sum()[counts.index]
        levels[i] = Levels(tuple(counts.index), counts.to_numpy(float)[:, None], sums.to_numpy(float)[:, None])
    total = np.array([float(len(rows))])
    encoder = Encoder(contract, levels, total, np.array([float((margin > -3).sum())]), 1, True, 20.0, 28)
    settings = {"verbose": -1, "num_leaves": leaves, "learning_rate": 0.1, "feature_fraction": 0.7, "num_threads": 1}
    text = lightgbm.train(settings, lightgbm.Dataset(encoder.transform(rows), margin), trees).model_to_string()
    students = {"lightgbm": [Fitted("lightgbm", text.encode())]}
    return Bundle(BundleParts(encoder.to_dict(), students, PlattCalibrator(0.9, -0.2).to_dict(), "v1"))


def main(
    features: int = 200, trees: int = 300, leaves: int = 31, rows: int = 20_000, owners: int = 200, chromium: str = ""
) -> None:
    """Print the size of the page and, with a browser, milliseconds and the largest difference of a score."""
    rng = np.random.default_rng(0)
    table = world(rows, features, rng)
    bundle = trained(table, trees, leaves, rng)
    best = table.iloc[np.argsort(-bundle.score(table))[:owners]].reset_index(drop=True)
    data = page_data(bundle, student_trees(bundle), best, [f"owner {i + 1}" for i in range(owners)])
    shown, read = len(data["owners"]), len(data["features"])
    page = render_what_if(WhatIf("invented", "v1", None, rows, shown, features - read, compact(data)))
    typer.echo(f"{read} features read, {shown} owners, {len(page.encode()):,} bytes")
    if chromium:
        found = _browsed(page, chromium)
        first = bundle.contract.names.index(data["features"][0]["name"])
        expected = [bundle.score(best.head(shown).assign(**{f"f{first}": step / 5})) for step in range(10)]
        far = np.abs(np.array(found["scores"]) - np.array(expected).T).max()
        typer.echo(f"drawn {found['drawn']:.0f} ms, another owner {found['owner']:.0f} ms, scores differ by {far:.1e}")


def _browsed(page: str, chromium: str) -> Any:
    probed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", PROBE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(probed, encoding="utf-8")
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
                   "--dump-dom", path.as_uri()]  # fmt: skip
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"<pre>(.*)</pre>", out, re.S)
    assert found is not None
    return json.loads(html.unescape(found.group(1)))


if __name__ == "__main__":
    typer.run(main)
