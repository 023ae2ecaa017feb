"""API keys: the text is shown once, stored as a hash and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa

from engine.errors import InputError, NotFound
from engine.store import spaces

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes the earlier ones
FIELDS = "key_id, scope, space, label, created_at, revoked_at, space_key"


@dataclass(frozen=True)
class KeyRecord:
    key_id: str
    scope: Scope
    space: str | None  # name; None: every space
    label: str
    created_at: datetime
    revoked_at: datetime | None
    space_key: int | None = None  # a later space may reuse the name, so this key identifies the space

    def includes(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def allows(self, scope: Scope, space: str | None) -> bool:
        """Whether this key has `scope` in `space` (None: operations outside spaces, such as managing keys)."""
        return self.includes(scope) and (self.space is None or self.space == space)


def create(conn: sa.Connection, *, scope: str, space: str | None, label: str = "") -> tuple[str, KeyRecord]:
    """Create a key and return its text `nf_<id>_<secret>`, which is not stored. NotFound for an unknown space.

    A concurrent deletion of the space waits for this transaction and then revokes the key.
    """
    if scope not in SCOPES:
        raise InputError(f"expected a scope of {', '.join(SCOPES)}, got {scope!r}", loc=("scope",))
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"nf_{key_id}_{secret}"
    space_key = None if space is None else spaces.get_locked(conn, space).key
    insert = f"""INSERT INTO api_keys (key_id, hash, scope, space, space_key, label) VALUES (%s, %s, %s, %s, %s, %s)
                 RETURNING {FIELDS}"""
    row = conn.exec_driver_sql(insert, (key_id, _hash(text), scope, space, space_key, label)).one()
    return text, KeyRecord(*row)


def find(conn: sa.Connection, text: str) -> KeyRecord | None:
    """The key with this text; None when there is none or it is revoked."""
    parts = text.split("_", 2)
    key_id = parts[1] if len(parts) == 3 and parts[0] == "nf" and parts[1].isalnum() else ""
    query = f"SELECT {FIELDS}, hash FROM api_keys WHERE key_id = %s AND revoked_at IS NULL"
    row = conn.exec_driver_sql(query, (key_id,)).first()
    stored = bytes(row.hash) if row is not None else bytes(32)
    if hmac.compare_digest(stored, _hash(text)) and row is not None:
        return KeyRecord(*row[:-1])
    return None


def list_all(conn: sa.Connection, space_key: int | None = None) -> list[KeyRecord]:
    """All keys, or the keys of one space."""
    query = f"SELECT {FIELDS} FROM api_keys WHERE %s::bigint IS NULL OR space_key = %s ORDER BY created_at"
    return [KeyRecord(*row) for row in conn.exec_driver_sql(query, (space_key, space_key))]


def any_created(conn: sa.Connection) -> bool:
    """Whether a key was ever created; revoking the last key does not open the server to requests without a key."""
    return bool(conn.exec_driver_sql("SELECT EXISTS (SELECT FROM api_keys)").scalar_one())


def any_live(conn: sa.Connection) -> bool:
    return bool(conn.exec_driver_sql("SELECT EXISTS (SELECT FROM api_keys WHERE revoked_at IS NULL)").scalar_one())


def revoke(conn: sa.Connection, key_id: str, space_key: int | None = None) -> None:
    """Revoke a key; NotFound when there is no such key (in this space) or it is revoked already."""
    update = """UPDATE api_keys SET revoked_at = now()
                WHERE key_id = %s AND revoked_at IS NULL AND (%s::bigint IS NULL OR space_key = %s)"""
    if not key_id.isalnum() or conn.exec_driver_sql(update, (key_id, space_key, space_key)).rowcount == 0:
        raise NotFound(f"there is no live key {key_id!r}")


def _hash(text: str) -> bytes:
    """SHA-256 without salt or stretching: the secret has 256 random bits and cannot be guessed from the hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
