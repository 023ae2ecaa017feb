"""AuthMiddleware: checks the key, scope and space of a request before its body is read.

A request without a body is checked by its route alone (`auth.require`), so that its path is matched only once.
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
from api.auth import LOOKUP_TIMEOUT_S, RequiredScope, authorize, bearer_key, required_scope_of
from api.limits.body_buffering import has_body, without_body
from engine.errors import NearfieldError, StoreUnavailable
from engine.store import spaces
from engine.store.database.connections import Database

SPACE_PREFIX = "/v1/{space}/"  # routes that need an existing space


@dataclass(frozen=True)
class RouteRule:
    """What can be checked of a route before the body."""

    path: re.Pattern[str]
    required_scope: RequiredScope | None  # None: no key
    needs_space: bool
    reads_body: bool


def route_rules(routers: Iterable[APIRouter]) -> dict[str, list[RouteRule]]:
    """By HTTP method, in the order in which routes are matched."""
    rules: dict[str, list[RouteRule]] = {}
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            needs_space, reads_body = route.path.startswith(SPACE_PREFIX), route.body_field is not None
            rule = RouteRule(route.path_regex, required_scope_of(route.dependencies), needs_space, reads_body)
            for method in route.methods or ():
                rules.setdefault(method, []).append(rule)
    return rules


class AuthMiddleware:
    """ASGI middleware: 401, 403 or 404 before the body is read. It sets `reads_body` in the state of the request, which
    tells BodyBuffer whether the route reads the body."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]):
        self.app, self._rules = app, route_rules(routers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and has_body(scope):
            error = await self._check(scope)
            if error is not None:
                await without_body(error, scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _check(self, scope: Scope) -> Response | None:
        scope["state"]["reads_body"] = False
        for rule in self._rules.get(scope["method"], ()):
            match = rule.path.match(scope["path"])
            if match is not None:
                scope["state"]["reads_body"] = rule.reads_body
                space = match.groupdict().get("space")
                return None if rule.required_scope is None else await self._check_key(scope, rule, space)
        return None

    async def _check_key(self, scope: Scope, rule: RouteRule, space: str | None) -> Response | None:
        request = Request(scope)
        assert rule.required_scope is not None
        try:
            await authorize(request.app.state.keyring, bearer_key(scope["headers"]), rule.required_scope, space)
            if rule.needs_space and space is not None and request.app.state.live_spaces.view_if_open(space) is None:
                await _check_space_exists(request.app.state.database, space)
        except HTTPException as error:
            return await problems.handle_http_exception(request, error)
        except NearfieldError as error:
            return await problems.handle_nearfield_error(request, error)
        return None


async def _check_space_exists(database: Database, space: str) -> None:
    """NotFound when there is no such space. While PostgreSQL is unavailable the route decides."""

    def check() -> None:
        with database.connect() as conn:
            spaces.get(conn, space)

    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            await asyncio.to_thread(check)
    except (TimeoutError, StoreUnavailable):
        return
