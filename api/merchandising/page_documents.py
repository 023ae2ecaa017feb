"""Page documents, parsed once for each version of the presets."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pydantic import ValidationError

from api.merchandising.placed import check_parameters, wrong_document
from api.messages.merchandising.page_schemas import OF_PAGE_SHELF, PageDocument, PageShelfBody
from engine.catalogue.predicate import canonical_field
from engine.errors import InputError, short_repr
from engine.merchandising.pages import Best, Page, PageShelf, Seed, placeholders
from engine.merchandising.presets import Presets
from engine.merchandising.stored_document import StoredDocument
from engine.segments.segments import Segments

Loc = tuple[str | int, ...]
_parsed: WeakKeyDictionary[Presets, dict[str, Page]] = WeakKeyDictionary()


def page_of(presets: Presets, name: str, loc: Loc) -> Page:
    """The current version of a page; InputError for an unknown one, with the names that exist."""
    of_presets = _parsed.get(presets)
    if of_presets is None:
        of_presets = _parsed[presets] = {}
    if name not in of_presets:
        stored = presets.pages.get(name)
        if stored is None:
            names = ", ".join(sorted(presets.pages)) or "none"
            raise InputError(f"there is no page {short_repr(name)}; this space has: {names}", loc=loc)
        try:
            of_presets[name] = parse_page(stored, presets.segments)
        except InputError as error:
            raise InputError(f"page {name!r} cannot be used: {error}; store it again", loc=loc) from None
    return of_presets[name]


def parse_page(stored: StoredDocument, segments: Segments, loc: Loc = ()) -> Page:
    """InputError names the part of the document that is wrong."""
    try:
        valid = PageDocument.model_validate(stored.body)
    except ValidationError as error:
        raise wrong_document(error, loc) from None
    shelves = tuple(_shelf(body, segments, (*loc, "shelves", at)) for at, body in enumerate(valid.shelves))
    first: dict[str, int] = {}
    for at, shelf in enumerate(shelves):
        if first.setdefault(shelf.name, at) != at:
            raise InputError(f"two shelves have the name {shelf.name!r}", loc=(*loc, "shelves", at, "name"))
    return Page(stored.name, stored.version, shelves, valid.distinct, None if valid.order == "given" else valid.order)


def _shelf(body: PageShelfBody, segments: Segments, loc: Loc) -> PageShelf:
    parameters = check_parameters(body, OF_PAGE_SHELF, segments, loc)
    if body.seed is not None and body.best is not None:
        raise InputError("a shelf has `seed` or `best`, not both", loc=(*loc, "best"))
    if body.seed is not None and "item_ids" in parameters:
        raise InputError("`seed` chooses the item; leave item_ids away", loc=(*loc, "item_ids"))
    _check_title(body, loc)
    seed = None if body.seed is None else Seed(body.seed.event, body.seed.nth)
    best = None
    if body.best is not None:
        best = Best(canonical_field(body.best.field, (*loc, "best", "field")), body.best.field, body.best.nth)
    return PageShelf(body.name, body.placement, parameters, body.title, seed, best)


def _check_title(body: PageShelfBody, loc: Loc) -> None:
    for name in placeholders(body.title or ""):
        if body.best is not None and name != "value":
            raise InputError(
                f"the title of a shelf with `best` can name {{value}}, got {{{name}}}", loc=(*loc, "title")
            )
        if body.best is None and (body.seed is None or not name):
            message = f"expected a shelf with `seed` or `best` for {{{name}}} in its title"
            raise InputError(message, loc=(*loc, "title"))
