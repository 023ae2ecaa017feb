"""Placed: requests with the parameters of their placements. A placement is parsed once for each version of the
presets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from api.messages.cursors import Series
from api.messages.merchandising.placement_schemas import OF_DOCUMENT, PlacementDocument
from api.messages.shelf_schemas import Shelf, ShelfBody
from api.problems import plain_message
from api.request_parsing import json_of_filter, parse_recommend
from engine.errors import InputError, Problem, short_repr
from engine.merchandising.placements import OF_REQUEST, Placement, narrowed
from engine.merchandising.presets import Presets
from engine.merchandising.references import References
from engine.merchandising.stored_document import StoredDocument
from engine.recommending.values.request import Request
from engine.segments.segments import Segments
from engine.templates.situation import PROBE

Loc = tuple[str | int, ...]
Body = TypeVar("Body", bound=Shelf)
MAX_K = 1000
SEEDS: Mapping[str, Mapping[str, Any]] = {  # what a strategy needs of a request, to check the rest of a placement
    "similar": {"item_ids": ["seed"]},
    "bought_together": {"item_ids": ["seed"]},
    "list": {"item_ids": ["seed"]},
    "for_these_people": {"user_ids": ["person"]},
}
_parsed: WeakKeyDictionary[Presets, dict[str, Placement]] = WeakKeyDictionary()


def placed(body: Body, presets: Presets, loc: Loc = ()) -> tuple[Body, Placement | None]:
    """The body with the parameters of its placement, narrowed by its own; InputError names one that would widen it."""
    if body.placement is None:
        return body, None
    placement = placement_of(presets, body.placement, (*loc, "placement"))
    asked = {name: getattr(body, name) for name in body.model_fields_set if name not in OF_REQUEST}
    if "filter" in asked:
        asked["filter"] = json_of_filter(asked["filter"], (*loc, "filter"))
    return body.model_copy(update=narrowed(placement, asked, loc)), placement


def stores_seeds(placement: Placement | None) -> bool:
    """Whether a placement names its items itself. It keeps serving without them, by its fallback."""
    return placement is not None and "item_ids" in placement.parameters


def placement_of(presets: Presets, name: str, loc: Loc) -> Placement:
    """The current version of a placement; InputError for an unknown one, with the names that exist."""
    of_presets = _parsed.get(presets)
    if of_presets is None:
        of_presets = _parsed[presets] = {}
    found = of_presets.get(name)
    if found is None:
        stored = presets.placements.get(name)
        if stored is None:
            names = ", ".join(sorted(presets.placements)) or "none"
            raise InputError(f"there is no placement {short_repr(name)}; this space has: {names}", loc=loc)
        try:
            found = parse_placement(stored, presets.segments)
        except InputError as error:
            raise InputError(f"placement {name!r} cannot be used: {error}; store it again", loc=loc) from None
        of_presets[name] = found
    return found


def parse_placement(stored: StoredDocument, segments: Segments, loc: Loc = ()) -> Placement:
    """InputError names the part of the document that is wrong."""
    try:
        valid = PlacementDocument.model_validate(stored.body)
    except ValidationError as error:
        raise wrong_document(error, loc) from None
    parameters = check_parameters(valid, OF_DOCUMENT, segments, loc)
    rules = None if valid.rules == "all" else frozenset(valid.rules)
    return Placement(stored.name, stored.version, parameters, rules)


def check_parameters(valid: ShelfBody, others: frozenset[str], segments: Segments, loc: Loc) -> dict[str, Any]:
    """The parameters of `recommend` that a document sets, beside its `others`; InputError names a wrong one."""
    for of_request in sorted(valid.model_fields_set & OF_REQUEST - others):
        message = f"{of_request} says whom or where a shelf is for; a request brings it, a stored shelf cannot have it"
        raise InputError(message, loc=(*loc, of_request))
    if not 1 <= valid.k <= MAX_K:
        raise InputError(f"expected a k of 1 to {MAX_K}, got {valid.k}", loc=(*loc, "k"))
    parameters = {name: getattr(valid, name) for name in valid.model_fields_set - others}
    probe(valid, parameters, segments, loc)
    return parameters


def probe(body: ShelfBody, parameters: Mapping[str, Any], segments: Segments, loc: Loc) -> Request:
    """The request that parameters make, with values in place of what requests bring; InputError names a wrong one."""
    given = {
        name: value for name, value in SEEDS.get(parameters.get("strategy", ""), {}).items() if name not in parameters
    }
    pages, references = Series(b"", b"", 0), References(segments, PROBE)
    asked = body.model_copy(update=dict(given))
    return parse_recommend(asked, 0, pages=pages, filter_loc=(*loc, "filter"), loc=loc, segments=references)


def wrong_document(error: ValidationError, loc: Loc) -> InputError:
    problems = tuple(
        Problem((*loc, *each["loc"]), plain_message(each["type"], each["msg"]))
        for each in error.errors(include_url=False)
    )
    first = problems[0]
    place = ".".join(str(part) for part in first.loc if part != "body")
    return InputError(f"{place}: {first.msg}" if place else first.msg, problems=problems)
