"""Ids in other forms than requests and files ask for, stored before there was one form: found, and made one with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from engine.store import erasures, spaces, users
from engine.values.ids import INVISIBLE, normalise_id

FIND = """
SELECT noun, name, id FROM (
    SELECT 'users' AS noun, space_key, user_id AS id FROM users
    UNION ALL SELECT 'items', space_key, item_id FROM items WHERE NOT deleted) AS ids JOIN spaces USING (space_key)
WHERE id <> normalize(btrim(id, %s), NFC) OR id ~ '^-?[0-9]+[.]0$' ORDER BY noun DESC, name, id
"""
# What the item of the normal form has stays; a deleted one stays deleted.
COMPLETE = """
INSERT INTO items (space_key, item_id, title, categories, attributes, available, vector, vector_model)
SELECT space_key, %s, title, categories, attributes, available, vector, vector_model FROM items WHERE item_key = %s
ON CONFLICT (space_key, item_id) DO UPDATE SET title = coalesce(items.title, excluded.title),
    categories = CASE WHEN items.categories = '{}' THEN excluded.categories ELSE items.categories END,
    attributes = excluded.attributes || items.attributes, updated_at = now()
RETURNING item_key
"""
MOVE = (
    "UPDATE events SET item_key = %(new)s WHERE item_key = %(old)s",
    """UPDATE item_features SET item_key = %(new)s WHERE item_key = %(old)s
       AND NOT EXISTS (SELECT FROM item_features WHERE item_key = %(new)s)""",
    "UPDATE items SET deleted = true, updated_at = now() WHERE item_key = %(old)s",
)


@dataclass(frozen=True)
class OtherForm:
    noun: str  # users or items
    space: str
    id_: str

    @property
    def normal(self) -> str:
        """Empty for one of white space alone."""
        return re.sub(r"^(-?[0-9]+)[.]0$", r"\1", normalise_id(self.id_))


def find(conn: sa.Connection) -> list[OtherForm]:
    """Every id of a user, or of an item that is not deleted, in another form; a space as a whole is looked through."""
    return [OtherForm(*row) for row in conn.exec_driver_sql(FIND, (INVISIBLE,))]


def mend(conn: sa.Connection, found: OtherForm) -> bool:
    """Make a user or an item one with that of the normal form; False where none can be, as for an erased user."""
    space = spaces.get(conn, found.space)
    if not found.normal:
        return False
    if found.noun == "users":
        if erasures.among(conn, space.key, [found.normal]):
            return False
        users.merge(conn, space.key, found.id_, found.normal)
        return True
    query = "SELECT item_key FROM items WHERE space_key = %s AND item_id = %s AND NOT deleted FOR UPDATE"
    old = conn.exec_driver_sql(query, (space.key, found.id_)).scalar()
    if old is not None:
        new = conn.exec_driver_sql(COMPLETE, (found.normal, old)).scalar_one()
        for statement in MOVE:
            conn.exec_driver_sql(statement, {"old": old, "new": new})
    return True
