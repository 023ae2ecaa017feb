"""API keys: bearer keys with the scopes read < write < admin, each for one space or for every space."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import HTTPException, Request, params
from fastapi.security import HTTPBearer

from api.limits.executors import key_lookups
from engine.errors import StoreBusy, StoreUnavailable
from engine.store import api_keys
from engine.store.api_keys import KeyRecord, Scope
from engine.store.database.connections import Database

CACHE_S = 2.0  # a revoked key works for at most this long
LOOKUP_TIMEOUT_S = 3.0  # PostgreSQL counts as unavailable after this
UNKNOWN_KEY = "this key is unknown or revoked"
MAX_CACHED = 10_000
MAX_LOOKUPS = 64  # concurrent lookups of unknown keys; a flood of invented keys must not take all threads


@dataclass(frozen=True)
class KeyStatus:
    """The record of the key of a request, None if the key is unknown or revoked, and whether the server needs a key."""

    record: KeyRecord | None = None
    key_required: bool = True


class Keyring:
    """Keys looked up in PostgreSQL and cached for CACHE_S. It never stores or logs the text of a key."""

    def __init__(self, database: Database, require_keys: bool):
        self._database, self._require_keys = database, require_keys
        self._cache: dict[bytes, tuple[float, KeyRecord | None]] = {}  # by digest; with the time of the lookup
        self._key_required: tuple[float, bool] = (0.0, True)  # with the time of the lookup
        self._lookups: dict[bytes, tuple[asyncio.Future[KeyStatus], float]] = {}  # with the time at which waiting ends
        self._threads = key_lookups()

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def cached(self, key: str | None) -> KeyStatus | None:
        """The cached status of a key, or of a request without a key; None when `look_up` has to ask PostgreSQL."""
        looked_up_at, last = self._last_status(key)
        is_fresh = time.monotonic() - looked_up_at <= CACHE_S or (key is None and self._require_keys)
        return last if is_fresh else None

    def _last_status(self, key: str | None) -> tuple[float, KeyStatus]:
        if key is None:
            looked_up_at, key_required = self._key_required
            return looked_up_at, KeyStatus(key_required=key_required or self._require_keys)
        looked_up_at, record = self._cache.get(_digest(key), (0.0, None))
        return looked_up_at, KeyStatus(record)

    async def look_up(self, key: str | None) -> KeyStatus:
        """As `look_up_blocking`, in a thread; concurrent lookups of one key share it. While PostgreSQL does not answer,
        the last known status of a known key. StoreBusy or StoreUnavailable for other keys."""
        digest = b"" if key is None else _digest(key)
        if digest not in self._lookups:
            if len(self._lookups) >= MAX_LOOKUPS and not self._was_valid(key):
                raise StoreBusy(f"{MAX_LOOKUPS} keys are being looked up; try again in a moment")
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, self.look_up_blocking, key)
            self._lookups[digest] = lookup, time.monotonic() + LOOKUP_TIMEOUT_S
            lookup.add_done_callback(lambda done: self._lookup_done(digest, done))
        lookup, until = self._lookups[digest]
        await asyncio.wait([lookup], timeout=max(until - time.monotonic(), 0.0))
        if lookup.done():
            return lookup.result()
        looked_up_at, last = self._last_status(key)
        if not looked_up_at or (key is not None and last.record is None):
            raise StoreUnavailable(f"PostgreSQL did not answer within {LOOKUP_TIMEOUT_S:g} s")
        return last  # reads go on while PostgreSQL is unavailable

    def _was_valid(self, key: str | None) -> bool:
        """By the last lookup."""
        return key is None or self._last_status(key)[1].record is not None

    def _lookup_done(self, digest: bytes, done: asyncio.Future[KeyStatus]) -> None:
        del self._lookups[digest]
        if not done.cancelled():
            done.exception()  # mark the error as retrieved: every caller may have timed out

    def look_up_blocking(self, key: str | None) -> KeyStatus:
        """From the cache, else from PostgreSQL. Blocks: not for the event loop."""
        return KeyStatus(key_required=self.requires_key()) if key is None else KeyStatus(self.find(key))

    def requires_key(self) -> bool:
        """Whether requests need a key: always with `require_keys`, otherwise once any key has been created."""
        if self._require_keys:
            return True
        looked_up_at, key_required = self._key_required
        if time.monotonic() - looked_up_at > CACHE_S:
            try:
                with self._database.connect() as conn:
                    key_required = api_keys.any_created(conn)
            except StoreUnavailable:
                if not looked_up_at:
                    raise
                return key_required  # reads go on while PostgreSQL is unavailable
            self._key_required = (time.monotonic(), key_required)
        return key_required

    def find(self, key: str) -> KeyRecord | None:
        digest = _digest(key)
        looked_up_at, cached = self._cache.get(digest, (0.0, None))
        if time.monotonic() - looked_up_at <= CACHE_S:
            return cached
        try:
            with self._database.connect() as conn:
                record = api_keys.find(conn, key)
        except StoreUnavailable:
            if cached is not None:
                return cached  # reads go on while PostgreSQL is unavailable
            raise
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[digest] = (time.monotonic(), record)
        if record is not None:  # a key exists: remember it, in case PostgreSQL fails before `requires_key` asks again
            self._key_required = (time.monotonic(), True)
        return record


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def bearer_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key of the Authorization header, parsed as FastAPI's HTTPBearer does."""
    header = next((value for name, value in headers if name == b"authorization"), b"").decode("latin-1")
    scheme, _, key = header.partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True)
