"""KeyFirst: key, scope and space of a request are looked at before its body is read.

Of one without a body the route itself looks, so that it is matched once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.auth import ASK_S, Needs, bearer_of, look, needs_of
from api.limits.body_buffering import has_body, without_body
from engine.errors import NearfieldError, StoreUnavailable
from engine.store import spaces
from engine.store.database.connections import Database

IN_SPACE = "/v1/{space}/"  # routes of a space that is there already


@dataclass(frozen=True)
class Way:
    """What of a route is known from the headers of a request."""

    path: re.Pattern[str]
    needs: Needs | None  # None: no key
    in_space: bool
    reads: bool  # a body


def ways(routers: Iterable[APIRouter]) -> dict[str, list[Way]]:
    """Those of each method, in the order in which they are matched."""
    found: dict[str, list[Way]] = {}
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            in_space, reads = route.path.startswith(IN_SPACE), route.body_field is not None
            way = Way(route.path_regex, needs_of(route.dependencies), in_space, reads)
            for method in route.methods or ():
                found.setdefault(method, []).append(way)
    return found


class KeyFirst:
    """ASGI middleware: 401, 403 or 404 for a request whose body nobody is to read. Says in `reads_body` of its state
    whether anybody will."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]):
        self.app, self._ways = app, ways(routers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and has_body(scope):
            refusal = await self._looked(scope)
            if refusal is not None:
                await without_body(refusal, scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _looked(self, scope: Scope) -> Response | None:
        scope["state"]["reads_body"] = False
        for way in self._ways.get(scope["method"], ()):
            found = way.path.match(scope["path"])
            if found is not None:
                scope["state"]["reads_body"] = way.reads
                return None if way.needs is None else await self._refusal(scope, way, found.groupdict().get("space"))
        return None

    async def _refusal(self, scope: Scope, way: Way, space: str | None) -> Response | None:
        request = Request(scope)
        assert way.needs is not None
        try:
            await look(request.app.state.keyring, bearer_of(scope["headers"]), way.needs, space)
            if way.in_space and space is not None and request.app.state.live_spaces.view_if_open(space) is None:
                await _exists(request.app.state.database, space)
        except HTTPException as error:
            return await problems.http(request, error)
        except NearfieldError as error:
            return await problems.expected(request, error)
        return None


async def _exists(database: Database, space: str) -> None:
    """NotFound where there is none; where PostgreSQL does not say so the route will see."""

    def ask() -> None:
        with database.connect() as conn:
            spaces.get(conn, space)

    try:
        async with asyncio.timeout(ASK_S):
            await asyncio.to_thread(ask)
    except (TimeoutError, StoreUnavailable):
        return
