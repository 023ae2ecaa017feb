"""Id normalisation: finds stored ids that are not in normal form, and merges each into the normal form.

Requests and imports normalise ids. Older databases may have ids in other forms, which no request can reach.
"""

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
# Fields of the item with the normal id stay; a deleted item stays deleted.
MERGE_ITEM = """
INSERT INTO items (space_key, item_id, title, categories, attributes, available, vector, vector_model)
SELECT space_key, %s, title, categories, attributes, available, vector, vector_model FROM items WHERE item_key = %s
ON CONFLICT (space_key, item_id) DO UPDATE SET title = coalesce(items.title, excluded.title),
    categories = CASE WHEN items.categories = '{}' THEN excluded.categories ELSE items.categories END,
    attributes = excluded.attributes || items.attributes, updated_at = now()
RETURNING item_key
"""
MOVE_REFERENCES = (
    "UPDATE events SET item_key = %(new)s WHERE item_key = %(old)s",
    """UPDATE item_features SET item_key = %(new)s WHERE item_key = %(old)s
       AND NOT EXISTS (SELECT FROM item_features WHERE item_key = %(new)s)""",
    "UPDATE items SET deleted = true, updated_at = now() WHERE item_key = %(old)s",
)


@dataclass(frozen=True)
class UnnormalisedId:
    noun: str  # users or items
    space: str
    id_: str

    @property
    def normal(self) -> str:
        """The normal form; empty for an id of white space alone."""
        return re.sub(r"^(-?[0-9]+)[.]0$", r"\1", normalise_id(self.id_))


def find_unnormalised(conn: sa.Connection) -> list[UnnormalisedId]:
    """The ids of users, and of items that are not deleted, without normal form. Scans both tables."""
    return [UnnormalisedId(*row) for row in conn.exec_driver_sql(FIND, (INVISIBLE,))]


def normalise(conn: sa.Connection, other: UnnormalisedId) -> bool:
    """Merge a user or an item into the one with the normal id, created if needed.

    False when that is not possible: the normal form is empty, or belongs to an erased user.
    """
    space = spaces.get(conn, other.space)
    if not other.normal:
        return False
    if other.noun == "users":
        if erasures.erased_among(conn, space.key, [other.normal]):
            return False
        users.merge(conn, space.key, other.id_, other.normal)
        return True
    query = "SELECT item_key FROM items WHERE space_key = %s AND item_id = %s AND NOT deleted FOR UPDATE"
    old = conn.exec_driver_sql(query, (space.key, other.id_)).scalar()
    if old is not None:
        new = conn.exec_driver_sql(MERGE_ITEM, (other.normal, old)).scalar_one()
        for statement in MOVE_REFERENCES:
            conn.exec_driver_sql(statement, {"old": old, "new": new})
    return True
