"""Build ``remedi-focal.jar`` from ``FocalLoss.java``: ``python -m remedi_spark.models.lightgbm.jvm.build``.

Needs a JDK (``javac`` of ``JAVA_HOME`` or on the path) and the local Spark session, which fetches the jars to compile
against. The same source and the same JDK release give the same bytes. The manifest records both, so a stale jar is
noticed also where there is no JDK.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from remedi_spark.errors import InputError
from remedi_spark.models.lightgbm.jvm.focal import JAR_NAME, OBJECTIVE_CLASS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SOURCE = Path(__file__).with_name("FocalLoss.java")
JAR = Path(__file__).with_name(JAR_NAME)
CLASS_ENTRY = OBJECTIVE_CLASS.replace(".", "/") + ".class"
OLDEST_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold


def main() -> None:
    """Compile the source and replace the packaged jar."""
    from remedi_spark.config.spark import SparkConfig
    from remedi_spark.spark.session import get_session

    spark = get_session(SparkConfig(master="local[1]", driver_memory="1g"))
    try:
        class_path = spark_class_path(spark)
    finally:
        spark.stop()
    write_jar(JAR, compile_source(class_path))
    print(f"{JAR} ({JAR.stat().st_size} bytes)", file=sys.stderr)


def find_javac() -> str | None:
    """Return the compiler of ``JAVA_HOME``, else the one on the path, else None."""
    home = os.environ.get("JAVA_HOME")
    return (shutil.which("javac", path=str(Path(home) / "bin")) if home else None) or shutil.which("javac")


def javac_release(javac: str) -> str:
    """Return the compiler's feature release, for example ``17``."""
    done = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True)
    match = re.search(r"javac (?:1\.)?(\d+)", done.stdout + done.stderr)
    if match is None:
        raise InputError(f"javac: found version {done.stdout + done.stderr!r}, expected 'javac <number>'")
    return match.group(1)


def spark_class_path(spark: SparkSession) -> str:
    """Return the class path of a local session: Spark's own jars and those it has fetched."""
    import pyspark

    jars = spark.conf.get("spark.jars", None) or ""
    fetched = [unquote(urlparse(jar).path) for jar in jars.split(",") if jar]
    return os.pathsep.join([str(Path(pyspark.__file__).parent / "jars" / "*"), *fetched])


def compile_source(class_path: str) -> bytes:
    """Compile ``FocalLoss.java`` to a class file for Java 8 and later.

    Raises:
        InputError: there is no ``javac``, or it refuses the source.
    """
    javac = find_javac()
    if javac is None:
        raise InputError("javac: found none, expected the compiler of a JDK; install one and set JAVA_HOME")
    with tempfile.TemporaryDirectory() as folder:
        # Without debug information the bytes depend on the code alone.
        options = ["--release", "8", "-g:none", "-proc:none", "-nowarn", "-encoding", "UTF-8"]
        command = [javac, *options, "-classpath", class_path, "-d", folder, str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InputError(f"javac: {SOURCE.name} does not compile: {done.stderr}")
        return (Path(folder) / CLASS_ENTRY).read_bytes()


def source_digest() -> str:
    """Return the SHA-256 of the source, in base64 as in a jar's own digests."""
    # Line ends are made equal, or a checkout on Windows would look changed.
    text = SOURCE.read_text(encoding="utf-8")
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write_jar(path: Path, class_file: bytes) -> None:
    """Write a jar that holds a manifest and one class, the same bytes for the same class and source."""
    release = javac_release(find_javac() or "javac")
    manifest = f"Manifest-Version: 1.0\r\nBuild-Jdk-Spec: {release}\r\nSource-SHA-256: {source_digest()}\r\n\r\n"
    with zipfile.ZipFile(path, "w") as jar:
        for name, content in (("META-INF/MANIFEST.MF", manifest.encode()), (CLASS_ENTRY, class_file)):
            entry = zipfile.ZipInfo(name, OLDEST_DATE)
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o644 << 16
            jar.writestr(entry, content)


if __name__ == "__main__":
    main()
