"""The pipeline that makes every list of items: shelves, pages, similar items, ranked items, recommendations for all.

    requests -> eligibility -> candidates -> exclusions -> scoring -> filling -> shaping -> explanation

Eligibility is one mask per filter, shared by the requests. Exclusions are rows per request; with `distinct`, the items
of earlier shelves too. Scoring puts all eligible items in their true order, boosts included. Filling continues a shelf
with the sources of its fallback, in turn, and shaping chooses from all, so that the guarantee holds for every source
and all stages: when k eligible items exist, k come back; otherwise the shortfall says why.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np

from engine.catalogue.predicate import Predicate
from engine.deadline import check_deadline, needs_more_work, until_deadline
from engine.errors import Problem
from engine.recommending.exclusions import excluded_rows, rows_of
from engine.recommending.explanation import explain
from engine.recommending.filling import Link, Unranked, fill, has_unranked
from engine.recommending.scoring.compile_boosts import compiled_boosts
from engine.recommending.scoring.min_score import best_above, lowest_score, why_short
from engine.recommending.scoring.rotation import rotated
from engine.recommending.scoring.score_parts import score_parts
from engine.recommending.shaping.explore import explore
from engine.recommending.shaping.fixed_slots import NO_SLOTS, FixedSlots, with_fixed
from engine.recommending.shaping.group_members import siblings_of
from engine.recommending.shaping.pins import place_pins
from engine.recommending.shaping.registry import SHAPING, needs_find
from engine.recommending.sources.registry import SOURCES
from engine.recommending.sources.source import Source
from engine.recommending.values.answer import Answer, Hit, Shortfall
from engine.recommending.values.boosts import Boost
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest, search
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.events import Weighting

BATCH_FLOATS = 2**24  # scores of one search
WIDEN = 4  # shaping that leaves a shelf short gets so many times the candidates


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """A request over rows: everything the pipeline needs to fill its shelf."""

    context: Context
    source: Source
    ranking: Ranking | None  # None: the source knows nothing for this request
    excluded: set[int]
    boost: Boost | None = None
    lowest: float | None = None  # the minimum score, see `lowest_score`
    _links: list[Link] = field(default_factory=list)

    @property
    def links(self) -> list[Link]:
        """The fallback, made at its first use: most shelves do not need it."""
        names = self.fallback
        if len(self._links) < len(names):
            self._links.extend(self._link(SOURCES[name]) for name in names)
        return self._links

    @property
    def fallback(self) -> tuple[str, ...]:
        asked = self.context.request.fallback
        return self.source.fallback if asked is None else asked

    def _link(self, source: Source) -> Link:
        return Link(lambda: source.rank([self.context])[0], lambda: self._excluded_of(source))

    def _excluded_of(self, source: Source) -> AbstractSet[int]:
        if source.never_shows is self.source.never_shows and source.shows == self.source.shows:
            return self.excluded
        never_shown = (*self.source.never_shows(self.context), *source.never_shows(self.context))
        excluded = excluded_rows(self.context, never_shown, source.shows)
        return excluded if self.source.shows or source.shows else excluded | self.excluded


@dataclass(frozen=True, eq=False, slots=True)
class Searched:
    """What a search found for one of many plans, excluded rows included."""

    scores: list[float]
    rows: list[int]  # -1: no more

    def is_all(self, view: View) -> bool:
        """Whether a wider search finds nothing more."""
        return len(self.rows) >= view.n_vectors or self.rows[-1] < 0


@dataclass(frozen=True, eq=False, slots=True)
class Shelf:
    """The items that shaping chose."""

    hits: list[Hit]
    left_out_by: list[str]  # the stages that left candidates out
    n_left_out: int
    warnings: tuple[Problem, ...] = ()


def recommend(
    view: View, requests: Sequence[Request], *, weighting: Weighting, now_us: int, distinct: bool = False
) -> list[Answer]:
    """The answer to each request, in order. `distinct`: an item is on one shelf only; earlier shelves choose first."""
    return answers(plans(view, requests, weighting, now_us), distinct=distinct)


def plans(view: View, requests: Sequence[Request], weighting: Weighting, now_us: int) -> list[Plan]:
    """Requests with the same filter share a view; compiled boosts are kept with the unfiltered view."""
    filtered: dict[Predicate, View] = {}
    contexts = []
    for request in requests:
        eligible, predicate = view, request.predicate
        if predicate is not None:
            eligible = filtered[predicate] = filtered.get(predicate) or view.where(predicate)
        if request.include_items is not None:
            eligible = eligible.among(rows_of(view, request.include_items))
        contexts.append(Context(eligible, request, weighting, now_us))
    made, of_history = list[Plan](), dict[Hashable, set[int]]()
    for context, ranking in until_deadline(zip(contexts, _rankings(contexts), strict=True), every=1):
        request = context.request
        source, boost = SOURCES[request.source], rotated(context, compiled_boosts(view, request, now_us))
        never_shown = source.never_shows(context)
        key = id(request.history), id(request.impressions), request.exclude, request.exclude_within, source.shows
        if request.exclude_items or request.shown or never_shown:
            excluded = excluded_rows(context, never_shown, source.shows)
        elif (known := of_history.get(key)) is not None:  # as for another shelf of a page
            excluded = known
        else:
            excluded = of_history[key] = excluded_rows(context, (), source.shows)
        made.append(Plan(context, source, ranking, excluded, boost, lowest_score(context, ranking)))
    return made


def answers(planned: Sequence[Plan], *, distinct: bool = False) -> list[Answer]:
    made = []
    shown: set[int] = set()
    for plan, searched in until_deadline(zip(planned, _search(planned), strict=True), every=1):
        shelf = _shelf(plan, searched, shown)
        if distinct:
            shown.update(hit.row for hit in shelf.hits)
        made.append(_answer(plan, shelf))
    return made


def _rankings(contexts: Sequence[Context]) -> Sequence[Ranking | None]:
    """Each source ranks all of its requests with one call."""
    if len(contexts) == 1:
        return SOURCES[contexts[0].request.source].rank(contexts)
    places: dict[str, list[int]] = {}
    for at, context in enumerate(contexts):
        places.setdefault(context.request.source, []).append(at)
    rankings: list[Ranking | None] = [None] * len(contexts)
    for source, of_source in places.items():
        for at, ranking in zip(of_source, SOURCES[source].rank([contexts[at] for at in of_source]), strict=True):
            rankings[at] = ranking
    return rankings


def _search(planned: Sequence[Plan]) -> list[Searched | None]:
    """The searches of many plans over one view as products of matrices; None where a shelf searches for itself."""
    searched: list[Searched | None] = [None] * len(planned)
    if len(planned) == 1:
        return searched
    groups: dict[tuple[int, str], list[int]] = {}
    for at, plan in enumerate(planned):
        if isinstance(plan.ranking, Nearest) and plan.boost is None and plan.lowest is None:  # others widen
            groups.setdefault((id(plan.context.view), plan.ranking.index), []).append(at)
    for group in groups.values():
        size = max(1, BATCH_FLOATS // max(1, planned[group[0]].context.view.n_vectors))
        group.sort(key=lambda at: _width(planned[at]))  # plans of about the same width share a search
        for start in range(0, len(group), size):
            check_deadline()
            part = group[start : start + size]
            for at, found in zip(part, _search_together([planned[at] for at in part]), strict=True):
                searched[at] = found
    return searched


def _search_together(planned: Sequence[Plan]) -> list[Searched]:
    """`planned` are of one view and index, the widest last. Shelves with the same vector share what it finds."""
    rankings = [plan.ranking for plan in planned if isinstance(plan.ranking, Nearest)]
    unlike = {id(ranking.vector): ranking.vector for ranking in rankings}
    view, vectors = planned[0].context.view, np.array([*unlike.values()], np.float32)
    scores, rows = search(view, rankings[0].index, vectors, _width(planned[-1]), view.allowed)
    found = dict(zip(unlike, map(Searched, scores.tolist(), rows.tolist()), strict=True))
    return [found[id(ranking.vector)] for ranking in rankings]


def _width(plan: Plan) -> int:
    return _n_candidates(plan.context.request) + len(plan.excluded)


def _n_candidates(request: Request) -> int:
    return max((stage.n_candidates(request) for stage in SHAPING), default=request.k)


def _shelf(plan: Plan, searched: Searched | None, shown: AbstractSet[int]) -> Shelf:
    """`shown` are the rows of earlier shelves. Items pinned to later pages fill a shelf that is too short without."""
    context, k = plan.context, plan.context.request.k
    if not needs_find(context.request):
        return _chosen(plan, context, NO_SLOTS, searched, shown)

    def find(view: View, n: int, without: AbstractSet[int]) -> list[Hit]:
        anywhere = replace(plan, context=replace(context, view=view), lowest=None)
        return _candidates(anywhere, n, None, shown | without)

    context = replace(context, excluded=plan.excluded | shown, find=find)
    pins = place_pins(context, find)
    while True:
        shelf = _chosen(plan, context, explore(context, find, pins), searched, shown)
        more = pins.brought_forward(k, k - len(shelf.hits))
        if more is pins:
            return shelf
        pins = more


def _chosen(
    plan: Plan, context: Context, fixed: FixedSlots, searched: Searched | None, shown: AbstractSet[int]
) -> Shelf:
    """Shaping chooses among n candidates; while it leaves the shelf short and there are more, n grows."""
    k, n = context.request.k, _n_candidates(context.request)
    if fixed.hits:
        context, shown = with_fixed(context, fixed.hits), shown | fixed.reserved
    while True:
        candidates = _candidates(plan, n, searched, shown)
        shelf = _shaped(context, candidates)
        if len(shelf.hits) >= k - len(context.fixed) or len(candidates) < n:
            return Shelf(fixed.around(shelf.hits, k), shelf.left_out_by, shelf.n_left_out, fixed.warnings)
        check_deadline()
        needs_more_work()
        n *= WIDEN


def _shaped(context: Context, candidates: list[Hit]) -> Shelf:
    hits, left_out_by = candidates, []
    for stage in SHAPING:
        n_before = len(hits)
        hits = stage.shape(context, hits)
        if len(hits) < n_before:
            left_out_by.append(stage.name)
    return Shelf(hits, left_out_by, len(candidates) - len(hits))


def _candidates(plan: Plan, n: int, searched: Searched | None, shown: AbstractSet[int]) -> list[Hit]:
    """The `n` best items: first from the source, then from its fallback."""
    view, ranking, boost = plan.context.view, plan.ranking, plan.boost
    excluded = plan.excluded | shown if shown else plan.excluded
    if plan.lowest is not None:
        return best_above(ranking, plan.lowest, view, n, excluded, boost)
    hits: list[Hit] = []
    if searched is not None and isinstance(ranking, Nearest):
        hits = ranking.hits(view, searched.scores, searched.rows, n, excluded)
        if len(hits) < n and not searched.is_all(view):  # earlier shelves show it, or shaping needs more
            hits = ranking.best(view, n, excluded, boost)
    elif ranking is not None:
        hits = ranking.best(view, n, excluded, boost)
    if len(hits) == n and not (isinstance(ranking, Nearest) and has_unranked(hits)):
        return hits
    if isinstance(ranking, Nearest):
        hits = Unranked(ranking, excluded, plan.links, view, boost).placed(hits, n)
    return fill(hits, n, plan.links, view, shown, boost)


def _answer(plan: Plan, shelf: Shelf) -> Answer:
    context, hits, shortfall = plan.context, shelf.hits, None
    k = context.request.k
    if len(hits) < k:
        reason = plan.source.shortfall(context, (context.request.source, *plan.fallback))
        if plan.lowest is not None:
            reason = why_short(context, plan.lowest)
        if shelf.n_left_out:
            reason = f"{' and '.join(shelf.left_out_by)} left out {shelf.n_left_out} of the eligible items; {reason}"
        shortfall = Shortfall(k, len(hits), reason)
    siblings = None if context.request.group_by is None else siblings_of(context, hits, plan.excluded)
    if context.request.explain is None:
        return Answer(tuple(hits), shortfall, warnings=shelf.warnings, siblings=siblings)
    because, parts = explain(context, hits, plan.boost), score_parts(context, hits, plan.boost)
    return Answer(tuple(hits), shortfall, because, shelf.warnings, parts, siblings)
