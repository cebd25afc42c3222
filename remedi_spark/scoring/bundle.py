"""A loaded bundle: raw features in, score out (a calibrated probability, or an amount), without Spark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.maths.label_scale import LabelScale, ScoreMap, score_map_from_dict
from remedi_spark.models.contract import Array, Predictor
from remedi_spark.models.predictors import load_predictor
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.scoring.reasons import Explainer, Reason
from remedi_spark.scoring.wording import Wording
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.home import published_at
from remedi_spark.storage.manifest import (
    ESTIMATED_WITH,
    EXPLAINED_WITH,
    MANIFEST,
    MONITORED_WITH,
    Sealed,
    read_sealed,
    write_manifest,
)
from remedi_spark.storage.store import ModelStore

__all__ = ["MANIFEST", "Bundle", "BundleParts", "load", "load_parts", "load_students", "write_manifest"]


@dataclass(frozen=True)
class BundleParts:
    """Everything a score needs, as plain values: what Spark broadcasts to its tasks."""

    encoder: dict[str, Any]
    students: dict[str, list[Fitted]]
    calibration: dict[str, Any]
    model_version: str
    distribution: dict[str, Any] | None = None
    """Of the training rows and their scores; None in a bundle of a version that kept none."""
    phrases: dict[str, dict[str, str]] = field(default_factory=dict)
    """By feature that stage 1 built, how a reason says it."""
    holdout: dict[str, Any] | None = None
    """How probabilities turned out on test rows; None in a bundle that kept none."""

    @property
    def binary(self) -> bool:
        """Whether scores are probabilities."""
        return self.calibration.get("kind") != LabelScale.kind


class Bundle:
    """A student ready to score.

    Example:
        >>> bundle = remedi_spark.load("model")            # doctest: +SKIP
        >>> frame.assign(score=bundle.predict(frame))      # doctest: +SKIP
    """

    def __init__(self, parts: BundleParts) -> None:
        self.parts = parts

    @cached_property
    def encoder(self) -> Encoder:
        """The fitted encoder."""
        return Encoder.from_dict(self.parts.encoder)

    @property
    def contract(self) -> FeatureContract:
        """The input columns, by the user's names."""
        return self.encoder.contract

    @property
    def model_version(self) -> str:
        """Hash of all that a score depends on."""
        return self.parts.model_version

    @cached_property
    def calibrator(self) -> ScoreMap:
        """From margin to score: a probability, or in a regression an amount."""
        return score_map_from_dict(self.parts.calibration)

    @cached_property
    def predictors(self) -> dict[str, list[Predictor]]:
        """By student model, one predictor a fold; or one."""
        return {name: [load_predictor(one) for one in folds] for name, folds in self.parts.students.items()}

    @cached_property
    def left_out(self) -> list[int | None]:
        """The fold that each model of a student never saw; None: it saw all."""
        models, folds = len(next(iter(self.parts.students.values()))), self.encoder.folds
        return [None] if models < folds else list(range(folds))

    @cached_property
    def wording(self) -> Wording:
        """Says the values of features in words."""
        return Wording(self.encoder, self.parts.distribution, self.parts.phrases)

    @cached_property
    def explainer(self) -> Explainer:
        """Says what features contribute to a score."""
        return Explainer(self)

    def predict(self, frame: pd.DataFrame) -> Array:
        """Return the score of each row, shape (rows,): a calibrated probability in [0, 1], or the predicted amount.

        Args:
            frame: the feature columns by the user's names, in any order; other columns are ignored.

        Raises:
            InputError: a feature is missing or of another type than in training.
        """
        return self.score(self.contract.canonical(frame))

    def score(self, canonical: pd.DataFrame) -> Array:
        """Return the score of rows under inside names ``f0 … fn``."""
        return np.asarray(self.calibrator(self.margin(canonical)), dtype=np.float64)

    def margin(self, canonical: pd.DataFrame) -> Array:
        """Return the mean margin of the student's models, shape (rows,)."""
        total = np.zeros(len(canonical))
        for i, fold in enumerate(self.left_out):
            x = self.encoder.transform(canonical, leave_out=fold)
            for models in self.predictors.values():
                total += models[i](x)
        return total / (len(self.left_out) * len(self.predictors))

    def explain(self, canonical: pd.DataFrame, top: int, scores: Array | None = None) -> list[list[Reason]]:
        """Return the ``top`` strongest features of each row; see :mod:`remedi_spark.scoring.reasons`.

        Args:
            canonical: rows under inside names.
            top: reasons a row, at most.
            scores: of the rows, shape (rows,), from :meth:`score`; None: they are computed here.
        """
        return self.explainer.reasons(canonical, top, scores)


def load(path: str | Path) -> Bundle:
    """Load a bundle written by ``remedi train`` or ``remedi run``; needs no Spark and executes no code from it.

    Args:
        path: its folder, or its address such as ``s3a://bucket/model``.

    Raises:
        InputError: there is no bundle, or a file of it was changed since training.
    """
    return Bundle(load_parts(path))


def load_parts(root: str | Path, what: str = "model") -> BundleParts:
    """Read a bundle's scoring parts and check them against the manifest.

    Every file is read once: what is parsed are the very bytes whose checksum was compared. The manifest names the
    folder of its version, which nothing is written to any more: a training beside it changes nothing here.

    Raises:
        InputError: there is no bundle, it is not whole, or a file of it was changed since training.
    """
    home = published_at(root, what)
    with home.named():
        return read_sealed(home.folder, _parts)


def _parts(sealed: Sealed) -> BundleParts:
    manifest = sealed.manifest
    phrases = sealed.json(EXPLAINED_WITH[0]) if EXPLAINED_WITH[0] in manifest.files else {}
    monitored = set(MONITORED_WITH) <= set(manifest.files)
    return BundleParts(
        sealed.json("encoder.json"),
        {name: [sealed.fitted(name, fold) for fold in range(manifest.folds)] for name in manifest.students},
        sealed.json("calibration.json"),
        manifest.model_version,
        {key: value for name in MONITORED_WITH for key, value in sealed.json(name).items()} if monitored else None,
        dict(phrases),
        sealed.json(ESTIMATED_WITH[0]) if ESTIMATED_WITH[0] in manifest.files else None,
    )


def load_students(store: ModelStore, names: Iterable[str], folds: int) -> dict[str, list[Fitted]]:
    """Return the fitted students by name, one a fold."""
    return {name: [store.load_fitted("student", name, f"fold_{k}") for k in range(folds)] for name in names}
