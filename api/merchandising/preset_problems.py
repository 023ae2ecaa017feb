"""Preset problems: stored documents that cannot be used, or that refer to fields that no item has any more.

Shelves are served all the same. A placement, a page or a rule that names a field without values does what its other
parts say, and a rule that compares a field with a type that no item has does not act.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.merchandising.lost_fields import is_objective_lost, no_numbers
from api.merchandising.page_documents import page_of
from api.merchandising.placed import placement_of, probe
from api.merchandising.rule_documents import broken_rules, rules_of
from api.merchandising.ruled import accepts
from api.messages.shelf_schemas import ShelfBody
from engine.catalogue import predicate as predicates
from engine.catalogue.predicate import PREFIX, Condition, Predicate
from engine.errors import InputError, short_repr
from engine.merchandising.references import depends_on_request
from engine.merchandising.rules import Effect
from engine.recommending.scoring.objective import VALUE_FIELDS
from engine.recommending.values.boosts import CurveBoost
from engine.recommending.values.request import Request
from engine.templates.situation import PROBE
from indexing.live.view import LiveView

Problems = Mapping[tuple[str, str], str]  # (kind, name) -> the problem


def preset_problems(view: LiveView) -> Problems:
    """Kept until an item, a preset or the generation changes."""
    return view.kept("preset problems", (view.presets,), lambda: dict(_problems(view)))


def listed(problems: Problems) -> list[dict[str, str]]:
    return [{"kind": kind, "name": name, "problem": why} for (kind, name), why in sorted(problems.items())]


def _problems(view: LiveView) -> Iterator[tuple[tuple[str, str], str]]:
    presets = view.presets
    yield from presets.broken.items()
    yield from ((("rule", name), why) for name, why in broken_rules(presets).items())
    for rule in rules_of(presets).rules:
        effect = rule.effect(PROBE)
        seed = [] if rule.when.seed is None else [rule.when.seed(PROBE)]
        why = _unknown(view, [*_fields_of_effect(effect), *_fields(seed)])
        if why is None and not accepts(view, effect) and not rule.references:
            why = "it compares a field with a type that no item has"
        if why is not None:
            yield ("rule", rule.name), why
    for name in presets.placements:
        why = _of_placement(view, name)
        if why is not None:
            yield ("placement", name), why
    for name in presets.pages:
        why = _of_page(view, name)
        if why is not None:
            yield ("page", name), why


def _of_placement(view: LiveView, name: str) -> str | None:
    try:
        return _of_parameters(view, placement_of(view.presets, name, ()).parameters)
    except InputError as error:
        return str(error)


def _of_page(view: LiveView, name: str) -> str | None:
    """The first problem of the page, with the name of its shelf."""
    try:
        page = page_of(view.presets, name, ())
        if page.order is not None and is_objective_lost(view, page.order):
            return f"its order needs a number {VALUE_FIELDS[page.order]!r}, which no item has"
        for shelf in page.shelves:
            best = () if shelf.best is None else (shelf.best.field,)
            why = _unknown(view, best) or _of_parameters(view, shelf.parameters)
            if why is not None:
                return f"shelf {shelf.name!r}: {why}"
    except InputError as error:
        return str(error)
    return None


def _of_parameters(view: LiveView, parameters: Mapping[str, Any]) -> str | None:
    body = ShelfBody().model_copy(update=dict(parameters))
    request = probe(body, parameters, view.presets.segments, ())
    why = _unknown(view, _fields_of_request(request))
    if why is None and request.choose_by is not None and no_numbers(view, request.choose_by.field):
        why = f"no item has a number or a time in {short_repr(request.choose_by.field.removeprefix(PREFIX))}"
    fixed = None if depends_on_request(body.filter) else request.predicate
    if why is None and fixed is not None and not view.filters.accepts(fixed, view.changed):
        why = "its filter compares a field with a type that no item has, so its shelves are refused"
    lost = [id_ for id_ in parameters.get("item_ids", ()) if id_ not in view.items] if why is None else []
    return f"there is no item {short_repr(lost[0])}, which item_ids names" if lost else why


def _fields_of_effect(effect: Effect) -> Iterator[str]:
    yield from _fields(effect.predicates)
    yield from (each.field for each in effect.boosts if isinstance(each, CurveBoost))
    yield from (field for field, _ in effect.caps)


def _fields_of_request(request: Request) -> Iterator[str]:
    yield from _fields_of_effect(Effect(request.predicate, request.boosts, request.pins, request.caps))
    if request.group_by is not None:
        yield request.group_by
    if request.choose_by is not None:
        yield request.choose_by.field
    if request.objective in VALUE_FIELDS:
        yield PREFIX + VALUE_FIELDS[request.objective]


def _fields(filters: Iterable[Predicate]) -> Iterator[str]:
    yield from (condition.field for each in filters for condition in predicates.conditions(each))


def _unknown(view: LiveView, fields: Iterable[str]) -> str | None:
    """Fields whose name depends on the context of a request are left out."""
    known = dict.fromkeys(each for each in fields if "{" not in each)
    tests = (Condition(each, "exists", True, "bool") for each in known)
    missing = sorted({each.removeprefix(PREFIX) for test in tests for each in view.unknown_fields(test)})
    return f"no item has a field {', '.join(map(short_repr, missing))}" if missing else None
