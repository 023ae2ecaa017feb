"""FreshView: the view that answers a read, at least as new as its `min_seq`."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import Depends, Query, Request

from api.deps import LiveSpaces, View
from api.limits.deadline import check_deadline
from api.messages.request_schemas import ReadOptions
from indexing.live.view import LiveView

MAX_WAIT_S = 1.0  # for min_seq, of a read without deadline_ms


def fresh_view(request: Request, view: LiveView, fresh: ReadOptions) -> LiveView:
    """A view that shows the write with `min_seq` and every write acknowledged before it with a lower number. Waits for
    it; DeadlineExceeded when the deadline passes first."""
    now = time.perf_counter()  # not the arrival of the request: its body, which holds min_seq, may arrive later
    if fresh.min_seq is not None and not view.shows(fresh.min_seq, now):
        live_spaces: LiveSpaces = request.app.state.live_spaces
        until = request.state.arrived + MAX_WAIT_S if fresh.deadline_ms is None else request.state.deadline.at
        view = live_spaces.get_existing(view.space.name).wait_for(fresh.min_seq, until - now, now)
    check_deadline(request)
    return view


async def get_fresh_view(request: Request, view: View, fresh: Annotated[ReadOptions, Query()]) -> LiveView:
    return view if fresh.min_seq is None else await asyncio.to_thread(fresh_view, request, view, fresh)


FreshView = Annotated[LiveView, Depends(get_fresh_view)]  # for reads without other parameters
