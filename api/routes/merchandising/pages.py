"""pages: the shelves of a page, stored under a name."""

from __future__ import annotations

from collections.abc import Sequence

from api.merchandising.catalogue_check import check_shelf, check_title, check_values
from api.merchandising.page_documents import parse_page
from api.merchandising.placed import placement_of
from api.messages.merchandising.page_schemas import PageDocument
from api.routes.merchandising.preset_routes import Document, PresetKind, preset_router
from engine.errors import Problem
from engine.merchandising.pages import placeholders
from engine.merchandising.presets import parse_presets
from engine.merchandising.stored_document import StoredDocument
from engine.segments.segments import Segments
from engine.store.shelves.presets import StoredPreset
from indexing.live.view import LiveView

EXAMPLE: Document = {
    "shelves": [
        {"name": "for-you", "title": "For you", "k": 12},
        {"name": "because", "title": "Because you viewed {title}", "seed": {"event": "view"}, "k": 12},
        {"name": "brand", "title": "More of {value}", "best": {"field": "brand"}, "k": 6},
    ]
}


def check(name: str, body: Document, current: Sequence[StoredPreset]) -> None:
    presets = parse_presets(0, current)
    page = parse_page(StoredDocument(name, 0, body), presets.segments, ("body",))
    for at, shelf in enumerate(page.shelves):
        if shelf.placement is not None:
            placement_of(presets, shelf.placement, ("body", "shelves", at, "placement"))


def check_fields(body: Document, segments: Segments, view: LiveView, keep_days: int) -> list[Problem]:
    found = []
    for at, shelf in enumerate(PageDocument.model_validate(body).shelves):
        place = ("body", "shelves", at)
        found += check_shelf(shelf, segments, view, keep_days, place)
        if shelf.best is not None:
            found += check_values(shelf.best.field, view, (*place, "best", "field"))
        elif shelf.title is not None:
            check_title(placeholders(shelf.title), view, (*place, "title"))
    return found


KIND = PresetKind("page", "pages", "A page", EXAMPLE, check, check_fields=check_fields)
router = preset_router(KIND)
