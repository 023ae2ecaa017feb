"""nearfield placements|pages|rules|segments: list, show, apply, diff, export. One implementation for all kinds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.merchandising.dry_run_commands import File, add_dry_run
from api.cli.merchandising.file_changes import Statuses, changes_of, place_of, rest_of, statuses, stored_documents
from api.cli.merchandising.yaml_documents import dump, read, text_of
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.errors import Conflict, InputError
from engine.store import spaces
from engine.store.shelves import presets
from engine.store.shelves.presets import Kind

CHANGED_BY = "local"
Name = Annotated[str, typer.Argument(help="The name that `list` shows.", show_default=False)]
Prune = Annotated[bool, typer.Option("--prune", help="Also delete what is stored and not in the file.")]
Version = Annotated[int | None, typer.Option("--version", help="An earlier version.", show_default=False)]


@dataclass(frozen=True)
class Noun:
    kind: Kind
    plural: str
    what: str  # for the help


NOUNS = (
    Noun("placement", "placements", "Stored parameters of shelves, which requests name."),
    Noun("page", "pages", "Stored pages of shelves."),
    Noun("rule", "rules", "What merchandisers decide for many shelves, and when."),
    Noun("segment", "segments", "Named groups of items and of users."),
)


def add_to(app: typer.Typer) -> None:
    for noun in NOUNS:
        group = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
        for add in (_add_list, _add_show, _add_export, _add_diff, _add_apply):
            add(group, noun)
        if noun.kind != "page":
            add_dry_run(group, noun.plural)
        app.add_typer(group, name=noun.plural, help=noun.what)


def _add_list(group: typer.Typer, noun: Noun) -> None:
    @group.command(name="list", help=f"List the {noun.plural}.\n\nExample: `nearfield {noun.plural} list`")
    def list_presets(space: SpaceName = "default", json: Json = False) -> None:
        with opened(space) as (_, database, found), database.connect() as conn:
            stored = presets.list_current(conn, found.key, noun.kind)
        rows = [(each.name, each.version, f"{each.changed_at:%Y-%m-%d %H:%M}", each.changed_by) for each in stored]
        columns = ("name", "version", "changed_at", "changed_by")
        emit(
            json,
            {noun.plural: [dict(zip(columns, row, strict=True)) for row in rows]},
            lambda: table(columns, rows) if rows else out.print(f"no {noun.plural}"),
        )


def _add_show(group: typer.Typer, noun: Noun) -> None:
    command = f"nearfield {noun.plural}"

    @group.command(help=f"Show a {noun.kind} with its versions.\n\nExample: `{command} show summer --version 2`")
    def show(name: Name, version: Version = None, space: SpaceName = "default", json: Json = False) -> None:
        with opened(space) as (_, database, found), database.connect() as conn:
            each = presets.get(conn, found.key, noun.kind, name, version)
            versions = presets.history(conn, found.key, noun.kind, name)
        rows = [(one.version, f"{one.changed_at:%Y-%m-%d %H:%M}", one.changed_by, one.body is None) for one in versions]
        columns = ("version", "changed_at", "changed_by", "deleted")
        history = [dict(zip(columns, row, strict=True)) for row in rows]

        def tell() -> None:
            out.print(dump(noun.plural, {name: each.body or {}}), markup=False, soft_wrap=True, end="")
            table(columns, rows)

        emit(json, {"name": name, "version": each.version, "body": each.body, "versions": history}, tell)


def _add_export(group: typer.Typer, noun: Noun) -> None:
    command = f"nearfield {noun.plural}"

    @group.command(help=f"Write all {noun.plural} as YAML.\n\nExample: `{command} export --out {noun.plural}.yaml`")
    def export(
        file: Annotated[
            Path | None, typer.Option("--out", help="The file to write; default: the terminal.", show_default=False)
        ] = None,
        space: SpaceName = "default",
        json: Json = False,
    ) -> None:
        with opened(space) as (_, database, found), database.connect() as conn:
            documents = stored_documents(conn, found.key)[noun.plural]
        text = dump(noun.plural, documents)
        if file is not None:
            file.write_text(text, encoding="utf-8")
        emit(
            json,
            {noun.plural: documents},
            lambda: out.print(
                text if file is None else f"{len(documents)} {noun.plural} written to {file}\n",
                markup=False,
                soft_wrap=True,
                end="",
            ),
        )


def _add_diff(group: typer.Typer, noun: Noun) -> None:
    command = f"nearfield {noun.plural}"

    @group.command(help=f"Show what `apply` would change.\n\nExample: `{command} diff {noun.plural}.yaml`")
    def diff(file: File, prune: Prune = False, space: SpaceName = "default", json: Json = False) -> None:
        wanted = read(file, noun.plural)
        with opened(space) as (_, database, found), database.connect() as conn:
            stored = stored_documents(conn, found.key)
        changes = statuses(stored, wanted, prune)

        def tell() -> None:
            for plural, of_kind in changes.items():
                for name, status in of_kind.items():
                    if status != "unchanged":
                        after = wanted[plural].get(name) if status != "deleted" else None
                        shown = _difference(_label(name, plural, noun), stored[plural].get(name), after)
                        out.print(shown, markup=False, soft_wrap=True)
            out.print(_summary(changes))

        emit(json, _as_json(changes, noun), tell)


def _add_apply(group: typer.Typer, noun: Noun) -> None:
    @group.command(
        help=f"Store the {noun.plural} of a YAML file, all or none.\n\n"
        "A file may have several kinds; all of them are stored.\n\n"
        f"Example: `nearfield {noun.plural} apply {noun.plural}.yaml`"
    )
    def apply(file: File, prune: Prune = False, space: SpaceName = "default", json: Json = False) -> None:
        from api.routes.merchandising import preset_changes
        from indexing.refresh.live_space import LiveSpace

        wanted = read(file, noun.plural)
        with opened(space) as (settings, database, found):
            fields = LiveSpace(database, settings.generations, found.name).current(), settings.keep_shelves_days
            with database.begin() as conn:
                spaces.lock(conn, found.key)
                changes = statuses(stored_documents(conn, found.key), wanted, prune)
                changed = changes_of(changes, wanted)
                try:
                    _, warned = preset_changes.checked(changed, presets.list_current(conn, found.key), fields)
                except (InputError, Conflict) as error:
                    raise type(error)(f"{place_of(error)}; nothing was stored") from None
                preset_changes.store(conn, found.key, changed, CHANGED_BY)
        warnings = [".".join(map(str, each.loc[1:3])) + f": {rest_of(each)}" for each in warned]

        def tell() -> None:
            for plural, of_kind in changes.items():
                for name, status in of_kind.items():
                    if status != "unchanged":
                        out.print(f"{_label(name, plural, noun)} {status}", markup=False)
            for warning in warnings:
                out.print(f"warning: {warning}", markup=False, soft_wrap=True)
            out.print(_summary(changes))

        emit(json, {**_as_json(changes, noun), "warnings": warnings}, tell)


def _label(name: str, plural: str, noun: Noun) -> str:
    return name if plural == noun.plural else f"{plural}.{name}"


def _as_json(changes: Statuses, noun: Noun) -> dict[str, Any]:
    """`changes` are of the kind of the command; changes of other kinds in the file follow by kind."""
    others = {plural: of_kind for plural, of_kind in changes.items() if plural != noun.plural}
    return {"changes": changes[noun.plural], **({"others": others} if others else {})}


def _difference(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    old, new = ([] if each is None else text_of({name: dict(each)}).splitlines() for each in (before, after))
    named = (f"{name} (stored)", f"{name} (file)")
    return "\n".join(difflib.unified_diff(old, new, *named, lineterm="", n=2))


def _summary(changes: Statuses) -> str:
    every = [status for of_kind in changes.values() for status in of_kind.values()]
    counts = [(status, every.count(status)) for status in ("created", "updated", "deleted")]
    told = ", ".join(f"{n} {status}" for status, n in counts if n)
    return f"{told or 'no change'}, {every.count('unchanged')} unchanged"
