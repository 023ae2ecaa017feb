"""The sources of candidates by name. A new source is a file beside this one and one line here."""

from __future__ import annotations

from engine.recommending.sources import for_you, given_items, new, popular, similar
from engine.recommending.sources.fallback import no_fallback, no_more_items, requested_fallback
from engine.recommending.sources.source import Source

SOURCES: dict[str, Source] = {
    "for_you": Source(for_you.rank, requested_fallback, no_more_items),
    "similar": Source(similar.rank, similar.fallback, similar.shortfall, similar.never_shows),
    "similar_to_seed": Source(similar.rank_from_items, requested_fallback, no_more_items, similar.never_shows),
    "given_items": Source(given_items.rank, no_fallback, given_items.shortfall),
    "popular": Source(popular.rank, requested_fallback, no_more_items),
    "new": Source(new.rank, requested_fallback, no_more_items),
}
