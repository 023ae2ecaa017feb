"""A hook of MkDocs: generates the reference pages from the code each time the documentation is built.

The command line comes from Typer, the HTTP API from the OpenAPI document, the settings from `engine.settings`, and the
rooms from their docstrings and imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs removes it after this hook is loaded

import docs_rooms

METHODS = ("get", "post", "put", "delete")


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated files to those of the folder `docs`."""
    from mkdocs.structure.files import File

    for name, lines in (("cli", command_line()), ("http", http()), ("settings", settings())):
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(lines)))
    for package in docs_rooms.PACKAGES:
        files.append(File.generated(config, f"design/rooms-{package}.svg", content=docs_rooms.diagram(package)))
    return files


def on_page_markdown(markdown: str, page: Any, **options: Any) -> str:
    """Adds the rooms to their page."""
    if page.file.src_uri != "design/rooms.md":
        return markdown
    return markdown + "\n".join(docs_rooms.page())


def command_line() -> Iterator[str]:
    """Every command with its arguments and options by groups, as Markdown."""
    import typer

    from api.cli.main import GROUPS, app

    yield "# Command line\n"
    yield "Every command takes `--help`. With `--json` the last line of the output is one JSON object."
    root = typer.main.get_command(app)
    for group, names in GROUPS.items():
        yield f"\n## {group}"
        for name in names:
            yield from _command(f"nearfield {name}", root.commands[name])  # type: ignore[attr-defined]


def _command(name: str, command: Any) -> Iterator[str]:
    subcommands = getattr(command, "commands", {})
    if subcommands:
        for subname, subcommand in subcommands.items():
            yield from _command(f"{name} {subname}", subcommand)
        return
    yield f"\n### {name}\n"
    yield f"{(command.help or '').strip()}\n"
    rows = [_parameter(each) for each in command.params if each.name != "help"]
    if rows:
        yield from ("| argument or option | default | |", "|---|---|---|", *rows)


def _parameter(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts + parameter.secondary_opts) if is_option else parameter.name.upper()
    default = parameter.default
    shown = "" if default is None or default is False or callable(default) else f"`{default}`"
    if parameter.required:
        shown = "required"
    return f"| `{name}` | {shown} | {_cell(getattr(parameter, 'help', '') or '')} |"


def http() -> Iterator[str]:
    """Every route by groups, with its parameters and body, then the fields of every body, as Markdown."""
    from api.app import create_app
    from engine.settings import Settings

    document = create_app(Settings(home=Path("build"))).openapi()
    schemas = document["components"]["schemas"]
    yield "# HTTP API\n"
    yield (
        "A running server shows the same with examples at `/docs`, and as an OpenAPI document at `/openapi.json`. "
        "Errors are [problem+json](https://www.rfc-editor.org/rfc/rfc9457) and name the field that is wrong."
    )
    groups: dict[str, list[str]] = {}
    for path, routes in document["paths"].items():
        for method in METHODS:
            if method in routes:
                tag = routes[method].get("tags", ["operate"])[0]
                groups.setdefault(tag, []).extend(_route(method.upper(), path, routes[method], schemas))
    for tag, lines in groups.items():
        yield f"\n## {tag.capitalize()}"
        yield from lines
    yield "\n## Bodies\n"
    for name, schema in sorted(schemas.items()):
        if name not in ("HTTPValidationError", "ValidationError"):
            yield from _schema(name, schema)


def _route(method: str, path: str, route: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {method} {path}\n"
    yield f"{route.get('summary', '')}. {route.get('description', '')}".strip() + "\n"
    parameters = [each for each in route.get("parameters", []) if each["name"] != "space"]
    if parameters:
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for each in parameters:
            text = each.get("description", "")
            yield f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {_cell(text)} |"
    for name, place in (("body", route.get("requestBody")), ("answer", route.get("responses", {}).get("200"))):
        schema = ((place or {}).get("content", {}).get("application/json", {})).get("schema", {})
        if "$ref" in schema:
            yield f"\n{name.capitalize()}: {_type(schema)}\n"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {name}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    yield from ("| field | type | default | |", "|---|---|---|---|")
    required = schema.get("required", [])
    for field, each in schema.get("properties", {}).items():
        default = "required" if field in required else f"`{each['default']}`" if each.get("default") is not None else ""
        yield f"| `{field}` | {_type(each)} | {_cell(default)} | {_cell(each.get('description', ''))} |"


def _type(schema: dict[str, Any]) -> str:
    """The type of a JSON schema in a few words, with links to schemas that have a heading of their own."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        parts = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def settings() -> Iterator[str]:
    """Every `NEARFIELD_*` variable, as Markdown."""
    from engine.settings import Settings

    yield "# Settings\n"
    yield "Environment variables; each command reads them once, when it starts.\n"
    yield from ("| variable | default | |", "|---|---|---|")
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        yield f"| `NEARFIELD_{name.upper()}` | {default} | {_cell(field.description or '')} |"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
