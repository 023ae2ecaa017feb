"""The sources of candidates by name. A new source is a file beside this one and one line here."""

from __future__ import annotations

from engine.recommending.sources import (
    for_you,
    given_items,
    listed_items,
    new,
    other_categories,
    popular,
    random_items,
    search,
    similar,
)
from engine.recommending.sources.from_behaviour import (
    bought_together,
    buy_again,
    for_these_people,
    recently_viewed,
    trending,
)
from engine.recommending.sources.source import Source

SOURCES: dict[str, Source] = {
    "for_you": Source(for_you.rank, ("popular",)),
    "similar": Source(similar.rank, ("popular",), never_shows=similar.never_shows, exclude="purchased"),
    "popular": Source(popular.rank),
    "new": Source(new.rank),
    "recently_viewed": Source(recently_viewed.rank, exclude="purchased", shows=frozenset({"seen"})),
    "bought_together": Source(
        bought_together.rank,
        ("similar_of_other_categories", "similar", "popular"),
        never_shows=similar.never_shows,
        exclude="purchased",
    ),
    "similar_of_other_categories": Source(
        other_categories.rank, never_shows=similar.never_shows, exclude="purchased"
    ),  # no strategy of requests
    "trending": Source(trending.rank, ("popular",)),
    "buy_again": Source(buy_again.rank, exclude="none", shows=frozenset({"seen", "purchased"})),
    "for_these_people": Source(for_these_people.rank, ("popular",)),
    "random": Source(random_items.rank),
    "list": Source(listed_items.rank, exclude=()),
    # of the routes search and rank
    "search": Source(search.rank, ("popular_with_vector",), search.shortfall, search.never_shows),
    "popular_with_vector": Source(search.rank_popular_with_vector),
    "given_items": Source(given_items.rank, shortfall=given_items.shortfall),
}
STRATEGIES = (  # the sources that a request may name
    "for_you",
    "similar",
    "popular",
    "new",
    "bought_together",
    "trending",
    "recently_viewed",
    "buy_again",
    "for_these_people",
    "random",
    "list",
)
