"""Where a run works: open tables and bundle, hold them while they change, publish what has been made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from remedi_spark.config import Config
from remedi_spark.config.loading import validate
from remedi_spark.doctor import preflight
from remedi_spark.errors import InputError
from remedi_spark.progress import side_work
from remedi_spark.reading.paths import is_remote
from remedi_spark.redaction import without_secrets
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.session import get_session
from remedi_spark.storage.home import Home, home_at, open_home
from remedi_spark.storage.lease import Lease, leased
from remedi_spark.storage.manifest import MANIFEST, read_manifest
from remedi_spark.storage.places import local_name, on_cluster, require_reached, require_shared
from remedi_spark.storage.publish import WORK, published_folder
from remedi_spark.storage.store import make_folder
from remedi_spark.storage.tables import Tables, is_catalog_name
from remedi_spark.storage.workspace import Workspace

_leases: dict[Path, list[Lease]] = {}
"""By bundle folder: what this process holds of it."""


def open_workspace(config: Config, *, force: bool = False) -> Workspace:
    """Start Spark and open the tables and the bundle folder that the configuration names.

    Raises:
        InputError: the driver, or an executor, cannot reach one of them.
    """
    root = local_name(config.root)
    if config.bundle is None and is_catalog_name(root):
        raise InputError(
            f"bundle: null, but root {config.root!r} is a schema; name a folder or an address for the model with"
            " --set bundle=DIR"
        )
    home = home_at(config.bundle or f"{root.rstrip('/')}/model", "bundle")
    spark = get_session(config.spark)
    preflight(spark, config, root)
    if not is_catalog_name(root) and not is_remote(root) and on_cluster(spark):
        make_folder(Path(root))
        require_shared(spark, Path(root), slots(spark), "root")
    if home.files is not None and is_remote(root):
        require_reached(spark, home.files, slots(spark), "root" if config.bundle is None else "bundle")
    home.fetch()
    tables = Tables(spark, root)
    tables.offer_scratch()
    return Workspace.of(tables, home, force)


def reopen(model: str | Path) -> tuple[Workspace, Config, str]:
    """Return workspace, configuration and label of a bundle that ``train`` or ``run`` wrote.

    Raises:
        InputError: a later training has begun to change the tables and has not ended.
    """
    home = open_home(model, "--model")
    with home.named():
        return _reopened(home)


def _reopened(home: Home) -> tuple[Workspace, Config, str]:
    bundle = home.folder
    config, tree = stored_config(bundle), _stored_report(bundle)
    inside = home.at("tables") if home.has_tables() else local_name(config.root)
    tables = Tables(get_session(config.spark), inside)
    tables.offer_scratch()
    if not (bundle / WORK).exists():  # of a version that worked where it published
        return Workspace(tables, bundle, place=home), config, tree["head"]["label"]
    workspace = Workspace.of(tables, home)
    published, under_way = read_manifest(bundle).model_version, workspace.bundle / MANIFEST
    if not under_way.exists() or read_manifest(workspace.bundle).model_version != published:
        raise InputError(
            f"--model {bundle}: a later training of it has not ended, and its tables are not those of version"
            f" {published}; run that training to its end first"
        )
    return workspace, config, tree["head"]["label"]


def stored_config(bundle: Path) -> Config:
    """Return the configuration that a bundle was made with; settings that were kept secret are left out."""
    where = str(bundle / "report.json")
    tree = yaml.safe_load(_stored_report(bundle)["provenance"]["configuration"])
    return validate(Config, without_secrets(tree), where)


def _stored_report(bundle: Path) -> Any:
    # Between the stages student and report the last report is of the former version: settings are read from that.
    found = [folder / "report.json" for folder in (published_folder(bundle), bundle)]
    stored = next((path for path in found if path.exists()), None)
    if stored is None:
        raise InputError(f"--model {bundle}: no report.json; expected a bundle that remedi train or run finished")
    return json.loads(stored.read_text(encoding="utf-8"))


@contextmanager
def holding(workspace: Workspace, config: Config) -> Iterator[None]:
    """Hold the root, where it is a folder, and the bundle, so that no other run mixes in."""
    root = workspace.tables.root
    shared = workspace.tables.in_catalog or is_remote(root)
    inside = shared or Path(local_name(root)).resolve().is_relative_to(workspace.home.resolve())
    place = workspace.place or Home(workspace.home, str(workspace.home))
    folders = [place.files or workspace.home, *([] if inside else [Path(local_name(root))])]
    with place.named(), leased(folders, _hash(config)) as leases:
        _leases[workspace.home.resolve()] = leases
        place.guard = lambda: _require_held(leases)
        place.fetch()  # what another run has done since it was opened
        try:
            yield
            place.send()
        except BaseException:
            with side_work("bundle", f"sending files to {place.address}", "the same command makes them again"):
                place.send()
            raise
        finally:
            place.guard = None
            _leases.pop(workspace.home.resolve(), None)


def _require_held(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.require_held()


def _hash(config: Config) -> str:
    """Return a short hash of the configuration; no more than its hash stands in a lease."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]


def publish(workspace: Workspace, config: Config) -> None:
    """Let readers have what has been made, if this run still holds the bundle.

    Raises:
        InputError: another run has taken over meanwhile.
    """
    _require_held(_leases.get(workspace.home.resolve(), ()))
    workspace.publish(config.access)
