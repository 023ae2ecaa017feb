"""API keys: shown once, stored as a hash, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa

from engine.errors import InputError, NotFound

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it


@dataclass(frozen=True)
class KeyRecord:
    key_id: str
    scope: Scope
    space: str | None  # None: every space
    label: str
    created_at: datetime
    revoked_at: datetime | None

    def allows(self, scope: Scope, space: str | None) -> bool:
        """Whether this key may do what `scope` allows in `space` (None: things of no space, such as keys)."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope) and (self.space is None or self.space == space)


def create(conn: sa.Connection, *, scope: str, space: str | None, label: str = "") -> tuple[str, KeyRecord]:
    """Make a key; its text `nf_<id>_<secret>` is returned here and kept nowhere."""
    if scope not in SCOPES:
        raise InputError(f"expected a scope of {', '.join(SCOPES)}, got {scope!r}", loc=("scope",))
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"nf_{key_id}_{secret}"
    insert = """INSERT INTO api_keys (key_id, hash, scope, space, label) VALUES (%s, %s, %s, %s, %s)
                RETURNING key_id, scope, space, label, created_at, revoked_at"""
    row = conn.exec_driver_sql(insert, (key_id, _hash(text), scope, space, label)).one()
    return text, KeyRecord(*row)


def find(conn: sa.Connection, text: str) -> KeyRecord | None:
    """The live key of this text, None if there is none."""
    parts = text.split("_", 2)
    key_id = parts[1] if len(parts) == 3 and parts[0] == "nf" and parts[1].isalnum() else ""
    query = """SELECT key_id, scope, space, label, created_at, revoked_at, hash FROM api_keys
               WHERE key_id = %s AND revoked_at IS NULL"""
    row = conn.exec_driver_sql(query, (key_id,)).first()
    stored = bytes(row.hash) if row is not None else bytes(32)
    if hmac.compare_digest(stored, _hash(text)) and row is not None:
        return KeyRecord(*row[:-1])
    return None


def list_all(conn: sa.Connection) -> list[KeyRecord]:
    query = "SELECT key_id, scope, space, label, created_at, revoked_at FROM api_keys ORDER BY created_at"
    return [KeyRecord(*row) for row in conn.exec_driver_sql(query)]


def any_live(conn: sa.Connection) -> bool:
    return bool(conn.exec_driver_sql("SELECT EXISTS (SELECT FROM api_keys WHERE revoked_at IS NULL)").scalar_one())


def revoke(conn: sa.Connection, key_id: str) -> None:
    update = "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL"
    if not key_id.isalnum() or conn.exec_driver_sql(update, (key_id,)).rowcount == 0:
        raise NotFound(f"there is no live key {key_id!r}")


def _hash(text: str) -> bytes:
    """A key has 256 bits of randomness, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
