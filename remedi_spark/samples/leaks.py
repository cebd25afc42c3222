"""Features that give the label away, or that name rows: what makes a model look good and fail at work.

One task looks at a bounded sample of labelled rows, chosen by hash, and gives back one line a feature that stands out:
no row reaches the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import functions as F
from scipy.stats import rankdata

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.spark.partitions import uniform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Array = npt.NDArray[np.float64]

TOO_GOOD = 0.99
"""AUC (of amounts: rank correlation) of one feature by itself above which it is hardly honest."""
ROWS, CELLS = 20_000, 4_000_000
"""Rows, and numbers (rows x features), that are looked at."""
FEWEST = 8
"""Rows of each label, below which nothing is said."""
FEWEST_IDS, SURE_IDS = 100, 1000
"""Owners that it takes to call text, or whole numbers far apart, an identifier."""
DENSE = 0.2
"""Rows a unit of a number's range above which whole numbers that never repeat are a count of the rows."""
NEARLY = 0.9
_BINS = 50
_SCHEMA = "feature int, kind string, value double"


class _Rows(NamedTuple):
    label: Array
    owner: npt.NDArray[np.int64]
    binary: bool
    total: int


def find_leaks(rows: DataFrame, contract: FeatureContract, *, labelled: int, positives: int, binary: bool) -> list[str]:
    """Return one sentence for each feature that looks like the label or like an identifier.

    Args:
        rows: ``owner_id``, ``label`` and ``f0 … fn``, checked.
        contract: whose names the sentences use.
        labelled: rows with a label.
        positives: rows whose label is 1.
        binary: labels are 0 or 1.
    """
    columns = contract.columns
    most = max(1000, min(ROWS, CELLS // max(1, len(columns))))
    chosen = rows.where(F.col(LABEL).isNotNull() & (uniform(OWNER, 7) < _share(most, labelled, positives, binary)))
    owner = F.xxhash64(F.col(OWNER).cast("string")).alias(OWNER)
    categories = set(contract.categories)

    def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_batches(list(batches))
        found = _look(table, columns, categories, binary, labelled) if table.num_rows else []
        names, kinds, values = zip(*found, strict=True) if found else ((), (), ())
        yield pa.RecordBatch.from_arrays(
            [pa.array(names, pa.int32()), pa.array(kinds, pa.string()), pa.array(values, pa.float64())],
            ["feature", "kind", "value"],
        )

    seen = chosen.select(owner, LABEL, *columns).repartition(1).mapInArrow(look, _SCHEMA)  # type: ignore[arg-type]
    found = sorted((row["feature"], row["kind"], row["value"]) for row in seen.collect())
    return [_sentence(contract.names[feature], kind, value) for feature, kind, value in found]


def _share(most: int, labelled: int, positives: int, binary: bool) -> Any:
    """Return the share of the rows that is looked at; as many of either label, where there are labels."""
    if not binary:
        return F.lit(most / max(1, labelled))
    of_others = F.lit(most / 2 / max(1, labelled - positives))
    return F.when(F.col(LABEL) > 0, F.lit(most / 2 / max(1, positives))).otherwise(of_others)


def _sentence(name: str, kind: str, value: float) -> str:
    if kind == "id":
        return f"feature {name!r} has a value of its own for nearly every owner, like an identifier; leave it out"
    what = f"feature {name!r} by itself" if kind == "label" else f"whether feature {name!r} is missing by itself"
    return f"{what} tells the label ({value:.3f} of 1); is it known before the label is? if not, leave it out"


def _look(
    table: pa.Table, columns: list[str], categories: set[int], binary: bool, total: int
) -> list[tuple[int, str, float]]:
    known = _Rows(table[LABEL].to_numpy(), table[OWNER].to_numpy(), binary, total)
    enough = min((known.label > 0).sum(), (known.label <= 0).sum()) >= FEWEST if binary else len(known.label) > SURE_IDS
    found: list[tuple[int, str, float]] = []
    for i, name in enumerate(columns):
        values, missing = _values(table[name], i in categories)
        if _names_rows(values, missing, known, text=i in categories):
            found.append((i, "id", 1.0))
            continue
        if not enough:
            continue
        alone = _own(missing.astype(np.float64), known)
        if alone > TOO_GOOD:
            found.append((i, "missing", alone))
            continue
        value = _power(values, missing, known, text=i in categories)
        if value > TOO_GOOD:
            found.append((i, "label", value))
    return found


def _values(column: pa.ChunkedArray, text: bool) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return a column as numbers (the codes of texts), and where it is null."""
    if text:
        codes = column.combine_chunks().dictionary_encode()
        codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
        numbers = codes.indices.to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        numbers = column.to_numpy().astype(np.float64)
    return numbers, np.isnan(numbers)


def _names_rows(values: Array, missing: npt.NDArray[np.bool_], rows: _Rows, *, text: bool) -> bool:
    """Whether every owner has a value, and (nearly) no two the same one."""
    known, owner = values[~missing], rows.owner[~missing]
    owners = len(np.unique(owner))
    if owners < FEWEST_IDS or (not text and (known != np.floor(known)).any()):
        return False
    distinct = len(np.unique(known))
    pairs = len(np.unique(np.column_stack([known, owner.view(np.float64)]), axis=0))
    if text:
        return distinct >= NEARLY * owners and pairs * NEARLY <= owners
    if not distinct == pairs == owners:
        return False
    return owners >= SURE_IDS or rows.total / (known.max() - known.min() + 1) >= DENSE


def _power(values: Array, missing: npt.NDArray[np.bool_], rows: _Rows, *, text: bool) -> float:
    """Return how well one feature tells the label: in its order, or by the labels of its levels in other rows."""
    if not text and not rows.binary:
        half = (~missing).sum() * 2 >= len(values)
        return _own(values[~missing], rows._replace(label=rows.label[~missing])) if half else 0.0
    ordered = 0.0
    if not text:
        lowest, highest = (np.where(missing, edge, values) for edge in (-np.inf, np.inf))
        ordered = max(_own(lowest, rows), _own(highest, rows))
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS))) if not missing.all() else np.zeros(1)
        values = np.searchsorted(edges, values).astype(np.float64)
    return max(ordered, _own(_level_means(np.where(missing, -1, values), rows), rows))


def _own(scores: Array, rows: _Rows) -> float:
    """Return AUC in the better direction, or of amounts the size of the rank correlation."""
    ranks = rankdata(scores)
    if rows.binary:
        positive = rows.label > 0
        n, p = len(ranks), int(positive.sum())
        area = (ranks[positive].sum() - p * (p + 1) / 2) / (p * (n - p))
        return float(max(area, 1 - area))
    labels = rankdata(rows.label)
    if np.ptp(ranks) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(abs(np.corrcoef(ranks, labels)[0, 1]))


def _level_means(levels: Array, rows: _Rows) -> Array:
    """Return for each row the mean label of its level among the other half of the owners."""
    places = np.unique(levels, return_inverse=True)[1]
    half, mean = rows.owner % 2 == 0, rows.label.mean()
    scores = np.empty(len(levels))
    for side in (half, ~half):
        count = np.bincount(places[~side], minlength=places.max() + 1)
        total = np.bincount(places[~side], weights=rows.label[~side], minlength=places.max() + 1)
        scores[side] = ((total + mean) / (count + 1))[places[side]]
    return scores
