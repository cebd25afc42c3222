"""Files in a folder on any file system: the one place where this process itself reads and writes beyond its own disk.

pyarrow's file systems, which need no further package: S3 (``s3:``, ``s3a:``), Azure (``abfs:``, ``abfss:``) and Google
(``gs:``). Hadoop (``hdfs:``, ``viewfs:``) by hdfs-native where it is installed, else by pyarrow, which needs libhdfs.
fsspec for other schemes, where it and the package of the scheme are installed. Tables go through Spark, which finds the
same addresses by its own settings.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from remedi_spark.errors import InputError
from remedi_spark.storage.hadoop_files import HadoopFiles
from remedi_spark.storage.store import write_bytes

_ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):(?=/)(?://([^/]*))?/*(.*)$")
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Hadoop's names for what pyarrow names otherwise."""
_WHOLE_OR_NOTHING = ("s3", "gcs", "abfs")
"""pyarrow's names of the stores where a new object appears when it is closed, in the place of the former one."""
_FLAT = "gcs"
"""pyarrow's name of the store of which it lists objects alone, and no folder that has no object of its name."""
_HADOOP = ("hdfs", "viewfs")
_S3_CONNECT, _S3_REQUEST = 10.0, 60.0
"""Seconds of S3's patience, the second as in botocore."""


@dataclass(frozen=True)
class Entry:
    """A file or folder below a folder."""

    name: str
    """Its path below the folder."""
    is_folder: bool
    size: int
    """Bytes; 0 of a folder."""
    modified: float
    """Seconds since 1970; 0 where the file system does not know."""


@dataclass(frozen=True)
class Files:
    """A folder by its address; all names are paths below it."""

    address: str
    system: Any
    """pyarrow's file system, or one that has its methods."""
    base: str
    """The folder, as that file system names it."""

    @classmethod
    def at(cls, address: str | Path, what: str) -> Files:
        """Return the folder at an address, or at a path of this machine; it need not be there.

        Args:
            address: such as ``s3a://bucket/model``.
            what: the setting or option, for the message.

        Raises:
            InputError: no file system is known by that scheme, or a library of it is missing.
        """
        text = str(address).rstrip("/") or "/"
        found = _ADDRESS.match(text)
        if found is None:
            from pyarrow.fs import LocalFileSystem

            return cls(text, LocalFileSystem(), str(Path(text).absolute()))
        scheme, host, rest = found[1].lower(), found[2] or "", found[3]
        try:
            system, base = _system(scheme, host)
        except InputError as error:
            raise InputError(f"{what} {address}: {error}") from error.__cause__
        return cls(text, system, f"{base.rstrip('/')}/{rest}".rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the folder is one of this machine."""
        return bool(self.system.type_name == "local")

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        try:
            with self.system.open_input_stream(self._path(name)) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        with self.system.open_input_stream(self._path(name)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, in the place of a former one.

        A reader sees the former content or the new one. Except by libhdfs and by way of fsspec, whose renames replace
        nothing: there is a moment without the file.
        """
        path = self._path(name)
        if self.is_local:
            return write_bytes(Path(path), content, private=False)
        if self.system.type_name in _WHOLE_OR_NOTHING:
            return self._put(path, content)
        folder, _, last = path.rpartition("/")
        beside = f"{folder}/.{last}.{uuid.uuid4().hex}"
        self.system.create_dir(folder, recursive=True)
        self._put(beside, content)
        if self.system.type_name != HadoopFiles.type_name:
            self.remove(name)
        self.system.move(beside, path)
        return None

    def remove(self, name: str) -> None:
        """Remove a file; that there is none is no error."""
        if self.exists(name):
            self.system.delete_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        """Remove a folder and all that is in it; that there is none is no error."""
        if self.exists(name):
            # Of Google's pyarrow removes, at last, an object of the folder itself, which need not be there.
            with suppress(FileNotFoundError):
                self.system.delete_dir(self._path(name))

    def make(self) -> None:
        """Make the folder, where the file system has such a thing."""
        if self.system.type_name not in _WHOLE_OR_NOTHING:
            self.system.create_dir(self.base, recursive=True)

    def is_file(self) -> bool:
        """Whether the address is that of a file."""
        return bool(self.system.get_file_info(self.base).is_file)

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file or folder."""
        found = self.system.get_file_info(self._path(name))
        return bool(found.is_file or found.type.name == "Directory")

    def entries(self, below: str = "", *, all_levels: bool = False) -> list[Entry]:
        """Return what is in the folder, or in one below it, sorted; nothing where there is none."""
        from pyarrow.fs import FileSelector

        flat = self.system.type_name == _FLAT
        selector = FileSelector(self._path(below), recursive=all_levels or flat, allow_not_found=True)
        found = [
            Entry(one.path[len(self.base) :].lstrip("/"), not one.is_file, one.size or 0, self._modified(one))
            for one in self.system.get_file_info(selector)
        ]
        if flat:
            found = _with_folders(found, below, all_levels=all_levels)
        return sorted((one for one in found if one.name), key=lambda one: one.name)

    def _modified(self, found: Any) -> float:
        """Return the time of a file, which most file systems of fsspec keep out of what pyarrow lists."""
        if found.mtime_ns is None and found.is_file and "fsspec" in self.system.type_name:
            with suppress(NotImplementedError):
                return float(self.system.handler.fs.modified(found.path).timestamp())
        return (found.mtime_ns or 0) / 1e9

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}" if name else self.base

    def _put(self, path: str, content: bytes) -> None:
        with self.system.open_output_stream(path) as file:
            file.write(content)


def _with_folders(found: list[Entry], below: str, *, all_levels: bool) -> list[Entry]:
    """Return entries with the folders that their names imply; of a listing of all levels the first where asked."""
    top = below.count("/") + 1 if below else 0
    named = {one.name: one for one in found}
    for one in found:
        parts = one.name.split("/")
        for level in range(top + 1, len(parts)):
            folder = "/".join(parts[:level])
            named.setdefault(folder, Entry(folder, True, 0, 0.0))
    return [one for name, one in named.items() if all_levels or name.count("/") == top]


@contextmanager
def reached(address: str, what: str) -> Iterator[None]:
    """Turn what a file system says that cannot be reached, or refuses, into one line.

    Raises:
        InputError: names the address and the reason.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{what} {address}: this process cannot use it ({' '.join(str(error).split())[:300]}); check the address,"
            " the network, and the credentials in the environment (docs/howto/file_systems.md)"
        ) from error


