"""Presets keep every version, with who changed them."""

import pytest

from engine.errors import NotFound
from engine.store import spaces
from engine.store.shelves import presets

ONE, TWO = {"of": "items", "filter": {"price": 1}}, {"of": "items", "filter": {"price": 2}}


def test_every_change_is_a_version_and_the_last_one_counts(database, space):
    with database.begin() as conn:
        assert presets.put(conn, space.key, "segment", "cheap", ONE, "local") == 1
        assert presets.put(conn, space.key, "segment", "cheap", TWO, "key-1") == 2
        assert presets.put(conn, space.key, "rule", "cheap", {"a": "ü"}, "local") == 1
        found = presets.get(conn, space.key, "segment", "cheap")
        assert (found.version, found.body, found.changed_by) == (2, TWO, "key-1")
        assert presets.get(conn, space.key, "segment", "cheap", 1).body == ONE
        assert [each.version for each in presets.history(conn, space.key, "segment", "cheap")] == [2, 1]
        assert [(each.kind, each.body) for each in presets.list_current(conn, space.key)] == [
            ("rule", {"a": "ü"}),
            ("segment", TWO),
        ]
        assert [each.name for each in presets.list_current(conn, space.key, "rule")] == ["cheap"]
        assert spaces.get(conn, space.name).presets_version == 3


def test_a_deleted_preset_is_gone_until_it_is_rolled_back(database, space):
    with database.begin() as conn:
        presets.put(conn, space.key, "page", "home", ONE, "local")
        assert presets.delete(conn, space.key, "page", "home", "key-1") == 2
        for again in (presets.get, lambda *of: presets.delete(*of, "local")):
            with pytest.raises(NotFound, match="there is no page 'home'"):
                again(conn, space.key, "page", "home")
        assert presets.list_current(conn, space.key) == []
        assert presets.rollback(conn, space.key, "page", "home", 1, "key-2") == 3
        assert presets.get(conn, space.key, "page", "home").body == ONE
        for version in (2, 9):
            with pytest.raises(NotFound, match=f"there is no page 'home' with a version {version}"):
                presets.rollback(conn, space.key, "page", "home", version, "local")


def test_presets_belong_to_their_space(database, space):
    with database.begin() as conn:
        other = spaces.ensure(conn, f"{space.name}-other")
        presets.put(conn, other.key, "rule", "own", ONE, "local")
        assert presets.list_current(conn, space.key) == []
        spaces.delete(conn, other.name)
        with pytest.raises(NotFound, match="the space was deleted"):
            presets.put(conn, other.key, "rule", "own", ONE, "local")
