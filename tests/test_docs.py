"""The site builds in strict mode without a network, agrees with the code, and keeps its form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from remedi_spark.cli.verbs import app
from remedi_spark.config import Config

ROOT = Path(__file__).parents[1]
NO_NETWORK = (
    "import socket; socket.socket.connect = lambda *_: (_ for _ in ()).throw(OSError('no network in this test'))"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "site")]
    environment = {**os.environ, "PYTHONPATH": str(folder), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def test_the_network_was_off(site: Path) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    environment = {**os.environ, "PYTHONPATH": str(site.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "no network in this test" in done.stderr


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\"> ]+)", path.read_text("utf-8"))
        assert not loaded, (path.name, loaded)


def test_every_verb_and_every_key_is_in_the_reference(site: Path) -> None:
    commands = page(site, "reference/commands.html")
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert f"remedi {name}" in commands
    assert "Example: remedi adapt fit" in commands
    configuration = page(site, "reference/configuration.html")
    schema = Config.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key in section.get("properties", {}):
            assert f"<code>{key}</code>" in configuration
    assert "Return the scores of a DataFrame" in page(site, "reference/python.html")


def test_commands_in_the_pages_exist(site: Path) -> None:
    """Whatever a page tells to type is a verb with those options."""
    from typer.testing import CliRunner

    verbs: dict[str, str] = {}
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for line in re.findall(r"^(?:\.venv/bin/)?remedi (.+)$", path.read_text("utf-8"), re.M):
            words = line.split()
            verb = words[:2] if words[0] == "adapt" else words[:1]
            name = " ".join(verb)
            if name not in verbs:
                verbs[name] = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).stdout
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line.split(", then:")[0]):
                assert option in verbs[name], f"{path.name}: remedi {line}"
    assert len(verbs) > 8


def test_readme_and_architecture_are_short() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 80
    assert not [line for line in lines if len(line) > 120]
    assert (ROOT / "docs/architecture.md").stat().st_size <= 6144


def test_every_measurement_is_listed_and_linked_from_a_page(site: Path) -> None:
    files = {path.name for path in (ROOT / "docs/measurements").glob("*.md")} - {"index.md"}
    listed = page(site, "measurements/index.html")
    linked = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md") if path.name not in files)
    for name in files:
        assert name.replace(".md", ".html") in listed
        assert f"measurements/{name}" in linked, name
    links = re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