class RequiredScope:
    """The scope that a route requires in the space of its path."""

    scope: Scope
    of_any_space: bool = False  # a key for any space is enough; the route itself limits what the key may do


async def authorize(keyring: Keyring, key: str | None, required: RequiredScope, space: str | None) -> KeyRecord | None:
    """The record of the key, None when no key is required. HTTPException 401 for a missing or unknown key, 403 for a
    key without the required scope."""
    status = keyring.cached(key)
    if status is None:
        status = await keyring.look_up(key)
    record = status.record
    if record is None:
        if status.key_required:
            detail = UNKNOWN_KEY if key else "a key is needed: Authorization: Bearer nf_..."
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
    elif not (record.includes(required.scope) if required.of_any_space else record.allows(required.scope, space)):
        raise HTTPException(403, f"this key has no {required.scope} scope here")
    return record


class KeyCheck(HTTPBearer):
    """A dependency that accepts a request whose key has the required scope in the space of its path.

    It is the security scheme of OpenAPI and the check in one: FastAPI takes time for each dependency.
    """

    def __init__(self, required_scope: RequiredScope):
        super().__init__(scheme_name="HTTPBearer", auto_error=False)
        self.required_scope = required_scope

    async def __call__(self, request: Request) -> None:  # type: ignore[override]  # routes need no credentials
        key, space = bearer_key(request.scope["headers"]), request.path_params.get("space")
        record = await authorize(request.app.state.keyring, key, self.required_scope, space)
        request.scope.setdefault("state", {})["key"] = record


def require(scope: Scope, *, of_any_space: bool = False) -> KeyCheck:
    """The dependency of routes that need a key with `scope`."""
    return KeyCheck(RequiredScope(scope, of_any_space))


def required_scope_of(dependencies: Iterable[params.Depends]) -> RequiredScope | None:
    """The scope of the `require` among the dependencies of a route; None: the route needs no key."""
    scopes = (getattr(each.dependency, "required_scope", None) for each in dependencies)
    return next((scope for scope in scopes if scope is not None), None)


def key_of(request: Request) -> KeyRecord | None:
    """The record of the request's key; None when no key is required."""
    return request.scope["state"].get("key")


def check_key_space(request: Request, space_key: int) -> None:
    """HTTPException 401 for the key of a deleted space of the same name, which the cache may still hold."""
    record = key_of(request)
    if record is not None and record.space_key not in (None, space_key):
        raise HTTPException(401, UNKNOWN_KEY, {"WWW-Authenticate": "Bearer"})
