"""A real browser for the tests of pages: Chromium without a window and without a network of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium on the path")

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
    "--allow-file-access-from-files",
]
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def browse(html: str, folder: Path) -> tuple[str, list[str]]:
    """Open ``html``; return the page as it then stands, and what the browser's console said."""
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def ask(html: str, script: str, folder: Path) -> dict[str, Any]:
    """Run ``script`` in the page and return its answer; the policy, which would refuse it, is taken out."""
    probe = (
        "<script>addEventListener('load', () => { const answer = (() => {"
        + script
        + "})(); document.documentElement.innerHTML = `<pre>${JSON.stringify(answer)}</pre>`; });</script>"
    )
    page, said = browse(POLICY.sub("", html).replace("</body>", f"{probe}</body>"), folder)
    assert said == [], said
    answer = re.search(r"<pre>(.*)</pre>", page, re.DOTALL)
    assert answer is not None, page
    found: dict[str, Any] = json.loads(answer.group(1))
    return found


def pages(html: str, folder: Path) -> int:
    """Print ``html``; return the pages of paper it takes."""
    page, paper = folder / "report.html", folder / "report.pdf"
    page.write_text(html, encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return len(re.findall(rb"/Type ?/Page\b", paper.read_bytes()))
