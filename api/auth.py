"""Who may do what: bearer keys with scopes read < write < admin, each for one space or all."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.limits.executors import key_lookups
from engine.errors import StoreBusy, StoreUnavailable
from engine.store import api_keys
from engine.store.api_keys import KeyRecord, Scope
from engine.store.database.connections import Database

REMEMBER_S = 2.0  # how long a revoked key may still work
ASK_S = 3.0  # a PostgreSQL that says nothing for so long is away
UNKNOWN = "this key is unknown or revoked"
MAX_REMEMBERED = 10_000
MOST_ASKED = 64  # unknown keys looked up at once: whoever makes them up leaves the threads to others
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


@dataclass(frozen=True)
class Standing:
    """Of who sent a request: the record of their key, if it is a live one, and whether one is needed."""

    record: KeyRecord | None = None
    closed: bool = True


class Keyring:
    """Keys looked up in PostgreSQL and remembered for a moment. Never holds or logs the text of a key."""

    def __init__(self, database: Database, require_keys: bool):
        self._database, self._require = database, require_keys
        self._found: dict[bytes, tuple[float, KeyRecord | None]] = {}
        self._closed: tuple[float, bool] = (0.0, True)
        self._asking: dict[bytes, tuple[asyncio.Future[Standing], float]] = {}  # until when each is waited for
        self._threads = key_lookups()

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def known(self, text: str | None) -> Standing | None:
        """What is remembered of a key, or of who has none; None: only `asked` can say."""
        asked_at, last = self._last(text)
        fresh = time.monotonic() - asked_at <= REMEMBER_S or (text is None and self._require)
        return last if fresh else None

    def _last(self, text: str | None) -> tuple[float, Standing]:
        if text is None:
            asked_at, closed = self._closed
            return asked_at, Standing(closed=closed or self._require)
        asked_at, record = self._found.get(_digest(text), (0.0, None))
        return asked_at, Standing(record)

    async def found(self, text: str | None) -> Standing:
        """As `asked`, by one thread for all who ask at once; what was known last where PostgreSQL says nothing."""
        digest = b"" if text is None else _digest(text)
        if digest not in self._asking:
            if len(self._asking) >= MOST_ASKED and not self._is_good(text):
                raise StoreBusy(f"{MOST_ASKED} keys are looked up already; ask again in a moment")
            asking = asyncio.get_running_loop().run_in_executor(self._threads, self.asked, text)
            self._asking[digest] = asking, time.monotonic() + ASK_S
            asking.add_done_callback(lambda done: self._answered(digest, done))
        asking, until = self._asking[digest]
        await asyncio.wait([asking], timeout=max(until - time.monotonic(), 0.0))
        if asking.done():
            return asking.result()
        asked_at, last = self._last(text)
        if not asked_at or (text is not None and last.record is None):
            raise StoreUnavailable(f"PostgreSQL did not answer within {ASK_S:g} s")
        return last  # reads go on while PostgreSQL is away

    def _is_good(self, text: str | None) -> bool:
        """As far as is known."""
        return text is None or self._last(text)[1].record is not None

    def _answered(self, digest: bytes, done: asyncio.Future[Standing]) -> None:
        del self._asking[digest]
        if not done.cancelled():
            done.exception()  # seen, also when nobody waits any more

    def asked(self, text: str | None) -> Standing:
        """The same, from PostgreSQL where it is not remembered: not for an event loop, which would wait for it."""
        return Standing(closed=self.closed()) if text is None else Standing(self.find(text))

    def closed(self) -> bool:
        """Whether a key is needed: always when required, else from the first key that was ever made."""
        if self._require:
            return True
        asked_at, closed = self._closed
        if time.monotonic() - asked_at > REMEMBER_S:
            try:
                with self._database.connect() as conn:
                    closed = api_keys.any_created(conn)
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
                found = api_keys.find(conn, text)
        except StoreUnavailable:
            if record is not None:
                return record  # reads go on while PostgreSQL is away
            raise
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        self._found[digest] = (time.monotonic(), found)
        if found is not None:  # nobody may ask without one again before PostgreSQL goes away
            self._closed = (time.monotonic(), True)
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def bearer_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The text of the key that was sent, as FastAPI's HTTPBearer reads it."""
    given = next((value for name, value in headers if name == b"authorization"), b"").decode("latin-1")
    scheme, _, text = given.partition(" ")
    return text.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True)
class Needs:
    """Of a route: a key with this scope, for the space of its path."""

    scope: Scope
    of_any_space: bool = False  # it says itself what a key for one space may do


async def look(keyring: Keyring, text: str | None, needs: Needs, space: str | None) -> KeyRecord | None:
    """The key of who asks, None where none is needed; HTTPException 401 or 403 for one that may not do this here."""
    standing = keyring.known(text)
    if standing is None:
        standing = await keyring.found(text)
    record = standing.record
    if record is None:
        if standing.closed:
            why = UNKNOWN if text else "a key is needed: Authorization: Bearer nf_..."
            raise HTTPException(401, why, {"WWW-Authenticate": "Bearer"})
    elif not (record.includes(needs.scope) if needs.of_any_space else record.allows(needs.scope, space)):
        raise HTTPException(403, f"this key has no {needs.scope} scope here")
    return record


def require(scope: Scope, *, of_any_space: bool = False) -> Callable[[Request, Bearer], Awaitable[None]]:
    """A dependency that lets a request through if its key has `scope` in the space of its path."""
    needs = Needs(scope, of_any_space)

    async def required(request: Request, bearer: Bearer) -> None:
        text = None if bearer is None else bearer.credentials
        key = await look(request.app.state.keyring, text, needs, request.path_params.get("space"))
        request.scope.setdefault("state", {})["key"] = key

    required.__dict__["needs"] = needs
    return required


def needs_of(dependencies: Iterable[params.Depends]) -> Needs | None:
    """What `require` asks for among the dependencies of a route; None: no key."""
    found = (getattr(each.dependency, "needs", None) for each in dependencies)
    return next((needs for needs in found if needs is not None), None)


def key_of(request: Request) -> KeyRecord | None:
    """That of who asks; None where none is needed."""
    return request.scope["state"].get("key")


def check_key_space(request: Request, space_key: int) -> None:
    """HTTPException 401 for the key of a space that had this name before, which is known a moment longer."""
    key = key_of(request)
    if key is not None and key.space_key not in (None, space_key):
        raise HTTPException(401, UNKNOWN, {"WWW-Authenticate": "Bearer"})
