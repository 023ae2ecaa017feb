"""nearfield placements|pages|rules|segments: list, show, apply, diff, export. One implementation for all kinds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.merchandising.dry_run_commands import File, add_dry_run
from api.cli.merchandising.yaml_documents import Documents, dump, read, text_of
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.errors import Conflict, InputError
from engine.merchandising.presets import check_body, check_name
from engine.store import spaces
from engine.store.database.connections import Connection
from engine.store.shelves import presets
from engine.store.shelves.presets import Kind

if TYPE_CHECKING:
    from api.routes.merchandising.preset_routes import PresetKind
    from indexing.live.view import LiveView

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
        if noun.kind in ("placement", "rule"):
            add_dry_run(group, noun.kind, noun.plural)
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
            documents = _stored(conn, found.key, noun)
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
            documents = _stored(conn, found.key, noun)
        changes = _changes(documents, wanted, prune)

        def tell() -> None:
            for name, status in changes.items():
                if status != "unchanged":
                    after = wanted.get(name) if status != "deleted" else None
                    out.print(_difference(name, documents.get(name), after), markup=False, soft_wrap=True)
            out.print(_summary(changes))

        emit(json, {"changes": changes}, tell)


def _add_apply(group: typer.Typer, noun: Noun) -> None:
    @group.command(
        help=f"Store the {noun.plural} of a YAML file, all or none.\n\n"
        f"Example: `nearfield {noun.plural} apply {noun.plural}.yaml`"
    )
    def apply(file: File, prune: Prune = False, space: SpaceName = "default", json: Json = False) -> None:
        wanted = read(file, noun.plural)
        from indexing.refresh.live_space import LiveSpace

        with opened(space) as (settings, database, found):
            fields = LiveSpace(database, settings.generations, found.name).current(), settings.keep_shelves_days
            with database.begin() as conn:
                spaces.lock(conn, found.key)
                changes = _changes(_stored(conn, found.key, noun), wanted, prune)
                changed = {name: wanted[name] for name in wanted if changes[name] != "unchanged"}
                warned = _store(conn, found.key, noun, changed, fields)
                _delete(conn, found.key, noun, [name for name, status in changes.items() if status == "deleted"])

        def tell() -> None:
            for name, status in changes.items():
                if status != "unchanged":
                    out.print(f"{name} {status}", markup=False)
            for warning in warned:
                out.print(f"warning: {warning}", markup=False, soft_wrap=True)
            out.print(_summary(changes))

        emit(json, {"changes": changes, "warnings": warned}, tell)


def _stored(conn: Connection, space_key: int, noun: Noun) -> Documents:
    return {each.name: dict(each.body or {}) for each in presets.list_current(conn, space_key, noun.kind)}


def _changes(stored: Documents, wanted: Documents, prune: bool) -> dict[str, str]:
    found = {
        name: "created" if name not in stored else "unchanged" if stored[name] == document else "updated"
        for name, document in wanted.items()
    }
    return found | ({name: "deleted" for name in stored if name not in wanted} if prune else {})


def _store(
    conn: Connection, space_key: int, noun: Noun, documents: Documents, fields: tuple[LiveView, int]
) -> list[str]:
    """The warnings. Documents may refer to each other in any order, so the ones that fail are tried again later."""
    from api.routes.merchandising.preset_routes import put

    kind = _kind_of(noun)
    left, warned = dict(documents), list[str]()
    while left:
        failed: dict[str, InputError] = {}
        for name, document in left.items():
            try:
                check_name(name, (noun.plural, name))
                check_body(document, (noun.plural, name))
                done = put(conn, space_key, kind, name, document, CHANGED_BY, fields)
                warned += [f"{noun.plural}.{name}: {_warning(each)}" for each in done["warnings"]]
            except InputError as error:
                failed[name] = error
        if len(failed) == len(left):
            name, why = next(iter(failed.items()))
            raise InputError(f"{noun.plural}.{name}: {_place(why)}; nothing was stored")
        left = {name: left[name] for name in failed}
    return warned


def _warning(warning: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in warning["loc"] if part != "body")
    return f"{place}: {warning['msg']}"


def _delete(conn: Connection, space_key: int, noun: Noun, names: Sequence[str]) -> None:
    """As `_store`: one that others refer to is deleted after them."""
    kind, left = _kind_of(noun), list(names)
    while left:
        failed: list[tuple[str, Conflict]] = []
        for name in left:
            try:
                kind.check_delete(name, presets.list_current(conn, space_key))
                presets.delete(conn, space_key, noun.kind, name, CHANGED_BY)
            except Conflict as error:
                failed.append((name, error))
        if len(failed) == len(left):
            raise Conflict(f"{failed[0][1]}; nothing was stored")
        left = [name for name, _ in failed]


def _kind_of(noun: Noun) -> PresetKind:
    """Imported where a command needs it: the schemas of the HTTP API take a second to load."""
    from api.routes.merchandising import pages, placements, rules, segments

    kinds = (placements.KIND, pages.KIND, rules.KIND, segments.KIND)
    return next(kind for kind in kinds if kind.kind == noun.kind)


def _place(error: InputError) -> str:
    """The error with the place in the document, where its text does not begin with it."""
    if not error.problems:
        return str(error)
    first = error.problems[0]
    place = ".".join(str(part) for part in first.loc if part != "body")
    return f"{place}: {first.msg}" if place else first.msg


def _difference(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    old, new = ([] if each is None else text_of({name: dict(each)}).splitlines() for each in (before, after))
    named = (f"{name} (stored)", f"{name} (file)")
    return "\n".join(difflib.unified_diff(old, new, *named, lineterm="", n=2))


def _summary(changes: Mapping[str, str]) -> str:
    counts = [(status, list(changes.values()).count(status)) for status in ("created", "updated", "deleted")]
    told = ", ".join(f"{n} {status}" for status, n in counts if n)
    same = list(changes.values()).count("unchanged")
    return f"{told or 'no change'}, {same} unchanged"
