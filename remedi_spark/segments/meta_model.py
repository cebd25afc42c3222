"""The folder of a meta model: what ``adapt meta-train`` leaves and ``adapt fit`` reads; no pickle in it.

``meta.json``: settings of the inner loop, evidence of the validation segments, segments by role, refused segments, and
the checksums of the files in the folder ``files-…`` that it names: ``contract.json`` and ``encoder.json`` as in any
bundle; ``pooled.pt`` and ``adapted.pt``, the two starts (with the inner rates); ``bayes.json``, basis and prior of the
linear head.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.samples.encoder import Encoder
from remedi_spark.storage.store import digest, parse_json, read_bytes, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from remedi_spark.models.nets.models import FieldNet
    from remedi_spark.segments.maths.arms import Arm, BayesArm, FittedArm, Prior
    from remedi_spark.segments.maths.basis import Basis

STARTS = ("pooled", "adapted")
META = "meta.json"
FILES = ("contract.json", "encoder.json", "bayes.json", *(f"{name}.pt" for name in STARTS))
_FILES = "files"
_OURS = re.compile(rf"{_FILES}-[0-9a-f]{{12}}")


@dataclass(frozen=True)
class MetaBundle:
    """A meta model as plain values: what Spark ships to its tasks."""

    encoder: dict[str, Any]
    starts: dict[str, bytes]
    bayes: dict[str, Any]
    meta: dict[str, Any]

    def save(self, root: Path) -> None:
        """Write the files in a folder of their own, then ``meta.json``, which names it: readers see old or new."""
        trees = {"contract": self.encoder["contract"], "encoder": self.encoder, "bayes": self.bayes}
        files = {f"{name}.json": json.dumps(tree, ensure_ascii=False).encode() for name, tree in trees.items()}
        files |= {f"{name}.pt": payload for name, payload in self.starts.items()}
        digests = {name: digest(content) for name, content in files.items()}
        folder = f"{_FILES}-{digest(json.dumps(digests, sort_keys=True).encode())[:12]}"
        for name, content in files.items():
            write_bytes(root / folder / name, content)
        former = _folder(root)
        write_json(root / META, {**self.meta, "folder": folder, "checksums": digests})
        for one in root.glob(f"{_FILES}-*"):
            if _OURS.fullmatch(one.name) and one.name not in (folder, former):
                shutil.rmtree(one, ignore_errors=True)

    @classmethod
    def load(cls, root: Path) -> MetaBundle:
        """Read the folder.

        Raises:
            InputError: there is none, it is not whole, or a file of it was changed.
        """
        if not (root / META).exists():
            raise InputError(f"--model {root}: no meta.json; expected a folder written by remedi adapt meta-train")
        meta = read_json(root / META)
        found = meta.get("checksums") if isinstance(meta, dict) else None
        folder = meta.get("folder") if isinstance(meta, dict) else None
        if not isinstance(found, dict) or not isinstance(folder, str) or not _OURS.fullmatch(folder):
            raise InputError(
                f"model {root / META}: its checksums do not cover all files, as those of former versions; run remedi"
                " adapt meta-train again"
            )
        contents = {name: read_bytes(root / folder / name) for name in FILES}
        for name, content in contents.items():
            if digest(content) != found.get(name):
                raise InputError(
                    f"model {root / folder / name}: changed since meta-training; restore it or train again"
                )
        encoder, bayes = (parse_json(contents[name], root / folder / name) for name in ("encoder.json", "bayes.json"))
        return cls(encoder, {name: contents[f"{name}.pt"] for name in STARTS}, bayes, meta)

    def open(self) -> OpenMetaModel:
        """Build encoder and net."""
        import torch

        from remedi_spark.models.nets.models import build

        stored = {name: torch.load(io.BytesIO(payload), weights_only=True) for name, payload in self.starts.items()}
        net = build(stored["pooled"]["spec"])
        net.load_state_dict(stored["pooled"]["state"])
        net.eval()
        names = [name for name, _ in net.named_parameters()]
        starts = {name: {key: one["state"][key] for key in names} for name, one in stored.items()}
        rates = stored["adapted"]["rates"]
        return OpenMetaModel(Encoder.from_dict(self.encoder), net, starts, rates, self.bayes, self.meta)


@dataclass(frozen=True)
class OpenMetaModel:
    """A meta model ready to adapt."""

    encoder: Encoder
    net: FieldNet
    starts: dict[str, dict[str, Any]]
    rates: dict[str, Any]
    bayes: dict[str, Any]
    meta: dict[str, Any]

    def arms(self, positives: int) -> dict[str, Arm | BayesArm]:
        """Return the arms of :mod:`remedi_spark.segments.maths.arms` for a support of so many positives."""
        arms: dict[str, Arm | BayesArm] = {**build_arms(self.net, self.starts, self.rates, self.meta)}
        if self.bayes:
            arms |= build_bayes(self.starts["pooled"], self.bayes, self.meta["spec"], positives)
        return arms

    def validated(self, positives: int) -> str:
        """Return the arm that ranked best on the validation segments at the K nearest to ``positives``."""
        found = self.meta.get("default") or best_arms(self.meta["validation"])  # older meta models: evidence alone
        nearest = min(found, key=lambda k: abs(int(k) - positives), default=None)
        return "pooled" if nearest is None else str(found[nearest])

    def priors(self, positives: int) -> dict[str, Prior]:
        """Return the evidence of the validation segments at the K nearest to ``positives``."""
        from remedi_spark.segments.maths.arms import Prior

        by_k = self.meta["validation"]
        nearest = min(by_k, key=lambda k: abs(int(k) - positives), default=None)
        if nearest is None:
            return {}
        return {name: Prior(one["difference"], one["deviation"]) for name, one in by_k[nearest].items()}

    def payload(self, fitted: FittedArm) -> bytes:
        """Return a fitted arm as one net, as a student of a bundle stores it; beside trees, its head alone."""
        spec, state = self.meta["spec"], {**self.net.state_dict(), **fitted.parameters}
        if fitted.trees is not None:
            # A net of zeros gives 0: what is left is the linear term.
            state |= {name: value * 0 for name, value in fitted.parameters.items()}
        if fitted.basis is None or fitted.head is None:
            return pack(spec, state)
        return pack(*with_linear_term(spec, state, fitted.basis, fitted.head))


def _folder(root: Path) -> str | None:
    """Return the folder that the present ``meta.json`` names: whoever has just read it may go on reading."""
    try:
        return str(read_json(root / META)["folder"])
    except (InputError, KeyError, TypeError):
        return None


def best_arms(validation: dict[str, dict[str, dict[str, float]]]) -> dict[str, str]:
    """Return by K the arm with the largest AP on the validation segments; of equal ones the first, ``pooled``."""
    return {k: max(arms, key=lambda name: arms[name]["ap"]) for k, arms in validation.items()}


def build_arms(
    net: Any, starts: dict[str, dict[str, Any]], rates: dict[str, Any], meta: dict[str, Any]
) -> dict[str, Arm]:
    """Return the arms: the starts, the learned inner rates, and the settings in ``meta.json``."""
    import torch

    from remedi_spark.segments.maths.arms import ADAPTED, FINE_TUNED, POOLED, Arm
    from remedi_spark.segments.maths.inner_loop import InnerLoop, layer_names

    tuned = meta["fine_tune"]
    steady = {name: torch.tensor([tuned["rate"]]) for name in layer_names(net, tuned["layers"])}
    return {
        POOLED: Arm(starts["pooled"], {}, InnerLoop(0)),
        FINE_TUNED: Arm(starts["pooled"], steady, InnerLoop(tuned["steps"], tuned["clip"])),
        ADAPTED: Arm(starts["adapted"], rates, InnerLoop(**meta["inner"])),
    }


def build_bayes(
    start: dict[str, Any], bayes: dict[str, Any], spec: dict[str, Any], positives: int
) -> dict[str, BayesArm]:
    """Return the Bayesian arms, each with the scale of its prior that was best at the K nearest to ``positives``."""
    from remedi_spark.models.nets.inputs import InputStats
    from remedi_spark.segments.maths.arms import BAYES, TREES, BayesArm
    from remedi_spark.segments.maths.basis import Basis
    from remedi_spark.segments.maths.gaussian_head import GaussianPrior
    from remedi_spark.segments.maths.trees import Trees

    basis = Basis.from_dict(bayes["basis"], InputStats(**spec["stats"]))

    def prior(head: dict[str, Any]) -> GaussianPrior:
        scale = head["scale"][min(head["scale"], key=lambda k: abs(int(k) - positives))]
        return GaussianPrior.from_dict(head["prior"]).scaled(scale)

    arms = {BAYES: BayesArm(start, basis, prior(bayes))}
    if "trees" in bayes:  # not with adapt.start=pooled, nor in older meta models
        trees = Trees(tuple(bayes["trees"]["texts"]))
        arms[TREES] = BayesArm(start, basis, prior(bayes["trees"]), trees)
    return arms


def with_linear_term(
    spec: dict[str, Any], state: dict[str, Any], basis: Basis, head: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return specification and weights of a net plus a head (1 + dims,) on a basis, as one net."""
    import torch

    inner = {key: value for key, value in spec.items() if key != "stats"}
    scaling = {"mean": basis.columns.mean, "scale": basis.columns.scale}
    whole = {
        "kind": "with_linear_term", "stats": spec["stats"], "net": inner,
        **{name: value.tolist() for name, value in scaling.items()},
    }  # fmt: skip
    weight, bias = basis.as_linear_term(head)
    term = {"weight": torch.from_numpy(weight), "bias": torch.tensor(bias, dtype=torch.float64)}
    columns = {f"columns.{name}": value for name, value in scaling.items()}
    return whole, {**{f"net.{name}": value for name, value in state.items()}, **columns, **term}


def pack(spec: dict[str, Any], state: dict[str, Any], rates: dict[str, Any] | None = None) -> bytes:
    """Return a net's specification and weights (and inner rates) as bytes, in the form of a student's net."""
    import torch

    stored = io.BytesIO()
    torch.save({"spec": spec, "state": state, "rates": rates or {}, "curve": [], "pool": True}, stored)
    return stored.getvalue()
