"""A refused training leaves nothing: what it has made in the bundle folder goes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from remedi_spark.errors import InputError
from remedi_spark.storage.home import Home


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """Remove what was made in the folder (and the folder, if it is new) when the input is refused.

    After any other failure all stays, so that the same command goes on where it stopped; so does what an earlier run
    had left.
    """
    made = not folder.exists()
    before = set() if made else {path.name for path in folder.iterdir()}
    above = [parent for parent in folder.parents if not parent.exists()]
    try:
        yield
    except InputError:
        for path in list(folder.iterdir()) if folder.exists() else []:
            if path.name not in before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for empty in ([folder] if made else []) + (above if made else []):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
        raise


@contextmanager
def leaving_nothing_at(home: Home) -> Iterator[None]:
    """Do the same for a bundle, and for the address that its folder mirrors."""
    before = home.names()
    with leaving_nothing(home.folder):
        try:
            yield
        except InputError:
            home.discard(before)
            raise
