"""MkDocs hooks: commands and configuration from the code itself, the list of measurements from its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from remedi_spark.cli.verbs import app
from remedi_spark.config import Config
from remedi_spark.flow import STAGES

MEASUREMENTS = Path(__file__).parent / "measurements"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace a mark by what is generated for it."""
    for mark, generate in _MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(generate()))
    return markdown


def commands() -> Iterator[str]:
    """Yield every verb's help as it is printed."""
    root: Any = typer.main.get_command(app)
    for name in _verbs(root, ()):
        told = CliRunner().invoke(app, [*name, "--help"], prog_name="remedi", env={"COLUMNS": "100"}, color=False)
        yield f"## remedi {' '.join(name)}\n\n```text\n{told.stdout.strip()}\n```\n"


def _verbs(group: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, (*above, name))
        else:
            yield (*above, name)


def stages() -> Iterator[str]:
    """Yield the table of the chain's stages."""
    yield "| stage | verb | what it is | code | reads | writes |\n|---|---|---|---|---|---|"
    for stage in STAGES:
        reads, writes = (", ".join(f"`{_cell(name)}`" for name in names) for names in (stage.reads, stage.writes))
        code = f"`{stage.function.split(':')[0].replace('.', '/')}.py`"
        yield f"| {stage.name} | `{stage.verb}` | {stage.does} | {code} | {reads} | {writes} |"


def configuration() -> Iterator[str]:
    """Yield a table a section, from the JSON schema."""
    schema = Config.model_json_schema()
    yield from _section("Top level", schema)
    for name, section in sorted(schema["$defs"].items()):
        if "properties" in section:
            yield from _section(name, section)


def _section(name: str, section: dict[str, Any]) -> Iterator[str]:
    about = section.get("description", "").split("\n\n")[0].replace("\n", " ")
    yield f"## {name}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|"
    required = section.get("required", [])
    for key, value in section["properties"].items():
        default = "required" if key in required else _default(value.get("default"), given="default" in value)
        meaning = " ".join(value.get("description", "").split())
        yield f"| `{key}` | {_type(value)} | {default} | {_cell(meaning)} |"
    yield ""


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for many in ("anyOf", "oneOf", "allOf"):
        if many in value:
            return " or ".join(dict.fromkeys(_type(one) for one in value[many]))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}" if value.get("items") else "list"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"names to {_type(inner)}" if isinstance(inner, dict) else "mapping"
    bounds = [f"{sign} {value[key]}" for key, sign in _BOUNDS.items() if key in value]
    return " ".join([str(value.get("type", "any")), *bounds])


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _default(value: Any, *, given: bool) -> str:
    if not given or (isinstance(value, dict) and value):
        return "see there"
    return f"`{'null' if value is None else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


def measurements() -> Iterator[str]:
    """Yield a table of the measurements, the latest first.

    Raises:
        ValueError: a file's name has no date, or it has no title or no question.
    """
    yield "| date | experiment | question |\n|---|---|---|"
    for path in sorted(MEASUREMENTS.glob("*.md"), reverse=True):
        if path.name == "index.md":
            continue
        date = re.match(r"\d{4}-\d{2}-\d{2}(?=-)", path.name)
        found = re.match(r"# (.+)\n- \*\*Question:\*\* ((?:.+\n)+?)(?=- )", path.read_text(encoding="utf-8"))
        if not date or not found:
            raise ValueError(
                f"{path}: expected a name YYYY-MM-DD-topic.md, a title, and the items Question, Command and Code"
            )
        yield f"| {date[0]} | [{found[1]}]({path.name}) | {_cell(' '.join(found[2].split()))} |"


_MARKS: dict[str, Callable[[], Iterator[str]]] = {
    "<!-- commands -->": commands,
    "<!-- configuration -->": configuration,
    "<!-- measurements -->": measurements,
    "<!-- stages -->": stages,
}
