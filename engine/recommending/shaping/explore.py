"""Exploration: a share of the slots shows items about which little is known, so that their rates become known.

The items are chosen by Thompson sampling (Thompson, Biometrika 1933): the rate of clicks of each candidate is drawn
from its posterior, Beta(a + clicks, b + impressions - clicks), and the largest draws win, so that uncertain and new
items come often and items known to do badly rarely. The candidates are the items that follow the shelf itself, and the
newest ones; the prior is the distribution of the rates of the shop. The slots are at random places. Groups and caps
hold; minimum scores do not apply. Numbers are drawn in the order of the catalogue, also for the items of the shelf
itself: scores that differ by rounding, as alone and in a batch, change no other choice of a seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from engine.deadline import needs_more_work
from engine.recommending.scoring.objective import rate_prior
from engine.recommending.shaping.fixed_slots import FixedSlots, admitted, with_fixed
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context, Find

N_NEXT, N_NEWEST = 200, 100  # candidates that follow the shelf, and new ones


def explore(context: Context, find: Find, fixed: FixedSlots) -> FixedSlots:
    """`fixed` and the explored slots: `explore` x k of them on average, as far as there are free places and items."""
    request = context.request
    if not request.explore:
        return fixed
    needs_more_work()
    draw = np.random.default_rng(None if request.seed is None else [request.seed, len(request.shown)])
    n_wanted = request.explore * request.k
    n = int(n_wanted) + int(draw.random() < n_wanted % 1)
    free = [place for place in range(request.k) if place not in fixed.hits]
    places = sorted(draw.choice(free, min(n, len(free)), replace=False).tolist()) if free else []
    candidates = _candidates(context, find, fixed.reserved) if places else {}
    hits, reserved = dict(fixed.hits), set(fixed.reserved)
    for candidate in _by_drawn_rate(context, candidates, draw):
        if not places:
            break
        chosen = [hit for hit in admitted(with_fixed(context, hits), [candidate]) if hit.row not in reserved]
        if chosen:
            hits[places.pop(0)] = chosen[0]._replace(reason="explored")
            reserved.add(chosen[0].row)
    return replace(fixed, hits=hits, reserved=frozenset(reserved))


def _candidates(context: Context, find: Find, reserved: Collection[int]) -> dict[Hit, bool]:
    """Whether each is a candidate: the items that the shelf would show anyway are not."""
    view, k = context.view, context.request.k
    without = frozenset(reserved)
    best = find(view, k + N_NEXT, without)
    known = {hit.row for hit in best} | without | set(context.excluded)
    newest = view.newest if view.allowed is None else view.newest[view.allowed[view.newest]]
    new = [row for row in newest[: N_NEWEST + len(known)].tolist() if row not in known][:N_NEWEST]
    found = best + (find(view.among(new), len(new), without) if new else [])
    return {hit: place >= k for place, hit in enumerate(found)}


def _by_drawn_rate(context: Context, candidates: Mapping[Hit, bool], draw: np.random.Generator) -> list[Hit]:
    counts, hits = context.view.behaviour.counts, sorted(candidates, key=lambda hit: hit.row)
    rows = [hit.row for hit in hits]
    rate, strength = rate_prior(counts.clicks, counts.impressions) or (0.5, 2.0)  # without counts, all rates alike
    shown = np.maximum(counts.impressions[rows], 0)
    clicked = np.minimum(counts.clicks[rows], shown)  # a click without an impression came from elsewhere
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    rates = draw.beta(strength * rate + clicked, strength * (1 - rate) + shown - clicked)
    return [hits[at] for at in np.argsort(-rates, kind="stable").tolist() if candidates[hits[at]]]
