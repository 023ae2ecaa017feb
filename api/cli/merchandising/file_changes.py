"""What a YAML file of presets changes in a space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from api.cli.merchandising.yaml_documents import PLURALS, Documents
from engine.errors import Conflict, InputError, Problem
from engine.store.database.connections import Connection
from engine.store.shelves import presets

if TYPE_CHECKING:
    from api.routes.merchandising.preset_changes import Change

Statuses = dict[str, dict[str, str]]  # by kind and name: created, updated, deleted or unchanged


def stored_documents(conn: Connection, space_key: int) -> dict[str, Documents]:
    """By kind and name."""
    found: dict[str, Documents] = {plural: {} for plural in PLURALS}
    for each in presets.list_current(conn, space_key):
        found[f"{each.kind}s"][each.name] = dict(each.body or {})
    return found


def statuses(stored: Mapping[str, Documents], wanted: Mapping[str, Documents], prune: bool) -> Statuses:
    """What happens to each document of a file; with `prune`, also to the others of the kinds that the file has."""
    return {plural: _of_kind(stored[plural], documents, prune) for plural, documents in wanted.items()}


def _of_kind(stored: Documents, wanted: Documents, prune: bool) -> dict[str, str]:
    found = {
        name: "created" if name not in stored else "unchanged" if stored[name] == document else "updated"
        for name, document in wanted.items()
    }
    return found | ({name: "deleted" for name in stored if name not in wanted} if prune else {})


def changes_of(found: Statuses, wanted: Mapping[str, Documents]) -> list[Change]:
    from api.routes.merchandising.preset_changes import KINDS, Change  # a second to load

    kinds = {kind.plural: kind for kind in KINDS}
    return [
        Change(kinds[plural], name, None if status == "deleted" else wanted[plural][name])
        for plural, of_kind in found.items()
        for name, status in of_kind.items()
        if status != "unchanged"
    ]


def place_of(error: InputError | Conflict) -> str:
    """The error with the kind, the name and the place in the document."""
    if not isinstance(error, InputError) or not error.problems:
        return str(error)
    first = error.problems[0]
    return f"{'.'.join(map(str, first.loc[1:3]))}: {rest_of(first)}"


def rest_of(problem: Problem) -> str:
    place = ".".join(str(part) for part in problem.loc[3:])
    return f"{place}: {problem.msg}" if place else problem.msg
