"""Who may do what: bearer keys with scopes read < write < admin, each for one space or all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from engine.errors import StoreUnavailable
from engine.store import keys
from engine.store.database import Database
from engine.store.keys import KeyRecord, Scope

REMEMBER_S = 2.0  # how long a revoked key may still work
MAX_REMEMBERED = 10_000
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Keyring:
    """Keys looked up in PostgreSQL and remembered for a moment. Never holds or logs the text of a key."""

    def __init__(self, database: Database, require_keys: bool):
        self._database, self._require = database, require_keys
        self._found: dict[bytes, tuple[float, KeyRecord | None]] = {}
        self._closed: tuple[float, bool] = (0.0, True)

    def known(self, text: str | None) -> bool:
        """Whether an answer is remembered, so that `closed` or `find` need not ask PostgreSQL."""
        asked_at = self._closed[0] if text is None else self._found.get(_digest(text), (0.0, None))[0]
        return time.monotonic() - asked_at <= REMEMBER_S or (text is None and self._require)

    def closed(self) -> bool:
        """Whether a key is needed: always when required, else as soon as there is one."""
        if self._require:
            return True
        asked_at, closed = self._closed
        if time.monotonic() - asked_at > REMEMBER_S:
            try:
                with self._database.connect() as conn:
                    closed = keys.any_live(conn)
            except StoreUnavailable:
                if not asked_at:
                    raise
                return closed  # reads go on while PostgreSQL is away
            self._closed = (time.monotonic(), closed)
        return closed

    def find(self, text: str) -> KeyRecord | None:
        digest = _digest(text)
        asked_at, record = self._found.get(digest, (0.0, None))
        if time.monotonic() - asked_at <= REMEMBER_S:
            return record
        try:
            with self._database.connect() as conn:
                found = keys.find(conn, text)
        except StoreUnavailable:
            if record is not None:
                return record  # reads go on while PostgreSQL is away
            raise
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        self._found[digest] = (time.monotonic(), found)
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def require(scope: Scope) -> Callable[[Request, Bearer], Awaitable[None]]:
    """A dependency that lets a request through if its key has `scope` in the space of its path."""

    async def look(request: Request, bearer: Bearer) -> None:
        if request.app.state.keyring.known(bearer and bearer.credentials):
            check(request, bearer)
        else:
            await run_in_threadpool(check, request, bearer)

    def check(request: Request, bearer: Bearer) -> None:
        keyring: Keyring = request.app.state.keyring
        if bearer is None:
            if keyring.closed():
                raise HTTPException(
                    401, "a key is needed: Authorization: Bearer nf_...", {"WWW-Authenticate": "Bearer"}
                )
            return
        record = keyring.find(bearer.credentials)
        if record is None:
            raise HTTPException(401, "this key is unknown or revoked", {"WWW-Authenticate": "Bearer"})
        if not record.allows(scope, request.path_params.get("space")):
            raise HTTPException(403, f"this key has no {scope} scope here")

    return look
