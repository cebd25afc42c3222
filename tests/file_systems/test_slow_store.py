"""An S3 that takes longer to answer than Amazon's C++ library waits by default (3 s)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from remedi_spark.storage import file_systems
from remedi_spark.storage.file_systems import Files
from tests.object_store import SECRETS

pytestmark = pytest.mark.slow
SECONDS = 5.0
CONTENT = b"what a bundle holds"


class _Slow(BaseHTTPRequestHandler):
    """Hands out one object, late."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(CONTENT)

    def _answer(self, body: bytes) -> None:
        self.asked.append(self.path)
        time.sleep(SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the store has been asked for."""
    _Slow.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {**SECRETS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}.items():
        monkeypatch.setenv(name, value)
    file_systems._system.cache_clear()
    yield _Slow.asked
    file_systems._system.cache_clear()
    server.shutdown()
    server.server_close()


def test_a_late_answer_is_waited_for(asked: list[str]) -> None:
    assert Files.at("s3a://bucket/model", "test").read("manifest.json") == CONTENT
    assert len(asked) <= 3, "asked again, as after a time-out"
