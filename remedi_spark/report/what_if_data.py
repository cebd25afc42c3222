"""What the what-if page computes with: the student as trees, its features, and some owners; plain values for JSON.

The page encodes a row as :class:`~remedi_spark.samples.encoder.Encoder` does, asks the trees, and calibrates. Whatever
needs more than a comparison or a sum (target encodings, frequencies) is looked up in tables that are computed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import ISOTONIC_SLOPE
from remedi_spark.maths.label_scale import LARGEST_ANGLE
from remedi_spark.models.registry import page_trees
from remedi_spark.samples.encoder import NULL_LEVEL
from remedi_spark.samples.layout import LARGEST as LARGEST_RATIO
from remedi_spark.samples.layout import LEAST
from remedi_spark.scoring.usual import usual_values

if TYPE_CHECKING:
    from remedi_spark.scoring.bundle import Bundle
    from remedi_spark.storage.fitted import Fitted

LEVELS = 200
"""Levels of a category that the page offers, the most frequent ones, beside those of its owners."""
LARGEST = 2_900_000
"""Bytes that the data may take; the page around them takes less than 100,000."""
Tree = dict[str, Any]


def compact(tree: Any) -> str:
    """Return JSON without spaces."""
    return json.dumps(tree, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def student_trees(bundle: Bundle) -> list[Tree]:
    """Return the models of the student as trees.

    Raises:
        InputError: a part of it is no sum of trees.
    """
    return [
        _model(bundle, name, fold, one)
        for name, folds in bundle.parts.students.items()
        for fold, one in enumerate(folds)
    ]


def page_data(bundle: Bundle, models: Sequence[Tree], canonical: pd.DataFrame, names: Sequence[str]) -> Tree:
    """Return what the page needs, with as many of the owners as it has room for.

    Args:
        bundle: the model.
        models: its :func:`student_trees`.
        canonical: rows under inside names, best first.
        names: what to call each.

    Raises:
        InputError: the model is too large for a page.
    """
    read = _read(bundle, models)
    features = [_feature(bundle, i, canonical[f"f{i}"]) for i in read]
    calibration = {name: _or_null(value) for name, value in bundle.calibrator.to_dict().items()}
    found: Tree = {
        "models": [*models], "features": features, "made": _made(bundle, models), "calibration": calibration,
        "rising": ISOTONIC_SLOPE, "angle": LARGEST_ANGLE, "least": LEAST, "largest": LARGEST_RATIO, "owners": [],
    }  # fmt: skip
    room = LARGEST - len(compact(found).encode())
    if room < 0:
        many = sum(len(one["trees"]) for one in models)
        raise InputError(
            f"--what-if: the model's {many} trees and tables take {(LARGEST - room) / 1e6:.1f} MB, expected a page of"
            " at most 3 MB; train a student of fewer trees or leaves (student.models)"
        )
    columns = [_stored(one, canonical[f"f{i}"]) for one, i in zip(features, read, strict=True)]
    scores = bundle.score(canonical).tolist()
    for name, score, *values in zip(names, scores, *columns, strict=True):
        owner = {"name": name, "score": score, "values": values}
        room -= len(compact(owner).encode()) + 1
        if room < 0:
            break
        found["owners"].append(owner)
    return found


def _model(bundle: Bundle, name: str, fold: int, fitted: Fitted) -> Tree:
    trees = None if "label_scale" in fitted.info else page_trees(fitted)
    if trees is None:
        kinds = ", ".join(f"{one} ({folds[0].kind})" for one, folds in bundle.parts.students.items())
        raise InputError(
            f"--what-if: found a student of {kinds}, expected one of boosted trees alone, for no page can ask a model"
            f" like {name}; train with --set student.kind=distilled and a catboost, lightgbm or xgboost student"
        )
    return {
        "fold": fold if len(bundle.left_out) > 1 else 0, "slope": fitted.slope, "shift": fitted.shift,
        "start": trees.start, "single": bool(trees.dtype == np.float32), "trees": trees.to_trees(),
    }  # fmt: skip


def _read(bundle: Bundle, models: Sequence[Tree]) -> list[int]:
    """Return the features that any tree reads, by themselves or in what is made of them."""
    slots, asked = bundle.encoder.layout.slots, _asked(models)
    parts = {slot for place in asked if (made := slots[place].made) for slot in made[1:]}
    return sorted({slots[slot].feature for slot in asked | parts})


def _made(bundle: Bundle, models: Sequence[Tree]) -> list[list[Any]]:
    """Return what is made of two numbers, as far as any tree reads it: slot, operation, and their slots."""
    slots = bundle.encoder.layout.slots
    return [[place, *made] for place in sorted(_asked(models)) if (made := slots[place].made)]


def _asked(models: Sequence[Tree]) -> set[int]:
    """Return the slots that any tree asks."""
    return {
        slot
        for model in models
        for tree in model["trees"]
        for slot, ask in zip(tree["slot"], tree["ask"], strict=True)
        if ask
    }


def _feature(bundle: Bundle, i: int, values: pd.Series[Any]) -> Tree:
    encoder = bundle.encoder
    feature, usual = encoder.contract.features[i], usual_values(encoder, bundle.parts.distribution)[i]
    slots = {slot.kind: place for place, slot in enumerate(encoder.layout.slots)
             if slot.feature == i and slot.made is None}  # fmt: skip
    found: Tree = {"name": feature.name, "kind": feature.kind, "slots": slots, "known": usual.known}
    if feature.kind == "category":
        levels = _levels(bundle, i, values)
        place = levels["names"].index(usual.value) if usual.known else None
        return {**found, "levels": levels, "usual": place}
    grid, owners = _grid(bundle, i, values), values.dropna()
    whole = feature.kind == "date" or bool((owners == owners.round()).all())
    return {**found, "usual": _or_null(usual.value), "grid": grid, "whole": whole}


def _grid(bundle: Bundle, i: int, values: pd.Series[Any]) -> list[float]:
    """Return values between which the page draws, in order: the training rows' quantiles and the owners' range."""
    owners = values.to_numpy(dtype=np.float64)
    owners = owners[np.isfinite(owners)]
    distribution = bundle.parts.distribution
    edges = [] if distribution is None else distribution["edges"][i]
    if not len(edges) and len(owners):
        edges = np.quantile(owners, np.linspace(0, 1, 11), method="nearest").tolist()
    ends = [owners.min(), owners.max()] if len(owners) else []
    return sorted({float(one) for one in (*edges, *ends)})


def _levels(bundle: Bundle, i: int, values: pd.Series[Any]) -> Tree:
    """Return the levels that the page offers: what stands in the slots for each; name null: missing, false: unseen."""
    encoder = bundle.encoder
    levels = encoder.levels[i]
    own = [value for value in pd.unique(values) if pd.notna(value)]
    frequent = [name for name in levels.names[:LEVELS] if name != NULL_LEVEL]
    names: list[str | None] = [*dict.fromkeys((*frequent, *own)), None]
    places = levels.positions(pd.Series(names, dtype=object))
    places = np.append(places, len(levels.names))
    return {
        "names": [*names, False], "code": places.tolist(), "frequency": encoder.frequency(i)[places].tolist(),
        "target": [encoder.encodings(i, fold)[places, -1].tolist() for fold in bundle.left_out],
    }  # fmt: skip


def _stored(feature: Tree, values: pd.Series[Any]) -> list[Any]:
    """Return a column as the page keeps it: numbers, null; for a category the places of its levels."""
    if feature["kind"] != "category":
        return [_or_null(value) for value in values.to_numpy(dtype=np.float64).tolist()]
    place = {name: at for at, name in enumerate(feature["levels"]["names"])}
    return [place[None if pd.isna(value) else value] for value in values]


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