@cache
def _system(scheme: str, host: str) -> tuple[Any, str]:
    """Return a file system and what it calls the top of an address."""
    from pyarrow import ArrowInvalid, ArrowNotImplementedError
    from pyarrow.fs import FileSystem

    name = _SAME.get(scheme, scheme)
    if not host and name in ("s3", "gs", "abfs", "abfss"):
        raise InputError(f"names no bucket or container; expected {scheme}://NAME/FOLDER")
    if name in _HADOOP and importlib.util.find_spec("hdfs_native") is not None:
        return _by_hdfs_native(scheme, host)
    try:
        files, top = FileSystem.from_uri(f"{name}://{host}/")
        return (_patient(files) if name == "s3" else files), top
    except ArrowNotImplementedError as error:
        raise InputError(
            f"the installed pyarrow was built without {scheme}; pip install --force-reinstall pyarrow"
        ) from error
    except ArrowInvalid:
        return _by_fsspec(scheme, host)
    except OSError as error:
        if name in _HADOOP:
            raise InputError(
                f"needs one more package ({str(error).splitlines()[0][:200]}); pip install 'remedi_spark[hdfs]', or"
                " where Hadoop's libhdfs is set JAVA_HOME, HADOOP_HOME and CLASSPATH=$(hadoop classpath --glob)"
            ) from error
        raise InputError(" ".join(str(error).split())[:300]) from error


def _patient(files: Any) -> Any:
    """Return S3 as it is, but for its time-outs.

    Arrow's are those of Amazon's C++ library, 1 s to connect and 3 s for an answer, which a busy machine exceeds. Only
    an address tells Arrow of ``AWS_ENDPOINT_URL``, and no address of time-outs: so as pickle would make it anew.
    """
    make, (options,) = files.__reduce__()
    return make({**options, "connect_timeout": _S3_CONNECT, "request_timeout": _S3_REQUEST})


def _by_hdfs_native(scheme: str, host: str) -> tuple[Any, str]:
    try:
        return HadoopFiles(f"{scheme}://{host}" if host else None), "/"
    except OSError as error:
        raise InputError(f"{error}; name host and port, or set HADOOP_CONF_DIR to Hadoop's configuration") from error


def _by_fsspec(scheme: str, host: str) -> tuple[Any, str]:
    try:
        import fsspec.core  # type: ignore[import-untyped]
    except ImportError as error:
        raise InputError(f"unknown scheme {scheme}; pip install fsspec and its package for {scheme}") from error
    try:
        system, base = fsspec.core.url_to_fs(f"{scheme}://{host}/")
    except ImportError as error:
        raise InputError(f"scheme {scheme} needs one more package ({error})") from error
    except (ValueError, TypeError) as error:  # of no such scheme, and of one that asks for more than an address
        raise InputError(
            f"unknown scheme {scheme}; expected a folder, or an address of s3a, abfss, gs, hdfs or dbfs:/Volumes"
        ) from error
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    return PyFileSystem(FSSpecHandler(system)), base
