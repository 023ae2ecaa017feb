"""Preset changes: documents of any kinds that are stored or tried together, so each is checked beside all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api.routes.merchandising import pages, placements, rules, segments
from api.routes.merchandising.preset_routes import MAX_PRESETS, Document, PresetKind, segments_of
from engine.errors import Conflict, InputError, NotFound, Problem
from engine.merchandising.presets import check_body, check_name
from engine.store.database.connections import Connection
from engine.store.shelves import presets
from engine.store.shelves.presets import StoredPreset
from indexing.live.view import LiveView

KINDS = (segments.KIND, rules.KIND, placements.KIND, pages.KIND)  # in the order in which their errors are reported


@dataclass(frozen=True)
class Change:
    kind: PresetKind
    name: str
    document: Document | None  # None deletes it


def checked(
    changes: Sequence[Change], current: Sequence[StoredPreset], fields: tuple[LiveView, int]
) -> tuple[list[StoredPreset], list[Problem]]:
    """The presets of the space after all changes, and warnings at `body`, the plural of the kind and the name.
    InputError for a wrong document, at such a place; Conflict for a deletion of one that others need."""
    after, warnings = _after(changes, current), list[Problem]()
    stored = {(each.kind, each.name) for each in current}
    for change in sorted(changes, key=lambda each: KINDS.index(each.kind)):
        kind, name = change.kind, change.name
        try:
            if change.document is not None:
                check_name(name, ("body",))
                check_body(change.document, ("body",))
                kind.check(name, change.document, after)
                found = kind.check_fields(change.document, segments_of(after), *fields)
                warnings += [_placed(change, each) for each in found]
            elif (kind.kind, name) not in stored:
                raise NotFound(f"there is no {kind.kind} {name!r} to delete")
            else:
                kind.check_delete(name, after)
        except InputError as error:
            problems = tuple(_placed(change, each) for each in error.problems)
            raise InputError(f"{kind.plural}.{name}: {error}", problems=problems) from None
    for kind in KINDS:
        if sum(each.kind == kind.kind for each in after) > MAX_PRESETS:
            raise Conflict(f"a space has at most {MAX_PRESETS:,} {kind.plural}; delete some first")
    return after, warnings


def store(conn: Connection, space_key: int, changes: Sequence[Change], changed_by: str) -> None:
    """Changes that are checked, in the transaction that has the lock of the space."""
    for each in changes:
        presets.put(conn, space_key, each.kind.kind, each.name, each.document, changed_by)


def _after(changes: Sequence[Change], current: Sequence[StoredPreset]) -> list[StoredPreset]:
    versions = {(each.kind, each.name): each.version for each in current}
    changed = {(each.kind.kind, each.name): each for each in changes}
    made = [
        StoredPreset(kind, name, versions.get((kind, name), 0) + 1, each.document, datetime.now(UTC), "")
        for (kind, name), each in changed.items()
        if each.document is not None
    ]
    return [each for each in current if (each.kind, each.name) not in changed] + made


def _placed(change: Change, problem: Problem) -> Problem:
    return Problem(("body", change.kind.plural, change.name, *problem.loc[1:]), problem.msg)
