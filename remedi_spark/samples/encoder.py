"""The fitted encoder: levels of the categorical features and their label statistics by fold.

Target encodings are cross-fitted from one table of sums by (level, fold). With S the sum over all folds, a model that
leaves fold k out reads, for a training row of fold j, the sums S - S_k - S_j (never the row's own label, nor an owner
of fold k), and for a row it never saw S - S_k. The model of all folds reads S of every row: it learns what a teacher
says of a training row without that row's label, and S - S_j would tell it folds, and so teachers, apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from remedi_spark.samples.layout import Layout, Made, Slot
from remedi_spark.samples.schema import FeatureContract

Array = npt.NDArray[np.float64]
NULL_LEVEL = "\0null"
"""Null is a level of its own: that a value is missing often tells something."""


@dataclass(frozen=True)
class Levels:
    """Levels of one categorical feature, most frequent first.

    ``rows`` and ``sums`` have shape (levels, folds): training rows and sum of their labels, by fold.
    """

    names: tuple[str, ...]
    rows: Array
    sums: Array

    @cached_property
    def index(self) -> pd.Index[Any]:
        """Lookup from level to position."""
        return pd.Index(self.names, dtype=object)

    def positions(self, values: pd.Series[Any]) -> npt.NDArray[np.intp]:
        """Return the position of each value; ``len(names)`` for unseen levels."""
        found = self.index.get_indexer(pd.Index(values.where(values.notna(), NULL_LEVEL), dtype=object))
        return np.where(found < 0, len(self.names), found)


@dataclass(frozen=True)
class Encoder:
    """Turns ``f0 … fn`` into the numbers of :class:`Layout`.

    Attributes:
        contract: the input columns.
        levels: per categorical feature (position -> levels).
        folds: number of folds K.
        binary: whether the label is 0/1 (target encodings are log-odds) or continuous (means).
        smoothing: rows' worth of prior in a target encoding.
        max_codes: columns with more levels get no ``code`` slot.
        passing: categorical features that are not read because their levels come and go, each with the share of late
            training rows whose levels the earlier ones lack.
        made: what is made of two numbers each, by their slots. It counts for the feature of the first.
    """

    contract: FeatureContract
    levels: dict[int, Levels]
    label_rows: Array
    label_sums: Array
    folds: int
    binary: bool
    smoothing: float
    max_codes: int
    passing: dict[int, float] = field(default_factory=dict)
    made: tuple[Made, ...] = ()

    @cached_property
    def layout(self) -> Layout:
        """The slots of an encoded row."""
        numbers = [Slot(i, "number") for i in self.contract.numbers]
        codes = [Slot(i, "code", len(self.levels[i].names) + 1) for i in self.coded]
        frequencies = [Slot(i, "frequency") for i in self.contract.categories]
        targets = [Slot(i, "target") for i in self.contract.categories]
        made = [Slot(self.contract.numbers[one.first], "made", made=one) for one in self.made]
        return Layout((*numbers, *codes, *frequencies, *made, *targets))

    @property
    def coded(self) -> list[int]:
        """Categorical features with few enough levels for a code of their own."""
        return [i for i in self.contract.categories if len(self.levels[i].names) <= self.max_codes]

    @property
    def names_made(self) -> list[str]:
        """What is made of two numbers, in the user's names."""
        names, signs = [self.contract.names[i] for i in self.contract.numbers], {"difference": "-", "ratio": "/"}
        return [f"{names[a]} {signs[how]} {names[b]}" for how, a, b in self.made]

    def positions(self, frame: pd.DataFrame) -> dict[int, npt.NDArray[np.intp]]:
        """Return each categorical value's position among its levels."""
        return {i: self.levels[i].positions(frame[f"f{i}"]) for i in self.contract.categories}

    def fixed(self, frame: pd.DataFrame, positions: dict[int, npt.NDArray[np.intp]]) -> Array:
        """Return the slots that no label enters, shape (rows, layout.fixed)."""
        numbers = [frame[f"f{i}"].to_numpy(dtype=np.float64) for i in self.contract.numbers]
        codes = [positions[i].astype(np.float64) for i in self.coded]
        frequencies = [self.frequency(i)[positions[i]] for i in self.contract.categories]
        made = [one.of(numbers[one.first], numbers[one.second]) for one in self.made]
        columns = [*numbers, *codes, *frequencies, *made]
        return np.column_stack(columns) if columns else np.empty((len(frame), 0))

    def targets(self, positions: dict[int, npt.NDArray[np.intp]], leave_out: int | None, own: Any = None) -> Array:
        """Return target encodings, shape (rows, categorical features).

        Args:
            positions: from :meth:`positions`.
            leave_out: the fold whose owners the model never sees; None: none.
            own: fold of each row, shape (rows,), for rows the model is trained on: their fold's sums are taken away
                too where a fold is left out. A fold below zero (an unlabelled or test row) takes nothing away.
        """
        some = next(iter(positions.values()), None)
        if some is None:
            return np.empty((0, 0))
        alike = own is None or leave_out is None
        own = np.full(len(some), -1) if alike else np.where(np.asarray(own) == leave_out, -1, own)
        columns = [self.encodings(i, leave_out)[positions[i], own] for i in self.contract.categories]
        return np.column_stack(columns)

    def transform(self, frame: pd.DataFrame, leave_out: int | None = None) -> Array:
        """Encode unseen rows of ``f0 … fn`` for the model that left out a fold, shape (rows, layout.width)."""
        positions = self.positions(frame)
        fixed = self.fixed(frame, positions)
        return np.hstack([fixed, self.targets(positions, leave_out)]) if positions else fixed

    def write(self, x: Array, feature: int, values: npt.NDArray[Any], leave_out: int | None = None) -> None:
        """Write other values of one feature, shape (rows,), into rows that :meth:`transform` has encoded."""
        slots = {slot.kind: place for place, slot in enumerate(self.layout.slots) if slot.feature == feature}
        if feature not in self.levels:
            x[:, slots["number"]] = values
            self.layout.make(x)
            return
        positions = self.levels[feature].positions(pd.Series(values, dtype=object))
        if "code" in slots:
            x[:, slots["code"]] = positions
        x[:, slots["frequency"]] = self.frequency(feature)[positions]
        x[:, slots["target"]] = self.encodings(feature, leave_out)[positions, -1]

    def frequency(self, feature: int) -> Array:
        """Return ln(1 + rows) by level, shape (levels + 1,); last for unseen ones: 0."""
        return np.append(np.log1p(self.levels[feature].rows.sum(axis=1)), 0.0)

    def encodings(self, feature: int, leave_out: int | None) -> Array:
        """Return the encoding by (level, own fold), shape (levels + 1, folds + 1); last column: nothing taken away."""
        levels = self.levels[feature]
        rows = np.vstack([levels.rows, np.zeros(self.folds)])
        sums = np.vstack([levels.sums, np.zeros(self.folds)])
        rows, total_rows = _without(rows, leave_out), _without(self.label_rows[None, :], leave_out)
        sums, total_sums = _without(sums, leave_out), _without(self.label_sums[None, :], leave_out)
        prior = total_sums / np.maximum(total_rows, 1e-12)
        mean = (sums + self.smoothing * prior) / (rows + self.smoothing)
        if not self.binary:
            return mean
        mean = np.clip(mean, 1e-6, 1 - 1e-6)
        return np.log(mean) - np.log1p(-mean)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        levels = {
            str(i): {"names": list(level.names), "rows": level.rows.tolist(), "sums": level.sums.tolist()}
            for i, level in self.levels.items()
        }
        return {
            "contract": self.contract.to_dict(),
            "levels": levels,
            "label_rows": self.label_rows.tolist(),
            "label_sums": self.label_sums.tolist(),
            "folds": self.folds,
            "binary": self.binary,
            "smoothing": self.smoothing,
            "max_codes": self.max_codes,
            "passing": {str(i): share for i, share in self.passing.items()},
            "made": [list(one) for one in self.made],
        }

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Encoder:
        """Rebuild from :meth:`to_dict`."""
        folds = tree["folds"]
        levels = {
            int(i): Levels(tuple(level["names"]), _matrix(level["rows"], folds), _matrix(level["sums"], folds))
            for i, level in tree["levels"].items()
        }
        return cls(
            FeatureContract.from_dict(tree["contract"]),
            levels,
            np.asarray(tree["label_rows"], dtype=np.float64),
            np.asarray(tree["label_sums"], dtype=np.float64),
            folds,
            tree["binary"],
            tree["smoothing"],
            tree["max_codes"],
            {int(i): share for i, share in tree.get("passing", {}).items()},
            tuple(Made(*one) for one in tree.get("made", ())),
        )


def _without(by_fold: Array, leave_out: int | None) -> Array:
    """Sum over the folds, less one fold and, per column, less the row's own fold; last column: own fold kept."""
    total = by_fold.sum(axis=1, keepdims=True)
    if leave_out is not None:
        total = total - by_fold[:, [leave_out]]
        by_fold = np.where(np.arange(by_fold.shape[1]) == leave_out, 0.0, by_fold)  # it is out already
    return np.hstack([total - by_fold, total])


def _matrix(values: Any, folds: int) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1, folds)
