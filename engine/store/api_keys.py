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
from engine.store import spaces

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)  # each includes those before it
FIELDS = "key_id, scope, space, label, created_at, revoked_at, space_key"


@dataclass(frozen=True)
class KeyRecord:
    key_id: str
    scope: Scope
    space: str | None  # its name; None: every space
    label: str
    created_at: datetime
    revoked_at: datetime | None
    space_key: int | None = None  # what is meant: another space may have the name later

    def includes(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def allows(self, scope: Scope, space: str | None) -> bool:
        """Whether this key may do what `scope` allows in `space` (None: things of no space, such as keys)."""
        return self.includes(scope) and (self.space is None or self.space == space)


def create(conn: sa.Connection, *, scope: str, space: str | None, label: str = "") -> tuple[str, KeyRecord]:
    """Make a key; its text `nf_<id>_<secret>` is returned here and kept nowhere. NotFound where there is no such space.

    Who deletes the space meanwhile waits for the end of the transaction, and revokes it.
    """
    if scope not in SCOPES:
        raise InputError(f"expected a scope of {', '.join(SCOPES)}, got {scope!r}", loc=("scope",))
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"nf_{key_id}_{secret}"
    space_key = None if space is None else spaces.held(conn, space).key
    insert = f"""INSERT INTO api_keys (key_id, hash, scope, space, space_key, label) VALUES (%s, %s, %s, %s, %s, %s)
                 RETURNING {FIELDS}"""
    row = conn.exec_driver_sql(insert, (key_id, _hash(text), scope, space, space_key, label)).one()
    return text, KeyRecord(*row)


def find(conn: sa.Connection, text: str) -> KeyRecord | None:
    """The live key of this text, None if there is none."""
    parts = text.split("_", 2)
    key_id = parts[1] if len(parts) == 3 and parts[0] == "nf" and parts[1].isalnum() else ""
    query = f"SELECT {FIELDS}, hash FROM api_keys WHERE key_id = %s AND revoked_at IS NULL"
    row = conn.exec_driver_sql(query, (key_id,)).first()
    stored = bytes(row.hash) if row is not None else bytes(32)
    if hmac.compare_digest(stored, _hash(text)) and row is not None:
        return KeyRecord(*row[:-1])
    return None


def list_all(conn: sa.Connection, space_key: int | None = None) -> list[KeyRecord]:
    """Every key, or those of one space."""
    query = f"SELECT {FIELDS} FROM api_keys WHERE %s::bigint IS NULL OR space_key = %s ORDER BY created_at"
    return [KeyRecord(*row) for row in conn.exec_driver_sql(query, (space_key, space_key))]


def any_made(conn: sa.Connection) -> bool:
    """Whether there ever was a key. Who revokes the last one opens nothing to everybody."""
    return bool(conn.exec_driver_sql("SELECT EXISTS (SELECT FROM api_keys)").scalar_one())


def any_live(conn: sa.Connection) -> bool:
    return bool(conn.exec_driver_sql("SELECT EXISTS (SELECT FROM api_keys WHERE revoked_at IS NULL)").scalar_one())


def revoke(conn: sa.Connection, key_id: str, space_key: int | None = None) -> None:
    """NotFound where there is no such live key, or none of this space."""
    update = """UPDATE api_keys SET revoked_at = now()
                WHERE key_id = %s AND revoked_at IS NULL AND (%s::bigint IS NULL OR space_key = %s)"""
    if not key_id.isalnum() or conn.exec_driver_sql(update, (key_id, space_key, space_key)).rowcount == 0:
        raise NotFound(f"there is no live key {key_id!r}")


def _hash(text: str) -> bytes:
    """A key has 256 bits of randomness, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
