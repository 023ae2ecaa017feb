"""Work limit: what a read costs before it starts: whether it may run on the event loop, and whether it may run at
all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.catalogue import request_cost
from engine.recommending.values.request import Request
from engine.settings import Settings
from indexing.gpu.gpu_client import GpuClientSearcher
from indexing.live.view import LiveView

QUICK_K = 100
QUICK_FLOATS = 2**20  # multiplied and added in a few tenths of a millisecond


def is_quick(view: LiveView, request: Request) -> bool:
    """Whether the answer probably takes less time than a move to a thread: few items known to pass the filter, and an
    index that is searched in well under a millisecond. Work that turns out to be more raises `MoreWork`."""
    generation = view.generation
    if request.k > QUICK_K or generation is None:
        return False
    if view.delta is not None or request.pins or request.explore:
        return False
    searches_items = request.source in ("search", "similar")
    if isinstance(generation.items_to_items if searches_items else generation.users_to_items, GpuClientSearcher):
        return False  # another process answers: on the event loop its searches would not be batched, and all would wait
    if request.predicate is not None:
        n_passing = view.n_passing(request.predicate)
        return n_passing is not None and n_passing * view.dim <= QUICK_FLOATS
    exact = generation.manifest["indexes"]["cosine" if searches_items else "metric"]["factory"] == "Flat"
    return not exact or view.n_vectors * view.dim <= QUICK_FLOATS


def check_work(
    view: LiveView, settings: Settings, requests: Sequence[Request], loc: tuple[str | int, ...], n_shown: int = 0
) -> None:
    """InputError when the filters and boosts of the requests, and `n_shown` items, cost more than is allowed."""
    size = request_cost.RequestSize(len(view.items), len(view.changed))
    if view.generation is not None:
        size = replace(size, text_bytes=view.generation.columns.text_bytes)
    filters = {request.predicate for request in requests if request.predicate is not None}
    filters |= {pin.predicate for request in requests for pin in request.pins if pin.predicate is not None}
    boosts = {request.boosts for request in requests if request.boosts}
    predicates = [*filters, *(predicate for each in boosts for predicate in each.predicates)]
    boosting = sum(size.boost_cost(len(each)) for each in boosts)
    boosting += sum(size.exhaustive_cost() for request in requests if request.boosts)
    cost = sum(map(size.filter_cost, predicates)) + boosting + n_shown * request_cost.ANSWER_ITEM_COST
    request_cost.check_cost(cost, settings.max_work, loc)
