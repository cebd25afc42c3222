"""Files on Hadoop by the package hdfs-native, which needs neither a JVM nor libhdfs.

It reads Hadoop's own configuration (``HADOOP_CONF_DIR``), with it the name nodes of a name service, and takes the
Kerberos ticket that is there. Why not by its fsspec door: that takes what it cannot look at for missing, knows no times
of files, and replaces no file by a rename.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyarrow import BufferReader
from pyarrow.fs import FileInfo, FileSelector, FileType

_FOLDER_MODE = 0o755
"""What Hadoop's own client gives by default."""


class HadoopFiles:
    """The methods of pyarrow's file systems that :class:`remedi_spark.storage.file_systems.Files` calls.

    All raise FileNotFoundError, or OSError with one line of what the name node said.
    """

    type_name = "hdfs-native"

    def __init__(self, address: str | None) -> None:
        """Read the configuration; nothing is reached for.

        Args:
            address: such as ``hdfs://host:8020`` or ``hdfs://service``; None: that of ``fs.defaultFS``.

        Raises:
            ImportError: hdfs-native is not installed.
            OSError: the configuration has no such name service.
        """
        from hdfs_native import Client

        with _told():
            self._client = Client(address)

    def get_file_info(self, what: str | FileSelector) -> Any:
        """Return kind, size and time of a path, or a list of those of all that is in a folder."""
        try:
            with _told():
                if isinstance(what, FileSelector):
                    return [_info(one) for one in self._client.list_status(what.base_dir, what.recursive)]
                return _info(self._client.get_file_info(what))
        except FileNotFoundError:
            return [] if isinstance(what, FileSelector) else FileInfo(what, FileType.NotFound)

    def create_dir(self, path: str, *, recursive: bool) -> None:
        """Make a folder; that there is one is no error."""
        with _told():
            self._client.mkdirs(path, _FOLDER_MODE, recursive)

    def delete_dir(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        with _told():
            self._client.delete(path, True)

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        with _told():
            self._client.delete(path, False)

    def move(self, old: str, new: str) -> None:
        """Rename a file, in the place of one that is there: at no moment is there none."""
        with _told():
            self._client.rename(old, new, True)

    def open_input_stream(self, path: str) -> BufferReader:
        """Return a file's content, read as a whole: files of a bundle fit in memory."""
        with _told():
            return BufferReader(self._client.read(path).read())

    def open_output_stream(self, path: str) -> io.RawIOBase:
        """Return a new file to write to."""
        from hdfs_native import WriteOptions

        with _told():
            return _Writer(self._client.create(path, WriteOptions(overwrite=True)))


class _Writer(io.RawIOBase):
    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, content: Any) -> int:
        with _told():
            return int(self._file.write(content))

    def close(self) -> None:
        if not self.closed:
            with _told():
                self._file.close()
        super().close()


def _info(found: Any) -> FileInfo:
    kind = FileType.Directory if found.isdir else FileType.File
    return FileInfo(found.path, kind, size=found.length, mtime_ns=found.modification_time * 1_000_000)


@contextmanager
def _told() -> Iterator[None]:
    """Raise OSError in place of the RuntimeError by which hdfs-native passes on what a name node said."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error).split("\\n")[0]) from error
