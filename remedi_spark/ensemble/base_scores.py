"""What the fuser reads of the base models: their out-of-fold scores, and how these become relative features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remedi_spark.config import Config
from remedi_spark.ensemble.peers import with_peer_ranks
from remedi_spark.ensemble.relative import Relative
from remedi_spark.errors import InputError, nearest
from remedi_spark.labels.kind import task_of
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GRIDS = "quantile_grids"


def base_scores(workspace: Workspace, config: Config, phase: str) -> DataFrame:
    """Return the base models' out-of-fold scores of a phase, with ranks among peers where these are configured."""
    facts = workspace.models(FINAL).load("phases")
    peers = peer_columns(workspace, config)
    predictions = workspace.read(phase, "oof_predictions")
    if not peers:
        return predictions
    own_test, models = facts["measured_phase"] == FINAL, facts["phases"][phase]["models"]
    return with_peer_ranks(predictions, workspace.tables.read("samples"), models, peers, own_test=own_test)


def relative_of(workspace: Workspace, config: Config, phase: str) -> Relative:
    """Return how the scores of a phase become what its fuser reads."""
    models = workspace.models(FINAL).load("phases")["phases"][phase]["models"]
    store = workspace.models(phase)
    return Relative(models, store.load(GRIDS), task_of(config, store).margin(), config.meta_features.peers)


def peer_columns(workspace: Workspace, config: Config) -> dict[str, str]:
    """Return the column of ``samples`` behind each configured peer.

    Raises:
        InputError: a peer is no feature of the table.
    """
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    for name in config.meta_features.peers:
        if name not in contract.names:
            raise InputError(f"meta_features.peers: no feature {name!r}{nearest(name, contract.names)}")
    return {name: contract.columns[contract.names.index(name)] for name in config.meta_features.peers}
