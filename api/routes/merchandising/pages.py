"""pages: the shelves of a page, stored under a name."""

from __future__ import annotations

from collections.abc import Sequence

from api.merchandising.page_documents import parse_page
from api.merchandising.placed import placement_of
from api.routes.merchandising.preset_routes import Document, PresetKind, preset_router
from engine.merchandising.presets import parse_presets
from engine.merchandising.stored_document import StoredDocument
from engine.store.shelves.presets import StoredPreset

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


KIND = PresetKind("page", "pages", "A page", EXAMPLE, check)
router = preset_router(KIND)
