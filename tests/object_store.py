"""An S3 server of the tests' own (moto), and what Spark needs to use it."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from remedi_spark.spark.builds import series
from tests.hadoop import hadoop_version

_PARTS = {
    "3.3": ("com.amazonaws:aws-java-sdk-s3:1.12.262", "com.amazonaws:aws-java-sdk-dynamodb:1.12.262"),
    "3.4": ("software.amazon.awssdk:s3:2.29.52", "software.amazon.awssdk:s3-transfer-manager:2.29.52"),
}
"""By the series of Hadoop the few parts that it uses of Amazon's library, which as a whole is 280 or 640 MB."""
PACKAGES = (f"org.apache.hadoop:hadoop-aws:{hadoop_version()}", *_PARTS[series(hadoop_version())])
"""Hadoop's S3 file system, of the Hadoop that PySpark brings."""
EXCLUDED = "com.amazonaws:aws-java-sdk-bundle,software.amazon.awssdk:bundle"
SECRETS = {"AWS_ACCESS_KEY_ID": "remedi", "AWS_SECRET_ACCESS_KEY": "of-no-use", "AWS_REGION": "us-east-1"}
PATIENCE = 60.0


def has_server() -> bool:
    """Whether the packages of the server are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("moto", "flask", "flask_cors"))


@contextmanager
def served() -> Iterator[str]:
    """Run the server; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE)


def make_bucket(address: str, name: str) -> None:
    """Make a bucket."""
    urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=PATIENCE).close()


def spark_settings(address: str) -> dict[str, str]:
    """Return Hadoop's settings for the server, as a session takes them while it runs."""
    return {
        "fs.s3a.endpoint": address, "fs.s3a.path.style.access": "true", "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.access.key": SECRETS["AWS_ACCESS_KEY_ID"], "fs.s3a.secret.key": SECRETS["AWS_SECRET_ACCESS_KEY"],
    }  # fmt: skip


def _wait(address: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=PATIENCE).close()
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
