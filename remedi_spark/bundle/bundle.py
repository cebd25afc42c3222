"""A loaded bundle: raw features in, score out (a calibrated probability, or an amount), without Spark."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from remedi_spark.bundle.reasons import Explainer, Reason
from remedi_spark.bundle.store import ModelStore, checksums, read_bytes, read_json, write_json
from remedi_spark.bundle.wording import Wording
from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.errors import InputError
from remedi_spark.learners.contract import Array, Fitted, Predictor
from remedi_spark.learners.predictors import load_predictor
from remedi_spark.metrics.label_scale import ScoreMap, score_map_from_dict

MANIFEST = "manifest.json"
SCORED_WITH = ("contract.json", "encoder.json", "calibration.json", "student")
"""What a score depends on; everything else in a bundle is for people and for retraining."""
MONITORED_WITH = ("distribution.json", "score_distribution.json")
"""What scored rows are compared with; sealed too, but no part of the model's version."""
EXPLAINED_WITH = ("dictionary.json",)
"""How reasons say the features; sealed likewise."""


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
        """By student model, one predictor a fold."""
        return {name: [load_predictor(one) for one in folds] for name, folds in self.parts.students.items()}

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
        """Return the mean margin of the student's models and folds, shape (rows,)."""
        total = np.zeros(len(canonical))
        for fold in range(self.encoder.folds):
            x = self.encoder.transform(canonical, leave_out=fold)
            for folds in self.predictors.values():
                total += folds[fold](x)
        return total / (self.encoder.folds * len(self.predictors))

    def explain(self, canonical: pd.DataFrame, top: int, scores: Array | None = None) -> list[list[Reason]]:
        """Return the ``top`` strongest features of each row; see :mod:`remedi_spark.bundle.reasons`.

        Args:
            canonical: rows under inside names.
            top: reasons a row, at most.
            scores: of the rows, shape (rows,), from :meth:`score`; None: they are computed here.
        """
        return self.explainer.reasons(canonical, top, scores)


def load(path: str | Path) -> Bundle:
    """Load a bundle written by ``remedi train`` or ``remedi run``; needs no Spark and executes no code from it.

    Raises:
        InputError: there is no bundle, or a file of it was changed since training.
    """
    return Bundle(load_parts(Path(path)))


def load_parts(root: Path) -> BundleParts:
    """Read a bundle's scoring parts and check them against the manifest.

    Raises:
        InputError: there is no bundle, it is not whole, or a file of it was changed since training.
    """
    manifest = _manifest(root)
    files: dict[str, str] = manifest["files"]
    for name, digest in files.items():
        if hashlib.sha256(read_bytes(root / name)).hexdigest() != digest:
            raise InputError(
                f"model {root / name}: changed since training (checksum differs); restore it or train again"
            )
    store = ModelStore(root)
    return BundleParts(
        store.load("encoder"),
        load_students(store, manifest["students"], manifest["folds"]),
        store.load("calibration"),
        manifest["model_version"],
        _distribution(root, files),
        {name: phrase for part in EXPLAINED_WITH if part in files for name, phrase in read_json(root / part).items()},
    )


def load_students(store: ModelStore, names: Iterable[str], folds: int) -> dict[str, list[Fitted]]:
    """Return the fitted students by name, one a fold."""
    return {name: [store.load_fitted("student", name, f"fold_{k}") for k in range(folds)] for name in names}


def _manifest(root: Path) -> dict[str, Any]:
    """Read the manifest; refuse one that is not ours, or does not seal all that is loaded."""
    manifest = read_json(root / MANIFEST)
    where = f"model {root / MANIFEST}"
    expected = "expected the manifest of a bundle written by remedi train or remedi run"
    if not isinstance(manifest, dict) or not {"model_version", "students", "folds", "files"} <= set(manifest):
        raise InputError(f"{where}: not a model's manifest; {expected}")
    loaded = [f"student/{name}/fold_{k}.json" for name in manifest["students"] for k in range(manifest["folds"])]
    for name in ("contract.json", "encoder.json", "calibration.json", *loaded):
        if name not in manifest["files"]:
            raise InputError(f"{where}: has no checksum of {name}; {expected}")
    if _version(manifest["files"]) != manifest["model_version"]:
        raise InputError(f"{where}: its checksums are not those of version {manifest['model_version']}; {expected}")
    return manifest


def _distribution(root: Path, files: dict[str, str]) -> dict[str, Any] | None:
    if not set(MONITORED_WITH) <= set(files):
        return None
    return {key: value for name in MONITORED_WITH for key, value in read_json(root / name).items()}


def write_manifest(root: Path, *, students: list[str], folds: int) -> str:
    """Seal a bundle: list the files a score depends on with their checksums; return the model version."""
    patterns = [f"{part}/**/*.*" if (root / part).is_dir() else part for part in SCORED_WITH]
    files = checksums(root, [*patterns, *MONITORED_WITH, *EXPLAINED_WITH])
    version = _version(files)
    write_json(root / MANIFEST, {"model_version": version, "students": students, "folds": folds, "files": files})
    return version


def _version(files: dict[str, str]) -> str:
    """Return the hash of what scores depend on."""
    beside = (*MONITORED_WITH, *EXPLAINED_WITH)
    scored = sorted((name, digest) for name, digest in files.items() if name not in beside)
    return hashlib.sha256("".join(f"{name}{digest}" for name, digest in scored).encode()).hexdigest()[:12]
